"""Stopped, killed, out of space: a sweep goes on. Real processes, real signals."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harness.store.file import open_to_write
from tests.bots import RESULTS, bots_sweep, rows
from tests.command import apart, command, lightbulb, refused
from tests.disk import small_disk


@cache
def empty_tables_bytes() -> int:
    """Returns the size of the write-ahead log of a store without rows."""
    with TemporaryDirectory() as folder:
        store = Path(folder) / "empty.duckdb"
        with open_to_write(store):
            return store.with_suffix(".duckdb.wal").stat().st_size


def begun(sweep: Path, *, after: int) -> subprocess.Popen[str]:
    """Starts a run and waits until its rows take so many bytes: about 1,000 for a call and its turn."""
    after += empty_tables_bytes()
    process = subprocess.Popen(command("run", sweep), stderr=subprocess.PIPE, text=True)
    store = sweep.with_suffix(".duckdb")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        wal = store.with_suffix(".duckdb.wal")
        if wal.exists() and wal.stat().st_size > after:
            break
        time.sleep(0.02)
    return process


def until_an_episode_ended(store: Path) -> None:
    """Waits until a running sweep has a finished episode: on a busy machine that takes a while."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        counted = lightbulb("sql", store, "SELECT count(*) AS ended FROM episodes", "--json")
        if json.loads(counted.stdout)["ended"] > 0:
            return
        time.sleep(0.2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    """The results of the sweep that the tests below interrupt."""
    sweep = bots_sweep(tmp_path_factory.mktemp("undisturbed"), repeats=2)
    assert lightbulb("run", sweep).returncode == 0
    return rows(sweep.with_suffix(".duckdb"), RESULTS)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, undisturbed: list[tuple[object, ...]]) -> None:
    """SIGKILL at some moment; afterwards one finished row a key, no reply asked for twice that was stored,
    and the scores of an undisturbed run."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.02)
    process = begun(sweep, after=70_000)
    assert process.poll() is None, "the run ended before it could be killed"
    process.kill()
    process.communicate()
    store = sweep.with_suffix(".duckdb")
    kept = rows(store, "SELECT episode_id, turn, reply FROM calls") if store.exists() else []
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    assert rows(store, "SELECT count(*), count(DISTINCT episode_id) FROM episodes") == [(108, 108)]
    assert rows(store, "SELECT episode_id, turn FROM calls GROUP BY ALL HAVING count(*) > 1") == []
    assert rows(store, "SELECT episode_id, turn FROM turns GROUP BY ALL HAVING count(*) > 1") == []
    assert set(kept) <= set(rows(store, "SELECT episode_id, turn, reply FROM calls"))
    assert rows(store, RESULTS) == undisturbed


def test_a_stopped_process_goes_on(tmp_path: Path, undisturbed: list[tuple[object, ...]]) -> None:
    """SIGSTOP for a few seconds, as by a laptop's lid: no call fails, and the scores are those of an
    undisturbed run."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.02)
    process = begun(sweep, after=70_000)
    process.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    assert process.poll() is None, "the run ended before it could be stopped"
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    store = sweep.with_suffix(".duckdb")
    assert rows(store, "SELECT count(*) FROM calls WHERE error_class IS NOT NULL") == [(0,)]
    assert rows(store, RESULTS) == undisturbed


def test_a_run_ends_beside_a_query_that_does_not(tmp_path: Path) -> None:
    """Ctrl-C, with a reader that stays with an endless query: the run ends within seconds."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=1.0)
    process = begun(sweep, after=2_000)
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
    reader = subprocess.Popen(
        command("sql", sweep.with_suffix(".duckdb"), endless), stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(3.0)
        assert reader.poll() is None, reader.communicate()
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert time.monotonic() - start < 20.0, (
            "a call takes one second; without the interrupt it is a minute"
        )
        assert "stopped: it took" in reader.communicate(timeout=60)[1] or reader.returncode == 2
    finally:
        for one in (process, reader):
            one.kill()
            one.communicate()


def test_a_run_does_not_end_with_who_reads_its_events(tmp_path: Path) -> None:
    """A pipe that is closed, as by head: one line says so, and all is played."""
    sweep = bots_sweep(tmp_path, latency=0.1)
    with subprocess.Popen(
        command("run", sweep, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["event"]
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 0, told
    assert told.count("the output pipe was closed") == 1
    assert "54 episodes finished, 0 failed, 0 pending" in told


def test_ctrl_c_drains_and_says_how_to_go_on(tmp_path: Path) -> None:
    """One interrupt: calls in flight come home, exit code 130, the command that resumes; and it does."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.05)
    process = begun(sweep, after=30_000)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"continue with: lightbulb run {sweep}" in said
    store = sweep.with_suffix(".duckdb")
    (before,) = rows(store, "SELECT count(*) FROM calls")
    assert lightbulb("run", sweep).returncode == 0
    assert rows(store, "SELECT count(*), count(DISTINCT episode_id) FROM episodes") == [(108, 108)]
    assert rows(store, "SELECT episode_id, turn FROM calls GROUP BY ALL HAVING count(*) > 1") == []
    assert rows(store, "SELECT count(*) FROM calls") > [before]


