"""Reads load tests from stores, as their requests and windows, and compares two of them.

A run is named STORE, which is its last one, or STORE#RUN, with the run's number or label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from harness.core.bench_records import BenchRequest, BenchRun, BenchStage
from harness.core.errors import SpecError
from harness.loadtest.client_cost import ClientCost
from harness.loadtest.generator import StageLoad, TimedRequest
from harness.loadtest.load_profile import Loop, Stage
from harness.loadtest.metrics import MeasuredStage
from harness.loadtest.run_comparison import BenchedMethod, RunComparison, compare_methods
from harness.loadtest.steady_window import SteadyWindow
from harness.store.bench_queries import bench_requests, bench_runs, bench_stages
from harness.store.file import open_to_read


def compare_runs(first: str, second: str) -> tuple[RunComparison, ...]:
    """Compares two runs: methods of one name with each other, or the only method of each.

    raises  SpecError for a run that is not there, or that has no facts of what was measured"""
    a, b = read_run(first), read_run(second)
    if len(a) == len(b) == 1:
        return (compare_methods(a[0], b[0]),)
    named = {one.method: one for one in b}
    pairs = [(one, named[one.method]) for one in a if one.method in named]
    if not pairs:
        raise SpecError(f"--compare: {first} and {second} have no access method in common")
    return tuple(compare_methods(one, other) for one, other in pairs)


def read_run(name: str) -> list[BenchedMethod]:
    """Returns the methods of a run.

    raises  SpecError, StoreError"""
    place, _, wanted = name.partition("#")
    path = Path(place)
    with open_to_read(path) as connection:
        stages, runs = bench_stages(connection), bench_runs(connection)
        labels = {run.label: run.run_id for run in runs if run.label is not None}
        known = list(dict.fromkeys(stage.run_id for stage in stages))
        if not known:
            raise SpecError(f"{path}: holds no load test; measure one with: lightbulb bench SWEEP.toml")
        run_id = labels.get(wanted, wanted) if wanted else known[-1]
        if run_id not in known:
            raise SpecError(f"{path}: has no load test {wanted!r}; it has {', '.join([*known, *labels])}")
        described = [run for run in runs if run.run_id == run_id]
        if not described:
            raise SpecError(
                f"{path}: {run_id} has no facts of what was measured, because a version before 0.2.0 made it; two runs "
                "can be compared only if both have them: measure it again"
            )
        requests = bench_requests(connection, run_id)
    return [_method(run, path, stages, requests) for run in described]


def _method(
    run: BenchRun, path: Path, stages: Sequence[BenchStage], requests: Sequence[BenchRequest]
) -> BenchedMethod:
    sent: dict[int, list[TimedRequest]] = {}
    for one in requests:
        if one.method == run.method:
            sent.setdefault(one.stage, []).append(_request(one))
    label = f" ({run.label})" if run.label else ""
    return BenchedMethod(
        name=f"{path.name}#{run.run_id}{label}",
        method=run.method,
        facts=json.loads(run.profile_json),
        stages=[
            _stage(stage, sent.get(stage.stage, []))
            for stage in stages
            if (stage.run_id, stage.method) == (run.run_id, run.method) and stage.refused is None
        ],
    )


def _stage(row: BenchStage, requests: Sequence[TimedRequest]) -> MeasuredStage:
    assert row.figures_json is not None, "a run with facts stores the figures of its stages"
    window = json.loads(row.figures_json)["window"]
    load = StageLoad(
        stage=Stage(
            loop=cast("Loop", row.loop), level=row.level, requests=row.requests, repeat=row.repeat or 0
        ),
        requests=tuple(requests),
        began_at=0.0,
        offered_s=row.offered_s or row.wall_s,
        wall_s=row.wall_s,
        client=ClientCost(
            cpu_s=row.cpu_s or 0.0,
            cpu_share=row.cpu_share,
            lag_s=row.lag_s,
            lag_s_max=row.lag_s_max,
            beats=0,  # not stored: the client's delay was judged when the stage was measured
        ),
    )
    return MeasuredStage(load=load, window=SteadyWindow(**window))


def _request(row: BenchRequest) -> TimedRequest:
    return TimedRequest(
        due_at=row.due_s,
        sent_at=row.sent_s,
        first_at=row.first_s,
        done_at=row.done_s,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        gap_s_median=row.gap_s_median,
        error=row.error_class,
        cached_tokens=row.cached_tokens,
        session=row.session,
        turn=row.turn or 0,
    )
