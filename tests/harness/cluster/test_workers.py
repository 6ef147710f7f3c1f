"""A run whose episodes are played by workers ends with the store of a run in one process."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import duckdb
import pytest

from harness.access.context import RunContext
from harness.cluster.worker_pool import StartWorker
from harness.commands.arguments import load, note_unmerged
from harness.commands.data import merge
from harness.core.errors import SpecError, StoreDamaged, StoreError, WorkerFailed
from harness.core.event_loop import run_async
from harness.core.vocabulary import EpisodePlan
from harness.running import execute
from harness.running.prepare import RunOptions
from harness.running.run_sweep import run_sweep
from harness.scheduler.shutdown import RunEnd
from harness.scheduler.spending import Scope, SpendingBudget
from harness.store.backup import back_up
from harness.store.worker_stores import workers_folder
from tests.harness.cluster.local import LocalWorkers

SWEEP = """
name = "s"
repeats = 2
{more}
[games.taboo]
items = 8
[games.wordle]
items = 4
[models.m.methods]
a.bots = {{ skill = 0.9, latency_s = {latency_s} }}
b.bots = {{ skill = 0.6, form_errors = 0.1, latency_s = {latency_s} }}
"""


STOPPING = """
name = "s"
seed = 1
[games.taboo]
items = 60
[models.m.methods]
good.bots = { skill = 0.9, latency_s = 0.001 }
sloppy.bots = { skill = 0.9, form_errors = 0.4, latency_s = 0.001 }
[audit]
stop = "early"
again = false
reference = "m/good"
"""
LOOKED = (
    "SELECT method, kind, look, items, difference, low, high, verdict FROM looks ORDER BY ALL",
    "SELECT episode_id, status, outcome, score FROM episodes ORDER BY ALL",
)

READERS = (("sql", "SELECT count(*) AS n FROM episodes", "--json"), ("scores",), ("audit",))

FAIL = (
    "UPDATE episodes SET status = 'failed', outcome = NULL, score = NULL, reason = 'Unserved: no' WHERE episode_id"
    " IN (SELECT episode_id FROM episodes ORDER BY 1 LIMIT 2)"
)
SESSIONS = '[audit]\nsessions = 2\ngap = "0s"\n'
LOST = "DELETE FROM episodes WHERE episode_id IN (SELECT episode_id FROM episodes ORDER BY 1 LIMIT 2)"


def sweep(folder: Path, more: str = "", *, latency_s: float = 0.001) -> Path:
    path = folder / "s.toml"
    path.write_text(SWEEP.format(more=more, latency_s=latency_s))
    return path


class ChangingWorkers(LocalWorkers):
    """Workers after whose end a statement changes the rows of the first one."""

    def __init__(self, store: Path, statement: str, *, dies_after: int | None = None) -> None:
        super().__init__(1, dies_after=lambda number: dies_after if number == 1 else None)
        self._first = workers_folder(store) / "0001-1.duckdb"
        self._statement = statement

    @asynccontextmanager
    async def open_workers(self) -> AsyncIterator[tuple[int, StartWorker]]:
        async with super().open_workers() as (size, start):
            yield size, start
        if self._first.exists():
            with duckdb.connect(str(self._first)) as connection:
                connection.execute(self._statement)


class ReadWorkers(LocalWorkers):
    """Workers after whose end, and before their stores are merged, other processes read the run's store.

    read   command -> how it ended"""

    def __init__(self, size: int, store: Path) -> None:
        super().__init__(size)
        self.read: dict[str, subprocess.CompletedProcess[str]] = {}
        self._store = store

    @asynccontextmanager
    async def open_workers(self) -> AsyncIterator[tuple[int, StartWorker]]:
        async with super().open_workers() as (size, start):
            yield size, start
        for command in READERS:
            self.read[command[0]] = await anyio.to_thread.run_sync(
                partial(
                    subprocess.run,
                    [sys.executable, "-m", "harness", command[0], str(self._store), *command[1:]],
                    capture_output=True,
                    text=True,
                )
            )


def played(
    path: Path,
    store: Path,
    workers: LocalWorkers | None,
    lines: list[str] | None = None,
    *,
    retry_failed: bool = False,
) -> RunEnd:
    said = lines if lines is not None else []
    context = RunContext(source=path, store=store, environ={}, notify=said.append)
    options = RunOptions(workers=workers.open_workers if workers else None, retry_failed=retry_failed)
    return run_async(lambda: run_sweep(load(path), context, options))


def rows(store: Path) -> dict[str, list[tuple[object, ...]]]:
    """Returns what a store holds of episodes, turns and calls, without times."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return {
            query: connection.execute(f"SELECT {query} ORDER BY ALL").fetchall()
            for query in (
                "episode_id, attempt, key, method, arm, status, outcome, score, reason, requests, turns,"
                " metrics_json FROM episodes",
                "episode_id, attempt, turn, seat, method, ask_hash, added_json, violation FROM turns",
                "episode_id, attempt, turn, try_number, method, ask_hash, reply FROM calls",
            )
        }


