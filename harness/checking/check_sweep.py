"""Wires `lightbulb check`: its expected cost, the checks of all methods, and the rows that it stores for an
audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace

import anyio

from harness.access.connect import connector_for_all, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.access.methods import prices, sampling
from harness.audit.probes.asks import expected_cost
from harness.audit.probes.interpret import ProbeFinding, interpret_probes
from harness.checking.ask_probes import CheckTarget
from harness.checking.check_method import (
    CheckCost,
    MethodCheck,
    NullSink,
    check_method,
    total_cost,
)
from harness.checking.own_tokenizer import own_tokens
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.protocols import RecordSink
from harness.core.vocabulary import method_key
from harness.store.file import open_to_write
from harness.store.writer import writing

PATIENCE_S = 65.0  # a pause for a quota a minute is waited for; a person waits for the answer
HELLO_TOKENS = (12, 16)  # of the first question: prompt, about, and reply, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The checks of a sweep's methods. findings: empty without probes."""

    checks: tuple[MethodCheck, ...]
    findings: tuple[ProbeFinding, ...]
    spent: CheckCost


def expected_costs(spec: SweepSpec, *, probing: bool) -> dict[str, CheckCost | None]:
    """Returns method -> the largest cost of its check; None for bots, which run in this process and have no
    server."""
    return {
        name: None if part.bots is not None else _largest_cost(part, probing=probing)
        for name, (_, part) in spec.methods().items()
    }


def _largest_cost(part: MethodPart, *, probing: bool) -> CheckCost:
    calls, prompt_tokens, reply_tokens = expected_cost(sampling(part)) if probing else (0, 0, 0)
    prompt_tokens, reply_tokens = prompt_tokens + HELLO_TOKENS[0], reply_tokens + HELLO_TOKENS[1]
    price = prices(part)
    cost = (
        price.cost_usd(prompt_tokens=prompt_tokens, cached_tokens=None, completion_tokens=reply_tokens)
        if price is not None
        else None
    )
    return CheckCost(
        calls=calls + 1, prompt_tokens=prompt_tokens, completion_tokens=reply_tokens, cost_usd=cost
    )


def references_by_method(spec: SweepSpec) -> dict[str, str]:
    """Returns method -> its reference: the audit's, or its model's first method with a server."""
    chosen: dict[str, str] = {}
    for model, part in spec.models.items():
        names = [method_key(model, name) for name, method in part.methods.items() if method.bots is None]
        reference = spec.audit.reference if spec.audit.reference in names else names[0] if names else None
        if reference is not None:
            chosen.update(dict.fromkeys(names, reference))
    return chosen


async def check_sweep(spec: SweepSpec, context: RunContext, *, probing: bool, keeping: bool) -> CheckResult:
    """Checks every access method that has a server, all at the same time; plays nothing.

    probing  whether to ask the probes' questions, too
    keeping  whether the probes' rows go into the context's store
    raises   SpecError, EngineError, StoreError; what a provider does wrong is in its check"""
    async with _sink(context) if keeping else nullcontext(NullSink()) as sink:
        checks = await _check_all(spec, context, sink, probing=probing)
    rows = [row for check in checks for row in check.probes]
    return CheckResult(
        checks=checks,
        findings=interpret_probes(rows, references_by_method(spec)),
        spent=total_cost([check.spent for check in checks]),
    )


@asynccontextmanager
async def _sink(context: RunContext) -> AsyncIterator[RecordSink]:
    """Yields what writes into the context's store, which is opened before the first call."""
    with open_to_write(context.store, notify=context.notify) as connection:
        async with writing(connection, context.store) as writer:
            yield writer


async def _check_all(
    spec: SweepSpec, context: RunContext, sink: RecordSink, *, probing: bool
) -> tuple[MethodCheck, ...]:
    """Returns the checks; the sink gets the probes' rows of each method when its check ends."""
    spec = replace(spec, retry=replace(spec.retry, patience_s=min(spec.retry.patience_s, PATIENCE_S)))
    connector = connector_for_all(spec, context, game_sets(spec, context.source), run_id="check")
    clock, policy = connector.clock, retry_policy(spec)
    check_at = clock.wall()
    checks: dict[str, MethodCheck] = {}

    async def check(name: str, target: CheckTarget) -> None:
        checks[name] = await check_method(
            target, clock=clock, policy=policy, check_at=check_at, probing=probing
        )
        await sink.put(*checks[name].probes)

    async with connector.connected(NullSink()) as live:
        if failed := live.servers.failed:
            raise connector.refusal({name: (("engine",), why) for name, why in failed.items()})
        for gate in dict.fromkeys(live.gate_of.values()):
            live.background.start_soon(gate.run_timer)
        own = await own_tokens(spec.methods(), live.servers.started, context.notify) if probing else {}
        async with anyio.create_task_group() as checking:
            for name, backend in live.wired.items():
                target = CheckTarget(
                    route=live.routes[name],
                    server=backend,
                    proxy=connector.proxy_of(name),
                    own_tokens=own.get(name, {}),
                )
                checking.start_soon(check, name, target)
    return tuple(checks[name] for name in connector.methods if name in checks)
