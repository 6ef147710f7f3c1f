"""Copies a store to a new file, also while a run writes it.

Keeps: the copy is complete and has no write-ahead log of its own; the target appears at the end, or not at
all. A child process copies: a process that closes a file loses its locks on it (POSIX), and DuckDB's lock
keeps others from writing. A running sweep commits and writes nothing to the file meanwhile; it collects rows
in memory."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from harness.core.errors import SpecError, StoreError
from harness.store.file import open_plain, open_to_read
from harness.store.query_server import RunningStore
from harness.store.worker_stores import refuse_unmerged


def back_up(store: Path, target: Path) -> int:
    """Copies the store; returns the size of the copy in bytes.

    raises  SpecError if the target exists; StoreError if the store cannot be read or the target cannot be
            written, or rows of workers are not in the store yet"""
    if target.exists():
        raise SpecError(f"{target}: exists already; name a new file")
    draft = target.with_name(f"{target.name}.part")
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(open_to_read(store))
            if isinstance(connection, RunningStore):
                stack.enter_context(connection.paused())
            else:
                refuse_unmerged([store])
            _copy(store, draft)
            if _log(store).exists():  # of a killed run
                _copy(_log(store), _log(draft))
        with open_plain(draft) as copy:  # closing it moves the rows of the log into the file
            copy.execute("CHECKPOINT")
            ((used,),) = copy.execute(
                "SELECT block_size * used_blocks FROM pragma_database_size()"
            ).fetchall()
        if (size := draft.stat().st_size) < used:  # DuckDB notices it only when it reads a block
            raise StoreError(
                f"{store}: the file is damaged: it has {size:,} bytes, and its blocks need {used:,}. Use a backup of it"
            )
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
        _log(draft).unlink(missing_ok=True)
    return target.stat().st_size


def _log(store: Path) -> Path:
    """Returns the store's write-ahead log."""
    return store.with_name(f"{store.name}.wal")


def _copy(source: Path, target: Path) -> None:
    ended = subprocess.run(
        ["cp", "--", str(source), str(target)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if ended.returncode != 0:
        raise StoreError(f"{target}: cannot be written: {ended.stderr.strip()}")
