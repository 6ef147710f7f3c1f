"""The tables of a load test."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from harness.loadtest.ladder import MethodLoadTest
from harness.loadtest.levels import join_level
from harness.loadtest.metrics import MeasuredStage, Objective, summarise_stage
from harness.loadtest.steady_window import steady_window
from harness.report.loadtest import print_loadtest
from tests.harness.loadtest.test_metrics import GOOD


def test_sessions_have_a_table_by_turn() -> None:
    """Two games of two turns, the second of which is in the cache; single requests have no such table."""
    turns = tuple(
        replace(one, session=n // 2, turn=n % 2, cached_tokens=8 * (n % 2))
        for n, one in enumerate(GOOD.requests)
    )
    texts = []
    for requests in (turns, GOOD.requests):
        load = replace(GOOD, requests=requests)
        measured = MeasuredStage(load=load, window=steady_window(load, warm_up_s=0.0, cool_down_s=0.0))
        stage = summarise_stage(measured, Objective())
        level = join_level([(measured, stage)], Objective())
        found = MethodLoadTest(
            method="m/x", run_id="bench-0001", stages=(stage,), levels=(level,), knee=None, rising_at=None, highest=None,
            stopped=None,
        )  # fmt: skip
        text = StringIO()
        print_loadtest([found], Objective(ttft_s=1.0), Console(file=text, width=200))
        texts.append(text.getvalue().splitlines())
    with_turns, without = texts
    place = next(n for n, line in enumerate(with_turns) if line.split()[:2] == ["load", "turn"])
    rows = [line.split() for line in with_turns[place + 1 : place + 3]]
    assert [row[3:5] for row in rows] == [["1", "2"], ["2", "2"]]
    assert [" ".join(row[-3:]) for row in rows] == ["10 0 %", "10 80 %"]
    assert not any(line.split()[:2] == ["load", "turn"] for line in without)
