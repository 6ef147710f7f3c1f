"""Writes rows into DuckDB: one connection, one thread, batches.

Keeps: the rows of one `put` are committed together or later, in order; while more than `behind_rows_max`
rows, or `behind_text_max` characters of long texts, are not written, `put` waits; rows older than about a
second are on disk, in the file or in its write-ahead log. A failure of the disk, or a store that is deleted
or replaced, ends the run: the writer's context raises StoreError. The event loop only appends to a list under
a lock."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import duckdb

from harness.core.clock import RealClock, step_aside
from harness.core.errors import StoreError
from harness.core.records import CallRecord, LogprobRecord, Record, RescoreRecord, TurnRecord
from harness.store import schema
from harness.store.file import translated

CHUNK_ROWS = 100  # about a millisecond of work, which holds the interpreter; then the event loop may run
# With DuckDB's commit well below half a second, everything older than a second is on disk.
BATCH_PERIOD_S = 0.5
# A copy of the file without its write-ahead log lacks at most the rows of this time. The first checkpoint
# comes early,
# so that a copy of a young store is a store.
CHECKPOINT_PERIOD_S = 60.0
CHECKPOINT_FIRST_S = 5.0

# What may wait before `put` waits. 50,000 ordinary rows have about 20 MiB of text; asks and replies can be as
# long as a server allows, and some games repeat the whole conversation in each ask.
BEHIND_ROWS_MAX = 50_000
BEHIND_TEXT_MAX = 64 << 20  # characters; one takes 1 to 4 bytes here, and as many in DuckDB's transaction


def text_length(records: Sequence[Record]) -> int:
    """Returns the characters of the texts in these rows that can be long: asks, replies, thoughts,
    probabilities."""
    length = 0
    for record in records:
        if isinstance(record, CallRecord):
            length += len(record.reply or "") + len(record.reasoning or "")
        elif isinstance(record, TurnRecord):
            length += len(record.added_json)
        elif isinstance(record, LogprobRecord | RescoreRecord):
            length += len(record.tokens_json)
    return length


class StoreWriter:
    """A RecordSink; `writing` makes one."""

    def __init__(self, batches: Batches, *, behind_rows_max: int, behind_text_max: int) -> None:
        self._batches = batches
        self._rows_max, self._text_max = behind_rows_max, behind_text_max
        self._lock = threading.Lock()
        self._rows: list[Record] = []
        self._text = 0  # characters of the long texts in these rows
        self._writing = self._writing_text = 0
        self._wake = threading.Event()
        self._closing = False
        self._failure: str | None = None
        self._relief: anyio.Event | None = None
        self._pause: _Pause | None = None

    async def put(self, *records: Record) -> None:
        """See RecordSink."""
        if self._failure is not None:
            raise StoreError(self._failure)
        text = text_length(records)
        with self._lock:
            self._rows.extend(records)
            self._text += text
            rows_behind = len(self._rows) + self._writing
            text_behind = self._text + self._writing_text
        is_behind = rows_behind > self._rows_max or text_behind > self._text_max
        if is_behind and self._failure is None:
            if self._relief is None or self._relief.is_set():
                self._relief = anyio.Event()
            self._wake.set()
            await self._relief.wait()

    def put_nowait(self, record: Record) -> None:
        """See RecordSink."""
        text = text_length((record,))
        with self._lock:
            self._rows.append(record)
            self._text += text

    @property
    def rows_behind(self) -> int:
        """Returns the number of rows that are taken and not yet committed."""
        return len(self._rows) + self._writing

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Writes nothing within the block; before it, all rows are committed and in the file itself."""
        while self._pause is not None:  # one at a time
            await self._pause.over.wait()
        self._refuse_if_over()
        self._pause = pause = _Pause()
        self._wake.set()
        try:
            await pause.begun.wait()
            self._refuse_if_over()
            yield
        finally:
            self._pause = None
            pause.over.set()
            pause.resume.set()

    def _refuse_if_over(self) -> None:
        if self._failure is not None or self._closing:
            raise StoreError(self._failure or f"{self._batches.path}: the run ends")

    def write_until_closed(self) -> None:
        """Writes batches until the writer is closed or fails; this is the thread's work."""
        while True:
            self._wake.wait(BATCH_PERIOD_S)
            self._wake.clear()
            with self._lock:
                batch, self._rows = self._rows, []
                self._writing = len(batch)
                self._writing_text, self._text = self._text, 0
                closing = self._closing
            pause = self._pause
            self._failure = self._write(batch, checkpoint=pause is not None)
            self._writing = self._writing_text = 0
            del batch
            if self._relief is not None:
                anyio.from_thread.run_sync(self._relief.set)
            if closing or self._failure is not None:
                return
            if pause is not None:
                anyio.from_thread.run_sync(pause.begun.set)
                pause.resume.wait()

    def _write(self, batch: list[Record], *, checkpoint: bool) -> str | None:
        """Writes one batch; returns the failure's sentence, if any."""
        path = self._batches.path
        if self._batches.file_is_lost():
            return (
                f"{path}: was deleted or replaced while this run wrote to it, so the run stops; rows since"
                " then are lost. Do not move or delete a store during a run"
            )
        try:
            self._batches.write(batch)
            self._batches.checkpoint(now=checkpoint)
        except StoreError as error:
            return f"{error}; what was committed before is safe, and the same command resumes from it"
        return None

    def thread_ended(self) -> None:
        """Releases everyone who waits for the thread: nothing will be written any more.

        raises  StoreError if the thread failed"""
        if not self._closing and self._failure is None:
            self._failure = (
                f"{self._batches.path}: the writer's thread ended because of an error in lightbulb"
            )
        if self._relief is not None:
            self._relief.set()
        if self._pause is not None:
            self._pause.begun.set()
        if self._failure is not None:
            raise StoreError(self._failure)

    async def close(self, thread_done: anyio.Event) -> None:
        with self._lock:
            self._closing = True
        if self._pause is not None:
            self._pause.resume.set()
        self._wake.set()
        await thread_done.wait()


