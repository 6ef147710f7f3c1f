"""Two load tests compared level by level."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.bench_records import BenchRun
from harness.core.errors import SpecError
from harness.core.seeds import stream
from harness.loadtest.client_cost import ClientCost
from harness.loadtest.generator import StageLoad, TimedRequest
from harness.loadtest.levels import MEASURES
from harness.loadtest.load_profile import Stage
from harness.loadtest.metrics import MeasuredStage, Objective, metrics_of, summarise_stage
from harness.loadtest.run_comparison import COMPARED, BenchedMethod, compare_methods
from harness.loadtest.stage_player import stage_rows
from harness.loadtest.steady_window import steady_window
from harness.loadtest.stored_runs import compare_runs
from harness.store.file import open_to_write
from harness.store.schema import TABLES

FACTS: dict[str, object] = {
    "profile": {"arrivals": "poisson", "burstiness": 1.0},
    "traffic": {"sessions": False, "ignore_eos": False},
    "stream": True,
}


def stage(
    seed: int, *, latency_s: float = 0.4, repeat: int = 0, tokens: int = 20, level: float = 4
) -> MeasuredStage:
    """A closed stage of 400 requests whose latencies have a tenth of spread."""
    chance, requests, free = stream(seed, "stage", repeat), [], [0.0] * int(level)
    for _ in range(400):
        place = free.index(min(free))
        due_at, took_s = free[place], latency_s * chance.uniform(0.9, 1.1)
        free[place] = due_at + took_s
        requests.append(
            TimedRequest(
                due_at=due_at,
                sent_at=due_at,
                first_at=due_at + took_s / 4,
                done_at=due_at + took_s,
                prompt_tokens=100,
                completion_tokens=tokens,
                gap_s_median=None,
                error=None,
            )
        )
    load = StageLoad(
        stage=Stage(loop="closed", level=level, requests=400, repeat=repeat),
        requests=tuple(requests),
        began_at=0.0,
        offered_s=max(one.due_at for one in requests),
        wall_s=max(free),
        client=ClientCost(cpu_s=0.1, cpu_share=0.1, lag_s=0.0, lag_s_max=0.0, beats=100),
    )
    return MeasuredStage(load=load, window=steady_window(load, warm_up_s=None, cool_down_s=None))


def run(name: str, *stages: MeasuredStage, facts: dict[str, object] = FACTS) -> BenchedMethod:
    return BenchedMethod(name=name, method="m/x", facts=facts, stages=stages)


def test_the_figures_are_those_that_the_runs_showed() -> None:
    """Also of a stage that counts whole, whose last batches begin no request."""
    stages = [stage(1), stage(2)]
    stages = [replace(one, window=replace(one.window, from_s=0.0, to_s=one.load.wall_s)) for one in stages]
    (level,) = compare_methods(run("a", stages[0]), run("b", stages[1])).levels
    shown = [metrics_of([one], Objective()) for one in stages]
    for name in COMPARED:
        found = level.measures[name]
        assert [found.a, found.b] == [MEASURES[name](one) for one in shown if one is not None]
        assert found.ratio == pytest.approx(found.b / found.a)


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_slower_server_is_found(repeats: int) -> None:
    """A server that takes 20 % longer has 1.2 times the latency and 1 / 1.2 of the throughput; the intervals
    hold both ratios. They rest on the repeats where there are three, else on batches."""
    a = run("a", *(stage(1, repeat=n) for n in range(repeats)))
    b = run("b", *(stage(2, repeat=n, latency_s=0.48) for n in range(repeats)))
    (level,) = compare_methods(a, b).levels
    assert (level.unit, level.units) == (("repeats", (3, 3)) if repeats == 3 else ("batches", (10, 10)))
    assert not level.differences
    for name, truth, word in (("e2e_s_mean", 1.2, "higher"), ("requests_per_s", 1 / 1.2, "lower")):
        found = level.measures[name]
        assert found.low is not None
        assert found.high is not None
        assert found.low < truth < found.high
        assert found.high / found.low < 1.1
        assert found.word == word


def test_equal_servers_are_rarely_told_apart() -> None:
    """About one in 20 pairs of equal servers has an interval that does not hold 1."""
    missed = 0
    for pair in range(30):
        (level,) = compare_methods(run("a", stage(pair)), run("b", stage(1000 + pair))).levels
        missed += level.measures["e2e_s_mean"].word != "no difference shown"
    assert missed <= 5  # 1 in 300 for a true share of 5 %


def test_different_work_has_no_word() -> None:
    """Longer replies, or settings that change the work, are named, and no measure gets a word."""
    (level,) = compare_methods(run("a", stage(1)), run("b", stage(2, tokens=30, latency_s=0.6))).levels
    assert level.differences == ("replies had 20 tokens on average and have 30",)
    assert {one.word for one in level.measures.values()} == {None}
    other = {**FACTS, "traffic": {"sessions": False, "ignore_eos": True}}
    compared = compare_methods(run("a", stage(1)), run("b", stage(2), facts=other))
    assert compared.differences == ("ignore_eos was False and is True",)
    assert {one.word for one in compared.levels[0].measures.values()} == {None}


def test_levels_are_paired() -> None:
    """A level that only one run has is named and not compared."""
    compared = compare_methods(run("a", stage(1), stage(1, level=8)), run("b", stage(2), stage(2, level=2)))
    assert [level.level for level in compared.levels] == [4]
    assert compared.unpaired == ("closed 8", "closed 2")


def stored(path: Path, measured: MeasuredStage, *, described: bool = True) -> None:
    """Writes a run of one stage."""
    result = summarise_stage(measured, Objective())
    rows = stage_rows("bench-0001", "m/x", 0, measured.load, measured.window, result, 1000.0)
    with open_to_write(path) as connection:
        for row in rows:
            marks = ", ".join("?" for _ in row)
            connection.execute(f"INSERT INTO {TABLES[type(row)]} VALUES ({marks})", list(row))
        if described:
            texts = dict.fromkeys(
                (
                    "model",
                    "provider",
                    "dialect",
                    "base_url",
                    "served_model",
                    "sampling_json",
                    "sweep",
                    "spec_json",
                ),
                "",
            )
            described_by = BenchRun(
                run_id="bench-0001", method="m/x", request_json=None, engine_json=None, quantisation=None,
                profile_json=json.dumps(FACTS), host_json="{}", version="0.2.0", label="old", started_at=0.0, **texts,
            )  # fmt: skip
            marks = ", ".join("?" for _ in described_by)
            connection.execute(f"INSERT INTO bench_runs VALUES ({marks})", list(described_by))


def test_stored_runs_are_compared_as_they_were_measured(tmp_path: Path) -> None:
    """A run that is read again gives the ratios of the run itself, by number or label; one that is not there,
    or without the facts of what was measured, is refused with a sentence."""
    first, second = stage(1), stage(2, latency_s=0.48)
    stored(tmp_path / "a.duckdb", first)
    stored(tmp_path / "b.duckdb", second)
    stored(tmp_path / "c.duckdb", second, described=False)
    (found,) = compare_runs(f"{tmp_path}/a.duckdb#old", f"{tmp_path}/b.duckdb#bench-0001")
    expected = compare_methods(run("a", first), run("b", second))
    for name, one in expected.levels[0].measures.items():
        assert found.levels[0].measures[name].ratio == pytest.approx(one.ratio)
        assert found.levels[0].measures[name].low == pytest.approx(one.low)
    with pytest.raises(SpecError, match="has no load test 'new'; it has bench-0001, old"):
        compare_runs(f"{tmp_path}/a.duckdb#new", f"{tmp_path}/b.duckdb")
    with pytest.raises(SpecError, match="bench-0001 has no facts of what was measured"):
        compare_runs(f"{tmp_path}/a.duckdb", f"{tmp_path}/c.duckdb")
