"""Answers queries while a run holds the store's file, which DuckDB locks for one process.

Knows SQL and JSON lines; nothing of the queries' purpose. The run listens on a Unix socket in a folder that
only its user may enter; the socket's name is made from the store's path. A client sends one line: {"query",
"parameters"}, {"backup": true} or {"ask"}, a request that the run offers to answer; the queries of our own
commands have "own": true. The answer to a query is a line with its columns' names, then lines of rows
(row_encoding.py), then {"end": true} or {"error"}.

Keeps: a query cannot write, read files, or change settings (query_rules.py, file.py); it ends with its
client, with the run, after SECONDS_MAX, at BYTES_MAX, and when it keeps others from a thread
(reader_places.py); READERS_MAX queries are computed at once. Our own commands read all rows of a store: their
queries have no limit of bytes, and SECONDS_MAX for each line of rows. The size of one value is limited
(value_size.py), the memory in which DuckDB computes it is not; if the writer runs out of memory, it stops all
queries."""

from __future__ import annotations

import os
import socket
import stat
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from io import BufferedRWPair
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread
import duckdb
import orjson
from anyio.abc import SocketAttribute, SocketStream

from harness.core.errors import StoreError
from harness.core.vocabulary import digest
from harness.store.query_rules import QueryRules
from harness.store.reader_places import GIVE_WAY_S, ReaderPlaces
from harness.store.row_encoding import decode_columns, encode_rows
from harness.store.value_size import bounded

REQUEST_BYTES_MAX = 1 << 20
SECONDS_MAX = 60.0
BYTES_MAX = 64 << 20
FIRST_ROWS = 8  # their size is not known yet
ROWS_MAX = 20_000
READERS_MAX = 4  # threads; DuckDB spreads each query over all cores
LINE_BYTES = 1 << 20  # aim for one line of rows: small beside BYTES_MAX, large beside the cost of a line
INTERRUPT_PERIOD_S = 0.05  # an interrupt that comes before DuckDB begins with the query is lost

_CLIENT_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Readable(Protocol):
    """The part of a DuckDB connection that readers use."""

    def execute(self, query: str, parameters: Any = ..., /) -> Readable: ...
    def fetchall(self) -> list[Any]: ...
    def fetchmany(self, size: int = ..., /) -> list[Any]: ...
    def fetchnumpy(self) -> dict[str, Any]: ...
    @property
    def description(self) -> Any: ...