@pytest.mark.parametrize(("signals", "pause_s"), [(2, 0.05), (4, 0.03)])
def test_impatience_is_met_with_calm(tmp_path: Path, signals: int, pause_s: float) -> None:
    """The second Ctrl-C cancels running calls, a third one nothing more; no traceback, and the store is
    whole."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=0.5)
    process = begun(sweep, after=30_000)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(pause_s)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert rows(sweep.with_suffix(".duckdb"), "SELECT count(*) > 0 FROM calls") == [(True,)]


def test_a_running_sweep_answers_questions(tmp_path: Path) -> None:
    """A run answers `sql` and `scores`, read only; a second run is refused with the process's number."""
    sweep = bots_sweep(tmp_path, repeats=2, latency=6.0)
    process = begun(sweep, after=30_000)
    store = sweep.with_suffix(".duckdb")
    try:
        counted = lightbulb("sql", store, "SELECT count(*) AS calls FROM calls", "--json")
        assert json.loads(counted.stdout)["calls"] > 0, counted.stderr
        until_an_episode_ended(store)
        assert "bots/good" in lightbulb("scores", store).stdout
        assert "bots/good: most of the time, " in lightbulb("scores", store, "--why").stdout
        before = lightbulb("sql", store, "SELECT count(*) FROM calls").stdout
        copied = tmp_path / "copied.csv"
        for harm in (
            "DELETE FROM calls",
            "WITH gone AS (DELETE FROM calls RETURNING *) SELECT count(*) FROM gone",
            "EXPLAIN ANALYZE DELETE FROM calls",
            f"EXPLAIN ANALYZE COPY (SELECT 1) TO '{copied}'",
            "SELECT 1; DELETE FROM calls",
        ):
            changed = lightbulb("sql", store, harm)
            assert (changed.returncode, "read-only" in changed.stderr) == (2, True), harm
        assert int(lightbulb("sql", store, "SELECT count(*) FROM calls").stdout.split()[-1]) >= int(
            before.split()[-1]
        )
        assert not copied.exists()
        refused(sweep, f"(process {process.pid})")
        assert process.poll() is None, "the run ended before the questions did"
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_stops_a_sweep_and_nothing_committed_is_lost(tmp_path: Path) -> None:
    """It says what happened and how to go on; after space is made the same command keeps every committed row,
    plays the rest, and ends with the results of a run that had space."""
    sweep = bots_sweep(
        tmp_path, repeats=10, latency=0.03
    )  # seconds of play: some batches fit before one does not
    store = tmp_path / "disk" / "t.duckdb"
    kept = "SELECT episode_id, attempt, turn, try_number, reply FROM calls WHERE run_id = '0001' ORDER BY ALL"
    with small_disk(store.parent, megabytes=1) as grow:
        stopped = apart("run", sweep, "--store", store)
        assert (stopped.returncode, "Traceback" in stopped.stderr) == (2, False), stopped.stderr
        assert "the same command resumes" in stopped.stderr
        grow(256)
        committed = rows(store, kept)
        assert committed
        assert lightbulb("run", sweep, "--store", store).returncode == 0
        assert rows(store, kept) == committed
        assert rows(store, "SELECT count(*) - count(DISTINCT (episode_id, turn)) FROM calls") == [(0,)]
        assert lightbulb("run", sweep).returncode == 0
        assert rows(store, RESULTS) == rows(sweep.with_suffix(".duckdb"), RESULTS)