def ended_episodes(store: Path) -> set[object]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return {row[0] for row in connection.execute("SELECT episode_id FROM episodes").fetchall()}


@pytest.mark.parametrize("size", [1, 3])
def test_workers_leave_the_store_of_one_process(tmp_path: Path, size: int) -> None:
    """Episodes, turns and calls are the same rows, and the folder of the workers' stores is gone."""
    path = sweep(tmp_path)
    alone = played(path, tmp_path / "alone.duckdb", None)
    workers = LocalWorkers(size)
    end = played(path, tmp_path / "workers.duckdb", workers)
    assert end == alone
    assert end.finished == 12 * 2 * 3
    assert len(workers.setups) == size
    assert rows(tmp_path / "workers.duckdb") == rows(tmp_path / "alone.duckdb")
    assert not (tmp_path / "workers.duckdb.workers").exists()


def test_episodes_of_a_worker_that_ends_are_played_by_others(tmp_path: Path) -> None:
    """Each of the first three workers ends in the middle of its work: nothing is lost, nothing is there
    twice."""
    path, lines = sweep(tmp_path, latency_s=0.02), list[str]()
    played(path, tmp_path / "alone.duckdb", None)
    workers = LocalWorkers(2, dies_after=lambda number: 6 if number <= 3 else None)
    end = played(path, tmp_path / "workers.duckdb", workers, lines)
    assert (end.failed, end.pending) == (0, 0)
    assert sum("the process was killed" in line for line in lines) == 3
    assert len(workers.setups) >= 5
    assert rows(tmp_path / "workers.duckdb") == rows(tmp_path / "alone.duckdb")


def test_an_episode_that_ends_every_worker_stays_pending(tmp_path: Path) -> None:
    """All others are played; then the run ends, and does not start workers for this episode again and
    again."""
    path, store = sweep(tmp_path), tmp_path / "workers.duckdb"
    played(path, tmp_path / "alone.duckdb", None)
    deadly = min(map(str, ended_episodes(tmp_path / "alone.duckdb")))
    workers = LocalWorkers(2, dies_of=lambda plan: plan.episode_id == deadly)
    lines = list[str]()
    end = played(path, store, workers, lines)
    assert end.pending == 1
    assert "no episode finished before its worker ended; what is left stays pending" in lines
    assert len(ended_episodes(store)) == 12 * 2 * 3 - 1
    assert played(path, store, None).pending == 0


def test_a_pool_whose_workers_always_end_is_given_up(tmp_path: Path) -> None:
    """Workers that end before an episode of theirs did are replaced a few times only; what is left stays
    pending."""
    path, lines = sweep(tmp_path), list[str]()
    workers = LocalWorkers(2, dies_after=lambda number: 0)
    end = played(path, tmp_path / "workers.duckdb", workers, lines)
    assert end.pending == 12 * 2 * 3 - len(ended_episodes(tmp_path / "workers.duckdb"))
    assert any("every worker ended" in reason for reason in end.closings.values())
    assert played(path, tmp_path / "workers.duckdb", None).pending == 0
    assert len(ended_episodes(tmp_path / "workers.duckdb")) == 12 * 2 * 3


def test_a_run_takes_in_what_workers_of_a_killed_run_stored(tmp_path: Path) -> None:
    """The stores that lie beside a store are merged before the next run, with workers or without, and what
    they hold is not played again; when it is not known whose they are, the run is refused."""
    path, store = sweep(tmp_path), tmp_path / "s.duckdb"
    played(path, tmp_path / "alone.duckdb", None)
    played(path, store, LocalWorkers(2))
    # as a killed run leaves it: the run's rows in the store, episodes in that of a worker
    folder = tmp_path / "s.duckdb.workers"
    folder.mkdir()
    shutil.copy(store, folder / "0001-1.duckdb")
    with duckdb.connect(str(store)) as connection:
        for table in ("episodes", "turns", "calls"):
            connection.execute(f"DELETE FROM {table}")
    end = played(path, store, None)
    assert (end.finished, end.pending) == (0, 0)
    assert rows(store) == rows(tmp_path / "alone.duckdb")
    assert not folder.exists()
    folder.mkdir()
    store.rename(folder / "0001-1.duckdb")
    with pytest.raises(SpecError, match=r"whose store .* is gone"):
        played(path, store, None)


