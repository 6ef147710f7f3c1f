"""Tests of backups: of a closed store, of a killed run's store, and of a store that is being written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import anyio
import anyio.to_thread
import duckdb
import pytest

from harness.core.errors import SpecError, StoreError
from harness.store.backup import back_up
from harness.store.file import open_to_read, open_to_write
from harness.store.query_server import QueryServer
from harness.store.writer import write_batch, writing
from tests.command import lightbulb
from tests.harness.store.test_store import CALL


def turns(store: Path) -> list[int]:
    """Returns the turns in the file itself, without a log beside it."""
    alone = store.with_name("alone.duckdb")
    shutil.copyfile(store, alone)
    with duckdb.connect(str(alone), read_only=True) as connection:
        return [turn for (turn,) in connection.execute("SELECT turn FROM calls ORDER BY turn").fetchall()]


def test_a_closed_store_is_copied(tmp_path: Path) -> None:
    with open_to_write(tmp_path / "s.duckdb") as connection:
        write_batch(connection, tmp_path / "s.duckdb", [CALL])
    ended = lightbulb("backup", tmp_path / "s.duckdb", tmp_path / "copy.duckdb")
    assert ended.returncode == 0, ended.stderr
    assert turns(tmp_path / "copy.duckdb") == [0]
    again = lightbulb("backup", tmp_path / "s.duckdb", tmp_path / "copy.duckdb")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_a_killed_runs_log_is_part_of_the_copy(tmp_path: Path) -> None:
    """The rows of the write-ahead log are in the copy; the store keeps its log."""
    store = tmp_path / "s.duckdb"
    script = f"""
import os
from pathlib import Path
from harness.store.file import open_to_write
from harness.store.writer import write_batch
from tests.harness.store.test_store import CALL
with open_to_write(Path({str(store)!r})) as connection:
    write_batch(connection, Path({str(store)!r}), [CALL, CALL._replace(turn=1)])
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], timeout=60)
    log = store.with_name("s.duckdb.wal")
    assert log.stat().st_size > 0
    back_up(store, tmp_path / "copy.duckdb")
    assert turns(tmp_path / "copy.duckdb") == [0, 1]
    assert log.exists()


def test_a_running_sweeps_store_is_copied(tmp_path: Path) -> None:
    """Each copy has all rows that were taken before it, in order and without gaps; the run loses none."""
    store = tmp_path / "s.duckdb"

    async def scenario() -> None:
        with open_to_write(store) as connection:
            server = QueryServer(connection, store)
            async with (
                writing(connection, store) as writer,
                server.serving(pause=writer.paused, notify=print),
                anyio.create_task_group() as tasks,
            ):

                async def write() -> None:
                    for turn in count():
                        await writer.put(CALL._replace(turn=turn))
                        await anyio.sleep(0.001)

                tasks.start_soon(write)
                for number in range(3):
                    await anyio.sleep(0.2)
                    target = tmp_path / f"copy{number}.duckdb"
                    taken = await anyio.to_thread.run_sync(in_another_process, store, target)
                    assert taken == 0
                tasks.cancel_scope.cancel()

    anyio.run(scenario)
    copies = [turns(tmp_path / f"copy{number}.duckdb") for number in range(3)]
    with open_to_read(store) as connection:
        rows = connection.execute("SELECT turn FROM calls ORDER BY turn").fetchall()
    held = [turn for (turn,) in rows]
    for copied, later in zip(copies, [*copies[1:], held], strict=True):
        assert copied == list(range(len(copied)))
        assert len(copied) < len(later)


def in_another_process(store: Path, target: Path) -> int:
    command = [sys.executable, "-m", "harness", "backup", str(store), str(target)]
    return subprocess.run(command, timeout=60).returncode


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A folder that does not exist, a file that is not a store, and one that lost its end."""
    with open_to_write(tmp_path / "s.duckdb") as connection:
        write_batch(connection, tmp_path / "s.duckdb", [CALL])
    whole = (tmp_path / "s.duckdb").read_bytes()
    (tmp_path / "s.duckdb").write_bytes(whole[:300_000])
    with pytest.raises(StoreError, match=r"the file is damaged: it has 300,000 bytes, and its blocks need"):
        back_up(tmp_path / "s.duckdb", tmp_path / "copy.duckdb")
    (tmp_path / "s.duckdb").write_bytes(whole)
    with pytest.raises(StoreError, match=r"cannot be written: .*No such file or directory"):
        back_up(tmp_path / "s.duckdb", tmp_path / "nowhere" / "copy.duckdb")
    (tmp_path / "text.duckdb").write_text("hello")
    with pytest.raises(StoreError, match="is not a DuckDB file"):
        back_up(tmp_path / "text.duckdb", tmp_path / "copy.duckdb")
    with pytest.raises(SpecError, match="exists already"):
        back_up(tmp_path / "s.duckdb", tmp_path / "text.duckdb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.duckdb", "text.duckdb"]
