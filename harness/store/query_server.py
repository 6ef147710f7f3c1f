"""Questions to a running sweep. DuckDB locks its file to one process; so the run itself answers, over a Unix socket, read only.

Knows SQL and JSON lines; nothing of what is asked. The socket lies in a folder that only its user may enter, under a name made from the
store's path, so that whoever names the store finds it. One question a connection: {"query", "parameters"}, answered by
{"columns", "rows"} or {"error"}."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread
import duckdb
import orjson
from anyio.abc import SocketStream

from harness.core.errors import StoreError
from harness.core.vocabulary import digest

QUESTION_BYTES_MAX = 1 << 20


class Readable(Protocol):
    """As much of a DuckDB connection as readers use."""

    def execute(self, query: str, parameters: Any = ..., /) -> Readable: ...
    def fetchall(self) -> list[Any]: ...
    def fetchnumpy(self) -> dict[str, Any]: ...
    @property
    def description(self) -> Any: ...


def socket_path(store: Path) -> Path:
    """Where a run over this store answers."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"lightbulb-{os.getuid()}"
    return folder / f"{digest(str(store.resolve()), bytes_of_digest=8)}.sock"


@asynccontextmanager
async def serve_queries(connection: duckdb.DuckDBPyConnection, store: Path) -> AsyncIterator[None]:
    """Answers questions about the store as long as the block lasts."""
    path = socket_path(store)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of a run that was killed: this one holds the file's lock
    listener = await anyio.create_unix_listener(path, mode=0o600)

    async def answer(stream: SocketStream) -> None:
        async with stream:
            try:
                question = await _line(stream)
                reply = await anyio.to_thread.run_sync(_answer, connection, question)
                await stream.send(reply)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                return  # whoever asked has gone

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()
            path.unlink(missing_ok=True)


async def _line(stream: SocketStream) -> bytes:
    received = b""
    while not received.endswith(b"\n") and len(received) <= QUESTION_BYTES_MAX:
        received += await stream.receive()
    return received


def _answer(connection: duckdb.DuckDBPyConnection, line: bytes) -> bytes:
    """The answer to one question, on a cursor of its own: the writer's connection is the writer's.

    One SELECT, for other statements write files; in a read-only transaction, for a SELECT may hold a DELETE in its WITH."""
    try:
        question = orjson.loads(line)
        with connection.cursor() as cursor:
            kinds = [statement.type for statement in cursor.extract_statements(question["query"])]
            if kinds != [duckdb.StatementType.SELECT]:
                return orjson.dumps(
                    {
                        "error": "a running sweep answers one SELECT at a time, and nothing that writes (it is read-only)"
                    }
                )
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            answered = cursor.execute(question["query"], question["parameters"])
            columns = [column[0] for column in answered.description or []]
            return orjson.dumps({"columns": columns, "rows": answered.fetchall()}, default=str)
    except duckdb.Error as error:
        return orjson.dumps({"error": str(error).splitlines()[0]})
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return orjson.dumps({"error": "that is no question"})


class RunningStore:
    """Stands in for a read-only connection while a run holds the file."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._rows: list[Any] = []
        self._columns: list[str] = []

    def execute(self, query: str, parameters: Sequence[object] = (), /) -> RunningStore:
        """raises  StoreError: nobody answers, or the question was refused"""
        said = orjson.loads(self._ask(orjson.dumps({"query": query, "parameters": list(parameters)}) + b"\n"))
        if "error" in said:
            raise StoreError(f"{self._store}: {said['error']}")
        self._columns = said["columns"]
        self._rows = [tuple(row) for row in said["rows"]]
        return self

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchnumpy(self) -> dict[str, Any]:
        """The columns by name, as DuckDB gives them: whole numbers as int64, all else as objects."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._columns)
        return {name: _column(column) for name, column in zip(self._columns, columns, strict=True)}

    @property
    def description(self) -> list[tuple[str]]:
        return [(column,) for column in self._columns]

    def _ask(self, question: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            try:
                asking.connect(str(socket_path(self._store)))
                asking.sendall(question)
                pieces = []
                while piece := asking.recv(1 << 16):
                    pieces.append(piece)
            except OSError as error:
                raise StoreError(
                    f"{self._store}: is in use by a process that answers no questions ({error.strerror})"
                ) from error
        return b"".join(pieces)


def _column(values: Sequence[Any]) -> Any:
    import numpy as np

    whole = all(type(value) is int for value in values)
    return np.array(values, dtype=np.int64 if whole else object)
