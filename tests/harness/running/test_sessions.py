"""Sessions of a sweep: all items once or more, begun a gap after the end of the session before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import pytest

from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.commands.arguments import load
from harness.config.sweep import deal_repeats
from harness.core.clock import RealClock
from harness.core.event_loop import run_async
from harness.running.prepare import RunOptions, RunPlan, RunRequest, prepare
from harness.running.run_sweep import run_sweep
from harness.scheduler.shutdown import RunEnd
from harness.store.file import open_to_read
from tests.bots import rows
from tests.command import command, lightbulb, refused

SWEEP = """
name = "s"
repeats = {repeats}
[games.taboo]
items = 4
[models.m.methods]
a.bots = {{ skill = 0.9 }}
b.bots = {{ skill = 0.8 }}
[models.other.methods]
c.bots = {{ skill = 0.9 }}
{more}
[audit]
again = false
sessions = {sessions}
gap = "{gap}"
"""


def sweep(folder: Path, *, repeats: int = 2, sessions: int = 2, gap: str = "1s", more: str = "") -> Path:
    path = folder / "s.toml"
    path.write_text(SWEEP.format(repeats=repeats, sessions=sessions, gap=gap, more=more))
    return path


def context(path: Path, lines: list[str]) -> RunContext:
    return RunContext(source=path, store=path.with_suffix(".duckdb"), environ={}, notify=lines.append)


def played(path: Path, lines: list[str]) -> RunEnd:
    spec = load(path)
    return run_async(lambda: run_sweep(spec, context(path, lines)))


def plan_of(path: Path) -> RunPlan:
    """Returns what the next run over the store would play first."""
    spec = load(path)
    request = RunRequest(
        spec=spec,
        context=context(path, []),
        sets=game_sets(spec, path),
        keys={},
        clock=RealClock(),
        options=RunOptions(),
    )
    with open_to_read(path.with_suffix(".duckdb")) as connection:
        return prepare(request, connection)


@pytest.fixture(scope="module")
def both_played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunEnd, list[str]]:
    """A sweep of two sessions, four seconds apart: less may pass before the second one is prepared."""
    lines: list[str] = []
    path = sweep(tmp_path_factory.mktemp("sessions"), gap="4s")
    return path, played(path, lines), lines


def test_repeats_are_dealt_evenly() -> None:
    """Every session has as many, or one more; earlier repeats come in earlier sessions."""
    assert deal_repeats(6, 3) == (0, 0, 1, 1, 2, 2)
    assert deal_repeats(5, 2) == (0, 0, 0, 1, 1)
    assert deal_repeats(3, 1) == (0, 0, 0)


def test_sessions_are_a_gap_apart(both_played: tuple[Path, RunEnd, list[str]]) -> None:
    """All is played in one command, each session in a run of its own with all methods; the line before the
    gap says until when."""
    path, end, lines = both_played
    assert (end.finished, end.failed, end.pending, end.interrupted) == (24, 0, 0, False)
    store = path.with_suffix(".duckdb")
    by_session = "SELECT session, run_id, repeat, count(*), count(DISTINCT method) FROM episodes GROUP BY ALL"
    assert rows(store, f"{by_session} ORDER BY ALL") == [(0, "0001", 0, 12, 3), (1, "0002", 1, 12, 3)]
    ((gap_s,),) = rows(
        store,
        "SELECT min(started_at) FILTER (session = 1) - max(finished_at) FILTER (session = 0) FROM episodes",
    )
    assert float(str(gap_s)) >= 4.0
    assert any(line.startswith("session 2 of 2 begins at 2") and "4s after the end" in line for line in lines)
    assert "session 2 of 2: 0 of 12 episodes done, 12 to play" in lines


def test_the_same_command_goes_on_in_the_session_that_was_begun(
    both_played: tuple[Path, RunEnd, list[str]], tmp_path: Path
) -> None:
    """A second session that has a row is continued at once; otherwise the gap counts from the end of the
    first one."""
    source, _, _ = both_played
    path = tmp_path / "s.toml"
    path.write_text(source.read_text())
    store = path.with_suffix(".duckdb")
    store.write_bytes(source.with_suffix(".duckdb").read_bytes())
    assert plan_of(path).lanes == ()
    with duckdb.connect(str(store)) as connection:
        connection.execute(
            "DELETE FROM episodes WHERE session = 1 AND instance <> (SELECT min(instance) FROM episodes)"
        )
        begun = connection.execute("SELECT count(*) FROM episodes WHERE session = 1").fetchall()
    assert begun != [(0,)]
    plan = plan_of(path)
    assert (plan.session, plan.begins_at, {lane.session for lane in plan.lanes}) == (1, 0.0, {1})
    with duckdb.connect(str(store)) as connection:
        connection.execute("DELETE FROM episodes WHERE session = 1")
    plan = plan_of(path)
    assert plan.session == 1
    assert plan.begins_at == 0.0, "recorded calls of unfinished episodes belong to the session, too"
    with duckdb.connect(str(store)) as connection:
        connection.execute("DELETE FROM calls WHERE run_id = '0002'")
        ((ended_at,),) = connection.execute("SELECT max(finished_at) FROM episodes").fetchall()
    assert plan_of(path).begins_at == ended_at + 4.0


def test_who_is_stopped_in_a_session_plays_no_later_one(tmp_path: Path) -> None:
    """A budget stops one model in the first session; the other model plays both, and what is left is
    pending."""
    path = sweep(tmp_path, gap="0s", more="c.budget = { calls = 5 }")
    end = played(path, [])
    assert set(end.closings) == {"other/c"}
    assert end.budget
    assert end.finished + end.pending == 24
    counts = (
        "SELECT method, session, count(*) FROM episodes WHERE method <> 'other/c' GROUP BY ALL ORDER BY ALL"
    )
    store = path.with_suffix(".duckdb")
    assert rows(store, counts) == [("m/a", 0, 4), ("m/a", 1, 4), ("m/b", 0, 4), ("m/b", 1, 4)]
    assert rows(store, "SELECT count(*) FROM episodes WHERE method = 'other/c' AND session = 1") == [(0,)]


def test_ctrl_c_in_the_gap_ends_the_run(tmp_path: Path) -> None:
    """The store is closed while the run waits, so anyone reads it; exit code 130, and the command that goes
    on is named."""
    path = sweep(tmp_path, gap="6h")
    with subprocess.Popen(command("run", path), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("session 2 of 2 begins at"):
                break
        assert rows(path.with_suffix(".duckdb"), "SELECT count(*) FROM episodes") == [(12,)]
        process.send_signal(2)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "12 episodes finished, 0 failed, 12 pending" in rest
    assert f"continue with: lightbulb run {path}" in rest


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sessions": 3}, "audit.sessions: 3 sessions need 3 repeats or more, but repeats = 2"),
        ({"gap": "six hours"}, "audit.gap: 'six hours' is not a duration"),
        ({"gap": "-1h"}, "audit.gap: '-1h' is not a duration"),
    ],
)
def test_impossible_sessions_are_refused(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    refused(sweep(tmp_path, **changed), words)  # type: ignore[arg-type]


def test_a_sweep_that_may_stop_early_has_one_session(tmp_path: Path) -> None:
    path = sweep(tmp_path)
    path.write_text(path.read_text() + 'stop = "early"\n')
    refused(path, 'audit.stop: "early" can stop the sweep within a session')


def test_sessions_are_fixed_before_the_first_call(
    both_played: tuple[Path, RunEnd, list[str]], tmp_path: Path
) -> None:
    """Neither their number nor the repeats that they share change in a store that is begun."""
    path, _, _ = both_played
    store = path.with_suffix(".duckdb")
    refused(
        sweep(tmp_path, repeats=4, gap="4s"),
        "repeats: was 2 when this store was made and is 4 now",
        store=store,
    )
    refused(
        sweep(tmp_path, sessions=1, gap="4s"), "audit.sessions: was 2 when this store was made", store=store
    )
    assert lightbulb("run", sweep(tmp_path, gap="4s"), "--store", store).returncode == 0