def test_turns_are_told_once_for_each_episode(tmp_path: Path) -> None:
    """A report names the turns of an episode by the first and the last of them, and none is left out."""
    workers = LocalWorkers(2)
    played(sweep(tmp_path), tmp_path / "workers.duckdb", workers)
    told = [
        (episode, turn)
        for report in workers.reports
        for episode, (first, last) in report.turns.items()
        for turn in range(first, last + 1)
    ]
    with duckdb.connect(str(tmp_path / "workers.duckdb"), read_only=True) as connection:
        stored = connection.execute("SELECT episode_id, turn + 1 FROM turns").fetchall()
    assert sorted(told) == sorted(stored)


def test_early_stopping_is_that_of_one_process(tmp_path: Path) -> None:
    """The same interim analyses of the same items end a method. The same episodes are played: those of the
    items that were analysed, and no other."""
    path = tmp_path / "s.toml"
    path.write_text(STOPPING)
    found: dict[int, list[tuple[object, ...]]] = {}
    for size in (0, 2):
        lines: list[str] = []
        store = tmp_path / f"{size}.duckdb"
        played(path, store, LocalWorkers(size) if size else None, lines)
        assert [line for line in lines if "No more episodes of m/sloppy are played." in line]
        with duckdb.connect(str(store), read_only=True) as connection:
            found[size] = [row for query in LOOKED for row in connection.execute(query).fetchall()]
            analysed = connection.execute("SELECT max(items) FROM looks").fetchall()
            most = connection.execute("SELECT count(*) FROM episodes GROUP BY method ORDER BY 1 DESC LIMIT 1")
            assert most.fetchall() == analysed
    assert found[2] == found[0]