def socket_path(store: Path) -> Path:
    """Returns the socket of a run over this store."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"lightbulb-{os.getuid()}"
    return folder / f"{digest(str(store.resolve()), bytes_of_digest=8)}.sock"


def refuse_foreign_folder(folder: Path) -> None:
    """Returns if the folder belongs to this user alone.

    raises  StoreError: another user could put a socket there and give answers of his own"""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreError(
            f"{folder}: must be a folder of your own that other users cannot enter (mode 0700); remove it, or"
            " set XDG_RUNTIME_DIR to another folder"
        )


@dataclass(eq=False, slots=True)
class _Query:
    """One query. own: of one of our commands; reader: the process that asks; why: the reason of a stop.

    time    ends when the query is to be stopped"""

    text: str
    parameters: list[Any]
    own: bool
    reader: int
    why: str
    time: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def give_way(self) -> None:
        """Stops the query, because others wait."""
        self.why = "it kept other queries waiting"
        self.time.cancel()


class QueryServer:
    """The queries of readers over one run's connection. See the constants for the limits."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: Path,
        *,
        seconds_max: float = SECONDS_MAX,
        bytes_max: int = BYTES_MAX,
        give_way_s: float = GIVE_WAY_S,
    ) -> None:
        self._connection = connection
        self._store = store
        self._seconds_max = seconds_max
        self._bytes_max = bytes_max
        self._places = ReaderPlaces(READERS_MAX, give_way_s=give_way_s)
        self._open: set[duckdb.DuckDBPyConnection] = set()
        self._offers: dict[str, Callable[[], object]] = {}

    def offer(self, name: str, answer: Callable[[], object]) -> None:
        """Answers requests of this name too: with the function's result, which must be plain data."""
        self._offers[name] = answer

    def interrupt_all(self) -> None:
        """Ends all running queries; may be called from any thread."""
        for cursor in list(self._open):
            cursor.interrupt()

    @asynccontextmanager
    async def serving(
        self,
        *,
        pause: Callable[[], AbstractAsyncContextManager[None]],
        notify: Callable[[str], None],
    ) -> AsyncIterator[None]:
        """Answers queries as long as the block lasts; without a safe folder it says so and answers none.

        pause   a context in which nobody writes to the file, for backups
        notify  receives one line"""
        path = socket_path(self._store)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            refuse_foreign_folder(path.parent)
        except StoreError as error:
            notify(f"other commands cannot read the store during this run: {error}")
            yield
            return
        path.unlink(missing_ok=True)  # of a killed run: this run holds the file's lock
        listener = await anyio.create_unix_listener(path, mode=0o600)

        async def answer(stream: SocketStream) -> None:
            async with stream:
                try:
                    await self._answer(stream, pause)
                except* _CLIENT_GONE:
                    pass

        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, answer)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                path.unlink(missing_ok=True)

    async def _answer(
        self, stream: SocketStream, pause: Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        """Answers one request. The client of one that fails sees an error, or an answer without its end."""
        request = None
        with anyio.move_on_after(self._seconds_max):
            request = await _request(stream)
        match request:
            case {"query": str(text), "parameters": list(parameters)}:
                why = f"it took {self._seconds_max:g} s, or the run needs the memory"
                own = isinstance(request, dict) and request.get("own") is True
                await self._answer_query(stream, _Query(text, parameters, own, _process(stream), why))
            case {"backup": True}:
                with anyio.move_on_after(self._seconds_max):
                    async with pause():
                        await _send(stream, {"paused": True})
                        await stream.receive()  # comes when the client has copied the file
                    await _send(stream, {"end": True})
            case {"ask": str(name)} if name in self._offers:
                await _send(stream, {"answer": self._offers[name]()})
            case {"ask": str()}:
                await _send(stream, {"answer": None})
            case _:
                await _send(stream, {"error": "this is not a query"})

    async def _answer_query(self, stream: SocketStream, query: _Query) -> None:
        """Executes a query; it ends when its client goes, when time is up, or when the run ends."""
        ended = anyio.Event()

        async def interrupt_at_the_end(cursor: duckdb.DuckDBPyConnection) -> None:
            try:
                with query.time, suppress(*_CLIENT_GONE):
                    await stream.receive()
            finally:
                with anyio.CancelScope(shield=True):  # a thread cannot be cancelled: it has to end first
                    while not ended.is_set():
                        cursor.interrupt()
                        with anyio.move_on_after(INTERRUPT_PERIOD_S):
                            await ended.wait()

        with self._cursor() as cursor:
            query.time.deadline = anyio.current_time() + self._seconds_max
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(interrupt_at_the_end, cursor)
                try:
                    await self._send_rows(stream, cursor, query)
                finally:
                    ended.set()
                    tasks.cancel_scope.cancel()

    async def _send_rows(
        self, stream: SocketStream, cursor: duckdb.DuckDBPyConnection, query: _Query
    ) -> None:
        """Sends the rows while DuckDB computes them; only one line of them is in memory."""
        lines, sent = self._lines(cursor, query), 0
        stop = None if query.own else query.give_way

        async def next_line() -> bytes:
            async with self._places.held(query.reader, stop):
                return await anyio.to_thread.run_sync(next, lines, b"")

        try:
            while line := await next_line():
                sent += len(line)
                if query.own:
                    query.time.deadline = anyio.current_time() + self._seconds_max
                elif sent > self._bytes_max:
                    raise StoreError(
                        f"the result is longer than {self._bytes_max >> 20} MiB; select fewer rows or columns"
                    )
                await stream.send(line)
            await _send(stream, {"end": True})
        except duckdb.InterruptException:
            await _send(stream, {"error": f"stopped: {query.why}"})
        except (duckdb.Error, StoreError) as error:
            await _send(stream, {"error": str(error).splitlines()[0]})

    def _lines(self, cursor: duckdb.DuckDBPyConnection, query: _Query) -> Iterator[bytes]:
        """Yields the answer's lines; each step computes rows in the caller's thread.

        The transaction is read-only because a SELECT may contain a DELETE in its WITH clause."""
        self._rules.check(cursor, query.text, counted=not query.own)
        text = query.text if query.own else bounded(cursor, query.text, query.parameters)
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        result = cursor.execute(text, query.parameters)
        names = [column[0] for column in result.description or []]
        types = [str(column[1]) for column in result.description or []]
        yield orjson.dumps({"names": names}) + b"\n"
        count = FIRST_ROWS
        while rows := result.fetchmany(count):
            line = encode_rows(rows, types)
            yield line
            count = max(1, min(10 * count, count * LINE_BYTES // len(line), ROWS_MAX))

    @cached_property
    def _rules(self) -> QueryRules:
        with self._connection.cursor() as cursor:
            return QueryRules(cursor)

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yields a connection of its own for one query: the writer's connection has the writer's
        transaction."""
        with self._connection.cursor() as cursor:
            self._open.add(cursor)
            try:
                yield cursor
            finally:
                self._open.discard(cursor)


async def _request(stream: SocketStream) -> Any:
    received = b""
    while not received.endswith(b"\n") and len(received) <= REQUEST_BYTES_MAX:
        received += await stream.receive()
    try:
        return orjson.loads(received)
    except orjson.JSONDecodeError:
        return None


def _process(stream: SocketStream) -> int:
    """Returns the number of the client's process; a number of its own where the system does not tell it."""
    if not hasattr(socket, "SO_PEERCRED"):  # Linux has it
        return -id(stream)
    raw = stream.extra(SocketAttribute.raw_socket)
    credentials = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process: int = struct.unpack("3i", credentials)[0]
    return process


async def _send(stream: SocketStream, line: dict[str, Any]) -> None:
    await stream.send(orjson.dumps(line) + b"\n")


class RunningStore:
    """A connection to the run that holds a store's file, in place of a read-only connection to the file.

    in_use   the sentence that names the process that holds the file"""

    def __init__(self, store: Path, *, in_use: str) -> None:
        self._store = store
        self._in_use = in_use
        self._names: list[str] = []
        self._columns: list[list[Any]] = []
        self._rows: Iterator[Any] = iter(())

    def execute(self, query: str, parameters: Sequence[object] = (), /) -> RunningStore:
        """Executes a query of one of our commands and reads its whole result, however large.

        raises  StoreError if the run does not answer, or refuses the query"""
        return self._read({"query": query, "parameters": list(parameters), "own": True})

    def execute_limited(self, query: str, parameters: Sequence[object] = (), /) -> RunningStore:
        """Executes a user's query and reads its result.

        raises  StoreError as `execute`, and if the query takes too long or its result is too large"""
        return self._read({"query": query, "parameters": list(parameters)})

    def _read(self, request: dict[str, Any]) -> RunningStore:
        with self._asking(request) as answer:
            self._names = self._next(answer)["names"]
            self._columns = [[] for _ in self._names]
            while "end" not in (line := self._next(answer)):
                for column, more in zip(self._columns, decode_columns(line), strict=True):
                    column += more
        self._rows = zip(*self._columns, strict=True)
        return self

    def fetchall(self) -> list[Any]:
        """Returns the rows that were not fetched yet."""
        return list(self._rows)

    def fetchmany(self, size: int = 1, /) -> list[Any]:
        """Returns the next rows, at most so many."""
        return list(islice(self._rows, size))

    def fetchnumpy(self) -> dict[str, Any]:
        """Returns the columns by name, as DuckDB does: whole numbers as int64, others as objects."""
        return dict(zip(self._names, map(_array, self._columns), strict=True))

    @property
    def description(self) -> list[tuple[str]]:
        return [(name,) for name in self._names]

    def ask(self, name: str) -> Any:
        """Returns the run's answer to a request that is no query; None if the run knows no such request.

        raises  StoreError if the run does not answer"""
        with self._asking({"ask": name}) as answer:
            return self._next(answer)["answer"]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Makes the run write nothing to the file within the block.

        raises  StoreError if the run wrote before the block ended"""
        with self._asking({"backup": True}) as answer:
            self._next(answer)
            yield
            answer.write(b"\n")
            answer.flush()
            self._next(answer)

    @contextmanager
    def _asking(self, request: dict[str, Any]) -> Iterator[BufferedRWPair]:
        path = socket_path(self._store)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
            connected.settimeout(2 * SECONDS_MAX)  # for a run that is stopped by a signal
            try:
                refuse_foreign_folder(path.parent)
                connected.connect(str(path))
                connected.sendall(orjson.dumps(request) + b"\n")
                with connected.makefile("rwb") as answer:
                    yield answer
            except OSError as error:
                raise StoreError(f"{self._in_use}. It does not answer queries ({error})") from error

    def _next(self, answer: BufferedRWPair) -> dict[str, Any]:
        """Returns the next line of an answer.

        raises  StoreError if it reports an error, or if there is no line although the answer has no end
                yet"""
        text = answer.readline()
        if not text.endswith(b"\n"):
            raise StoreError(
                f"{self._store}: the run ended, or took too long, before its answer was complete; try again"
            )
        line: dict[str, Any] = orjson.loads(text)
        if "error" in line:
            raise StoreError(f"{self._store}: {line['error']}")
        return line


def _array(values: Sequence[Any]) -> Any:
    import numpy as np

    whole = all(type(value) is int for value in values)
    return np.array(values, dtype=np.int64 if whole else object)
