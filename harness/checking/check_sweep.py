"""What `lightbulb check` does: what it will cost, the look itself, and the rows it leaves for an audit."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from harness.access.connect import connector_for_all, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.access.methods import prices
from harness.audit.probes.asks import expected_cost
from harness.audit.probes.interpret import ProbeFinding, interpret_probes
from harness.checking.check_method import (
    CheckCost,
    CheckTarget,
    MethodCheck,
    NullSink,
    check_method,
    total_cost,
)
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.vocabulary import method_key
from harness.store.file import open_to_write
from harness.store.writer import writing

HELLO_TOKENS = (12, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What came of a check. findings: empty without probes."""

    looks: tuple[MethodCheck, ...]
    findings: tuple[ProbeFinding, ...]
    spent: CheckCost


def expected_costs(spec: SweepSpec, *, probing: bool) -> dict[str, CheckCost | None]:
    """Method -> what looking at it may cost at most; None for bots: inside this program there is nothing to reach."""
    return {
        name: None if part.bots is not None else _most(part, probing=probing)
        for name, (_, part) in spec.methods().items()
    }


def _most(part: MethodPart, *, probing: bool) -> CheckCost:
    calls, heard, spoken = expected_cost() if probing else (0, 0, 0)
    heard, spoken = heard + HELLO_TOKENS[0], spoken + HELLO_TOKENS[1]
    price = prices(part)
    cost = (
        price.cost_usd(prompt_tokens=heard, cached_tokens=None, completion_tokens=spoken)
        if price is not None
        else None
    )
    return CheckCost(calls=calls + 1, prompt_tokens=heard, completion_tokens=spoken, cost_usd=cost)


def reference_of_each(spec: SweepSpec) -> dict[str, str]:
    """Method -> the one it is held against: the audit's reference, or its model's first."""
    chosen: dict[str, str] = {}
    for model, part in spec.models.items():
        names = [method_key(model, name) for name, method in part.methods.items() if method.bots is None]
        held = spec.audit.reference if spec.audit.reference in names else names[0] if names else None
        if held is not None:
            chosen.update(dict.fromkeys(names, held))
    return chosen


async def check_sweep(spec: SweepSpec, context: RunContext, *, probing: bool, keeping: bool) -> CheckResult:
    """Checks every access method that has a server, all at the same time; plays nothing.

    probing  whether to ask the probes' questions, too
    keeping  whether the probes' rows go into the context's store
    raises   SpecError, EngineError, StoreError; what a provider does wrong is in its check"""
    looks = await _check_all(spec, context, probing=probing)
    rows = [row for look in looks for row in look.probes]
    if keeping and rows:
        with open_to_write(context.store) as connection:
            async with writing(connection, context.store) as writer:
                await writer.put(*rows)
    return CheckResult(
        looks=looks,
        findings=interpret_probes(rows, reference_of_each(spec)),
        spent=total_cost([look.spent for look in looks]),
    )


async def _check_all(spec: SweepSpec, context: RunContext, *, probing: bool) -> tuple[MethodCheck, ...]:
    connector = connector_for_all(spec, context, game_sets(spec, context.source), run_id="check")
    clock, policy = connector.clock, retry_policy(spec)
    check_at = clock.wall()
    checks: dict[str, MethodCheck] = {}

    async def check(name: str, target: CheckTarget) -> None:
        checks[name] = await check_method(
            target, clock=clock, policy=policy, check_at=check_at, probing=probing
        )

    async with connector.connected(NullSink()) as live:
        for gate in dict.fromkeys(live.gate_of.values()):
            live.background.start_soon(gate.run_timer)
        async with anyio.create_task_group() as checking:
            for name, backend in live.wired.items():
                checking.start_soon(check, name, CheckTarget(route=live.routes[name], server=backend))
    return tuple(checks[name] for name in connector.methods if name in checks)
