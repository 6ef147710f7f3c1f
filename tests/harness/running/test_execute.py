"""The lines, rows and exit codes of a sweep that is played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.access.context import RunContext
from harness.config.load import load_sweep
from harness.core.event_loop import run_async
from harness.progress import views
from harness.progress.turns_left import EpisodeTurns
from harness.running import execute
from harness.running.run_sweep import run_sweep


def test_lines_come_where_a_table_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which nothing changes in place is told as much as a pipe."""
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setattr(views, "PLAIN_PERIOD_S", 0.1)
    sweep = tmp_path / "small.toml"
    sweep.write_text(
        'name = "small"\n[games.taboo]\nitems = 6\n[models.m.methods.a]\nbots = { skill = 1.0, latency_s = 0.4 }\n'
    )
    said: list[str] = []
    context = RunContext(source=sweep, store=tmp_path / "s.duckdb", environ={}, notify=said.append, live=True)
    spec = load_sweep(sweep, known_games=["taboo"])
    run_async(lambda: run_sweep(spec, context))
    assert any(line.startswith("method m/a, done ") and "in flight" in line for line in said)


def test_episodes_of_a_method_that_cannot_be_reached_take_no_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay pending, so that at the run's end no turns are left to be estimated."""
    made: list[EpisodeTurns] = []

    def kept(
        planned: Mapping[str, Mapping[str, int]], *, turn_limits: Mapping[str, int | None]
    ) -> EpisodeTurns:
        made.append(EpisodeTurns(planned, turn_limits=turn_limits))
        return made[-1]

    monkeypatch.setattr(execute, "EpisodeTurns", kept)
    sweep = tmp_path / "small.toml"
    sweep.write_text(
        'name = "small"\n[games.taboo]\nitems = 6\n[models.m.methods]\na.bots = { skill = 1.0 }\n'
        'b = { base_url = "http://127.0.0.1:9/v1" }\n'
    )
    context = RunContext(source=sweep, store=tmp_path / "s.duckdb", environ={}, notify=lambda line: None)
    spec = load_sweep(sweep, known_games=["taboo"])
    end = run_async(lambda: run_sweep(spec, context))
    assert end.pending == 6
    assert [made[0].left(name, side_by_side=1).episodes for name in ("m/a", "m/b")] == [0, 0]
