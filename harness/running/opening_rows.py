"""Makes the rows that a run writes before its first call: the sweep, the audit's plan, models and access
methods."""

from __future__ import annotations

from collections.abc import Container, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

from harness.access.connect import LiveMethods
from harness.access.methods import method_facts
from harness.config.audit_plan import audit_plan, planned_plays
from harness.config.sweep import MethodPart
from harness.core.records import AuditPlanRecord, MethodRecord, ModelRecord, Record, SweepRecord
from harness.core.vocabulary import digest
from harness.running.locked_keys import spec_json

if TYPE_CHECKING:
    from harness.running.prepare import RunPlan


def opening_rows(
    plan: RunPlan, live: LiveMethods, *, wall_s: float, without: Container[str]
) -> Iterator[Record]:
    """Yields the rows of this run.

    wall_s   when it began, in seconds since 1970
    without  methods that cannot be used: nothing was proved of them"""
    spec, as_json = plan.spec, spec_json(plan.spec)
    yield SweepRecord(
        run_id=plan.run_id,
        name=spec.name,
        spec_json=as_json,
        spec_hash=digest(as_json),
        seed=spec.seed,
        version=version("lightbulb"),
        started_at=wall_s,
        planned_json=planned_plays(spec, plan.sets),
    )
    if spec.references():
        decided = audit_plan(spec, plan.sets)
        yield AuditPlanRecord(
            run_id=plan.run_id, plan_hash=digest(decided), plan_json=decided, made_at=wall_s
        )
    for name, part in spec.models.items():
        yield ModelRecord(run_id=plan.run_id, model=name, parameters=part.parameters)
    parts = spec.methods()
    for name in live.routes:
        if name not in without:
            yield _method_row(plan.run_id, name, parts[name][1], live)


def _method_row(run_id: str, name: str, part: MethodPart, live: LiveMethods) -> MethodRecord:
    route, server = live.routes[name], live.servers.started.get(name)
    method = route.method
    bits = server.facts.get("bits_per_weight") if server else None
    return MethodRecord(
        run_id=run_id,
        constrain=method.constrain,
        concurrency=method.concurrency,
        gate=route.gate.name,
        bits=part.bits or (bits if isinstance(bits, float) else None),
        **method_facts(method, part, server),
    )
