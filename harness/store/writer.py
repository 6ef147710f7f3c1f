"""Rows into DuckDB: one connection, one thread, batches.

Keeps: rows of one `put` are committed together or later, never out of order; at most `behind_rows_max` rows are under way;
everything older than about a second is on disk. A broken disk breaks the writer for good: every later `put` says so.
The event loop is never held up: it only appends to a list under a lock."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import duckdb

from harness.core.clock import step_aside
from harness.core.errors import StoreError
from harness.core.records import Record
from harness.store import schema
from harness.store.file import translated

CHUNK_ROWS = 100  # about a millisecond's work, which holds the interpreter; then the event loop may have it
BATCH_PERIOD_S = (
    0.5  # with DuckDB's commit well under half a second, everything older than a second is on disk
)


class StoreWriter:
    """A RecordSink; make it with `writing`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, *, behind_rows_max: int) -> None:
        self._batches = Batches(connection, path)
        self._limit = behind_rows_max
        self._lock = threading.Lock()
        self._rows: list[Record] = []
        self._writing = 0
        self._wake = threading.Event()
        self._closing = False
        self._failure: str | None = None
        self._relief: anyio.Event | None = None

    async def put(self, *records: Record) -> None:
        """See RecordSink."""
        if self._failure is not None:
            raise StoreError(self._failure)
        with self._lock:
            self._rows.extend(records)
            behind = len(self._rows) + self._writing
        if behind > self._limit and self._failure is None:
            if self._relief is None or self._relief.is_set():
                self._relief = anyio.Event()
            self._wake.set()
            await self._relief.wait()

    def put_nowait(self, record: Record) -> None:
        """See RecordSink."""
        with self._lock:
            self._rows.append(record)

    @property
    def rows_behind(self) -> int:
        """Rows taken and not yet committed."""
        return len(self._rows) + self._writing

    def write_until_closed(self) -> None:
        """The thread's work."""
        while True:
            self._wake.wait(BATCH_PERIOD_S)
            self._wake.clear()
            with self._lock:
                batch, self._rows = self._rows, []
                self._writing = len(batch)
                closing = self._closing
            if batch and self._failure is None:
                try:
                    self._batches.write(batch)
                except StoreError as error:
                    self._failure = (
                        f"{error}; what was committed before is safe, and the same command resumes from it"
                    )
            self._writing = 0
            if self._relief is not None:
                anyio.from_thread.run_sync(self._relief.set)
            if closing:
                return

    def thread_ended(self) -> None:
        """Nothing will be written any more; who waits for that need not."""
        if not self._closing:
            self._failure = f"{self._batches.path}: its writer broke"
        if self._relief is not None:
            self._relief.set()

    async def close(self, thread_done: anyio.Event) -> None:
        with self._lock:
            self._closing = True
        self._wake.set()
        await thread_done.wait()
        if self._failure is not None:
            raise StoreError(self._failure)


class Batches:
    """Writes batches, each in a transaction of its own. An appender is kept for the next batch: making one costs as much as 50 rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._appenders: dict[type[Record], duckdb.Appender] = {}

    def write(self, batch: list[Record]) -> None:
        """All of it, or nothing and a StoreError: then write no more with this one."""
        by_type: dict[type[Record], list[Record]] = {}
        for record in batch:
            by_type.setdefault(type(record), []).append(record)
        with translated(self.path):
            self._connection.begin()
            try:
                for kind, records in by_type.items():
                    self._append(kind, records)
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise

    def _append(self, kind: type[Record], records: list[Record]) -> None:
        if kind not in self._appenders:
            self._appenders[kind] = self._connection.appender(
                schema.TABLES[kind], columns=schema.columns(kind)
            )
        for start in range(0, len(records), CHUNK_ROWS):
            self._appenders[kind].append_rows(
                map(tuple, records[start : start + CHUNK_ROWS])
            )  # of plain tuples it reads faster
            step_aside()
        self._appenders[kind].flush()


def write_batch(connection: duckdb.DuckDBPyConnection, path: Path, batch: list[Record]) -> None:
    """One batch in one transaction."""
    Batches(connection, path).write(batch)


@asynccontextmanager
async def writing(
    connection: duckdb.DuckDBPyConnection, path: Path, *, behind_rows_max: int = 50_000
) -> AsyncIterator[StoreWriter]:
    """A writer with its thread; on leaving, everything taken is committed, also when leaving by an error or cancellation."""
    writer = StoreWriter(connection, path, behind_rows_max=behind_rows_max)
    done = anyio.Event()

    async def thread() -> None:
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(writer.write_until_closed)
        finally:  # should a mistake of ours end the thread, nobody waits for it
            writer.thread_ended()
            done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(thread)
        try:
            yield writer
        finally:
            with anyio.CancelScope(shield=True):
                await writer.close(done)