def test_a_budget_is_that_of_all_workers(tmp_path: Path) -> None:
    """A budget of calls ends the run with all methods at the same share, as in one process."""
    path = sweep(tmp_path, "[budget]\ncalls = 100\n", latency_s=0.2)  # few calls between messages
    end = played(path, tmp_path / "workers.duckdb", LocalWorkers(2))
    assert end.budget
    assert end.pending > 0
    with duckdb.connect(str(tmp_path / "workers.duckdb"), read_only=True) as connection:
        ((calls,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
    assert 50 <= calls <= 110


def test_the_time_of_a_budget_goes_on_after_a_worker_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run plays on what its worker had open with the seconds that are left, not with all of them."""
    used_s: list[float] = []

    class Noted(SpendingBudget):
        def __init__(self, *scopes: Sequence[Scope], **parts: Any) -> None:
            super().__init__(*scopes, **parts)
            used_s.append(parts["used_s"])

    monkeypatch.setattr(execute, "SpendingBudget", Noted)
    path = sweep(tmp_path, "[budget]\nwall_s = 1000\n", latency_s=0.02)
    workers = LocalWorkers(1, dies_after=lambda number: 12 if number == 1 else None)
    end = played(path, tmp_path / "workers.duckdb", workers)
    assert (end.pending, len(used_s)) == (0, 2)
    assert used_s[0] == 0.0
    assert used_s[1] > 0.02  # as long as one call takes


def test_a_worker_that_cannot_see_the_folder_ends_the_run(tmp_path: Path) -> None:
    """The first message of a worker elsewhere says which folder has to be shared."""
    path = sweep(tmp_path)
    workers = LocalWorkers(1, before=lambda setup: setup.store.with_name("token").unlink())
    with pytest.raises(BaseExceptionGroup) as raised:
        played(path, tmp_path / "workers.duckdb", workers)
    assert raised.group_contains(WorkerFailed, match="does not see the file token")


def test_figures_at_the_end_are_those_of_the_store(tmp_path: Path) -> None:
    """Episodes whose rows went with their worker are pending, also if the worker reported them as ended."""
    path, store = sweep(tmp_path, latency_s=0.02), tmp_path / "s.duckdb"
    end = played(path, store, ChangingWorkers(store, LOST))
    stored = ended_episodes(store)
    assert len(stored) == 12 * 2 * 3 - 2
    assert (end.finished, end.failed, end.pending) == (len(stored), 0, 2)


@pytest.mark.parametrize("retry_failed", [False, True])
def test_an_episode_that_fails_and_is_played_again_counts_once(tmp_path: Path, retry_failed: bool) -> None:
    """Two episodes fail before their worker ends; the part of the run that follows plays them again, or not.
    The figures at the end are those of the store."""
    path, store = sweep(tmp_path, latency_s=0.02), tmp_path / "s.duckdb"
    end = played(path, store, ChangingWorkers(store, FAIL, dies_after=20), retry_failed=retry_failed)
    failures = () if retry_failed else (("Unserved: no", 2),)
    failed = sum(count for _, count in failures)
    assert (end.finished, end.failed, end.pending, end.failures) == (72 - failed, failed, 0, failures)
    stored = stored_counts(store)
    assert (stored["finished"], stored.get("failed", 0)) == (72 - failed, failed)


def test_an_episode_that_failed_in_a_session_is_not_pending_too(tmp_path: Path) -> None:
    """With failed episodes to be played again, those that fail in the first session are left when the second
    one is prepared. They count as failed."""
    path, store = sweep(tmp_path, SESSIONS), tmp_path / "s.duckdb"
    end = played(path, store, ChangingWorkers(store, FAIL), retry_failed=True)
    assert stored_counts(store) == {"finished": 70, "failed": 2}
    assert (end.finished, end.failed, end.pending) == (70, 2, 0)


def stored_counts(store: Path) -> dict[str, int]:
    """Returns how many episodes ended in which way, by their last plays."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return dict(connection.execute("SELECT status, count(*) FROM last_episodes GROUP BY ALL").fetchall())


def test_readers_beside_a_run_say_what_the_store_lacks(tmp_path: Path) -> None:
    """While workers play, commands read what was stored before, and say that rows are missing."""
    path, store = sweep(tmp_path), tmp_path / "s.duckdb"
    path.write_text(path.read_text().replace("repeats = 2", "repeats = 1"))
    assert played(path, store, None).finished == 12 * 3
    workers = ReadWorkers(2, store)
    assert played(sweep(tmp_path), store, workers).finished == 12 * 3
    lacks = f"{store}: lacks the rows in {store}.workers"
    for command, read in workers.read.items():
        assert (read.returncode, read.stderr[: len(lacks)]) == (0, lacks), (command, read)
    assert '"n":36' in workers.read["sql"].stdout.replace(" ", "")
    assert len(ended_episodes(store)) == 12 * 2 * 3


def test_after_an_error_readers_say_what_the_store_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run takes in what workers stored until then."""
    path, store = sweep(tmp_path), tmp_path / "s.duckdb"
    begun: list[EpisodePlan] = []

    def fail_late(plan: EpisodePlan) -> bool:
        begun.append(plan)
        if len(begun) == 40:
            raise WorkerFailed("no space left")
        return False

    with pytest.raises(BaseExceptionGroup) as raised:
        played(path, store, LocalWorkers(2, dies_of=fail_late))
    assert raised.group_contains(WorkerFailed, match="no space left")
    assert not ended_episodes(store)
    note_unmerged(store)
    assert f"{store}: lacks the rows in {store}.workers" in capsys.readouterr().err
    end = played(path, store, None)
    assert 0 < end.finished < 12 * 2 * 3
    assert len(ended_episodes(store)) == 12 * 2 * 3
    note_unmerged(store)
    assert not capsys.readouterr().err


def test_rows_that_lie_beside_a_store_are_not_left_out_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a kill, a command that reads the store says what the store lacks; a copy is refused, and a
    damaged file is named with what can be done."""
    path, store = sweep(tmp_path), tmp_path / "s.duckdb"
    played(path, store, None)
    shutil.copy(store, tmp_path / "other.duckdb")
    workers_folder(store).mkdir()
    shutil.copy(store, workers_folder(store) / "0001-1.duckdb")
    whole = (workers_folder(store) / "0001-1.duckdb").read_bytes()
    (workers_folder(store) / "0001-1.duckdb").write_bytes(whole[:300_000])
    with pytest.raises(StoreDamaged, match=r"0001-1.duckdb: the file is damaged: .*delete its file"):
        played(path, store, None)
    lacks = f"{store}: lacks the rows in {store}.workers"
    assert note_unmerged(store) == store
    assert capsys.readouterr().err.startswith(lacks)
    with pytest.raises(StoreError, match=re.escape(lacks)):
        back_up(store, tmp_path / "copy.duckdb")
    with pytest.raises(StoreError, match=re.escape(lacks)):
        merge([store, tmp_path / "other.duckdb"], tmp_path / "both.duckdb")
    assert note_unmerged([tmp_path / "other.duckdb"])
    assert not capsys.readouterr().err