class _Pause:
    """One pause of the writer: `begun` and `over` for the event loop, `resume` for the thread."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.over = anyio.Event()
        self.resume = threading.Event()


class Batches:
    """Writes batches, each in its own transaction.

    An appender is kept for the next batch: making one costs as much as 50 rows.

    free_memory   ends other users of DuckDB's memory; called if a batch does not fit into it
    now           a clock in seconds"""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: Path,
        *,
        free_memory: Callable[[], None] = lambda: None,
        now: Callable[[], float] = RealClock.now,
    ) -> None:
        self.path = path
        self._connection = connection
        self._free_memory = free_memory
        self._appenders: dict[type[Record], duckdb.Appender] = {}
        self._file = _identity(path)
        self._now = now
        self._checkpoint_at = now() + CHECKPOINT_FIRST_S

    def file_is_lost(self) -> bool:
        """Returns whether the path no longer leads to the file that was opened."""
        return _identity(self.path) != self._file

    def write(self, batch: list[Record]) -> None:
        """Writes all rows, or none and raises StoreError; do not use it again after an error."""
        if not batch:
            return
        by_type: dict[type[Record], list[Record]] = {}
        for record in batch:
            by_type.setdefault(type(record), []).append(record)
        with translated(self.path):
            try:
                self._write(by_type)
            except duckdb.OutOfMemoryException:
                self._free_memory()
                self._write(by_type)

    def checkpoint(self, *, now: bool = False) -> None:
        """Moves rows from the write-ahead log into the file, every CHECKPOINT_PERIOD_S or now.

        raises  StoreError"""
        if not now and self._now() < self._checkpoint_at:
            return
        with translated(self.path):
            self._connection.execute("CHECKPOINT")
        self._checkpoint_at = self._now() + CHECKPOINT_PERIOD_S

    def _write(self, by_type: dict[type[Record], list[Record]]) -> None:
        self._connection.begin()
        try:
            for kind, records in by_type.items():
                self._append(kind, records)
            self._connection.commit()
        except BaseException:
            # The first error is the cause: what fails after it must not replace it.
            with suppress(duckdb.Error):
                for appender in self._appenders.values():
                    appender.clear()
            with suppress(duckdb.Error):
                self._connection.rollback()
            raise

    def _append(self, kind: type[Record], records: list[Record]) -> None:
        if kind not in self._appenders:
            self._appenders[kind] = self._connection.appender(
                schema.TABLES[kind], columns=schema.columns(kind)
            )
        for start in range(0, len(records), CHUNK_ROWS):
            # Plain tuples are read faster than named ones.
            self._appenders[kind].append_rows(map(tuple, records[start : start + CHUNK_ROWS]))
            step_aside()
        self._appenders[kind].flush()


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns device and inode of the file; None if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_batch(connection: duckdb.DuckDBPyConnection, path: Path, batch: list[Record]) -> None:
    """Writes one batch in one transaction."""
    Batches(connection, path).write(batch)


@asynccontextmanager
async def writing(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    behind_rows_max: int = BEHIND_ROWS_MAX,
    behind_text_max: int = BEHIND_TEXT_MAX,
    free_memory: Callable[[], None] = lambda: None,
) -> AsyncIterator[StoreWriter]:
    """Yields a writer with its thread; at the end everything taken is committed, also after an error or
    cancellation.

    path              the connection's file
    behind_rows_max   rows that may wait before `put` waits
    behind_text_max   characters of their long texts that may wait
    free_memory       see Batches
    raises            StoreError if a batch cannot be written; the block is cancelled then"""
    writer = StoreWriter(
        Batches(connection, path, free_memory=free_memory),
        behind_rows_max=behind_rows_max,
        behind_text_max=behind_text_max,
    )
    done = anyio.Event()

    async def thread() -> None:
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(writer.write_until_closed)
        finally:
            done.set()
            writer.thread_ended()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(thread)
        try:
            yield writer
        finally:
            with anyio.CancelScope(shield=True):
                await writer.close(done)
