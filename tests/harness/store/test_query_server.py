"""Tests of queries to a running sweep: the same values as from the file, no side effects, limits of time and
size."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import anyio.to_thread
import duckdb
import pytest

from harness.core.errors import StoreError
from harness.store import reader
from harness.store.file import open_to_write
from harness.store.query_server import QueryServer, RunningStore, socket_path
from tests.bots import bots_sweep
from tests.command import lightbulb

ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
EVERY_TYPE = (
    "CREATE TABLE every AS SELECT *, 'nan'::DOUBLE AS nan, '-inf'::FLOAT AS inf FROM test_all_types()"
)


@asynccontextmanager
async def no_pause() -> AsyncIterator[None]:
    yield


async def asked(store: Path, use: Callable[[RunningStore], Any]) -> Any:
    """Returns the result of a client in another thread."""
    return await anyio.to_thread.run_sync(use, RunningStore(store, in_use="in use"))


def query(text: str, *parameters: object) -> Callable[[RunningStore], list[Any]]:
    """Returns a user's query."""
    return lambda running: running.execute_limited(text, list(parameters)).fetchall()


@asynccontextmanager
async def served(
    store: Path, *, seconds_max: float = 60.0, bytes_max: int = 64 << 20, give_way_s: float = 5.0
) -> AsyncIterator[duckdb.DuckDBPyConnection]:
    """Yields the connection of a store that answers queries."""
    with open_to_write(store) as connection:
        server = QueryServer(
            connection, store, seconds_max=seconds_max, bytes_max=bytes_max, give_way_s=give_way_s
        )
        async with server.serving(pause=no_pause, notify=print):
            yield connection


def test_rows_over_the_socket_are_those_of_the_file(tmp_path: Path) -> None:
    sweep = bots_sweep(tmp_path)
    assert lightbulb("run", sweep).returncode == 0
    store = sweep.with_suffix(".duckdb")

    async def both() -> None:
        async with served(store) as connection:
            episodes = await asked(store, reader.episode_rows)
            replies = await asked(store, reader.reply_rows)
            assert episodes == reader.episode_rows(connection)
            assert len(episodes.score) == 3 * 18, "two methods and the A/A replicate on eighteen items"
            held = reader.reply_rows(connection)
            columns = ("player", "item", "turn", "ask", "reply", "size", "ending")
            assert in_order(replies, columns) == in_order(held, columns) != []
            assert (replies.players, replies.endings, replies.texts) == (
                held.players,
                held.endings,
                held.texts,
            )

    anyio.run(both)


def in_order(rows: reader.ReplyRows, columns: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Returns the rows sorted: the order of a join's rows is not defined."""
    return sorted(zip(*(getattr(rows, column).tolist() for column in columns), strict=True))


def test_every_type_arrives_as_the_same_value(tmp_path: Path) -> None:
    """Each of DuckDB's types, with NULL and extreme values; also a large result in many lines."""
    with duckdb.connect() as connection:
        connection.execute(EVERY_TYPE)
        expected = connection.execute("FROM every").fetchall()
        types = {row[0]: row[1] for row in connection.execute("DESCRIBE every").fetchall()}

    async def scenario() -> list[Any]:
        async with served(tmp_path / "s.duckdb") as connection:
            connection.execute(EVERY_TYPE)
            rows = await asked(tmp_path / "s.duckdb", query("FROM every"))
            many = await asked(
                tmp_path / "s.duckdb",
                query("SELECT range, 'x' || range FROM range(100_000) WHERE range <> ?", 7),
            )
            assert many == [(number, f"x{number}") for number in range(100_000) if number != 7]
            return rows  # type: ignore[no-any-return]  # from a thread

    assert len(types) > 50
    assert repr(in_utc(anyio.run(scenario))) == repr(in_utc(expected)), "repr: NaN is not equal to itself"


def in_utc(value: Any) -> Any:
    """Returns the value with times of one time zone: the same moment has several representations."""
    if isinstance(value, list | tuple):
        return type(value)(map(in_utc, value))
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


@pytest.mark.parametrize("text", [ENDLESS, "SELECT * FROM range(1_000_000_000_000)"])
def test_a_query_ends_with_its_client_and_with_the_run(tmp_path: Path, text: str) -> None:
    """A client that leaves does not leave its query behind, and a query does not delay the end of the run."""

    async def scenario() -> float:
        async with served(tmp_path / "s.duckdb") as connection:
            for _ in range(6):  # more than there are threads for
                stream = await anyio.connect_unix(socket_path(tmp_path / "s.duckdb"))
                await stream.send(b'{"query": "%s", "parameters": []}\n' % text.encode())
                await anyio.sleep(0.05)
                await stream.aclose()
            assert await asked(tmp_path / "s.duckdb", query("SELECT 42")) == [(42,)]
            staying = await anyio.connect_unix(socket_path(tmp_path / "s.duckdb"))
            await staying.send(b'{"query": "%s", "parameters": []}\n' % text.encode())
            await anyio.sleep(0.2)
            connection.execute("SELECT 1")
            start = perf_counter()
        await staying.aclose()
        return perf_counter() - start

    assert anyio.run(scenario) < 5


def test_a_query_has_limits_of_time_and_size(tmp_path: Path) -> None:
    """Each is stated in the error."""

    async def scenario() -> None:
        async with served(tmp_path / "s.duckdb", seconds_max=0.5, bytes_max=1 << 20):
            with pytest.raises(StoreError, match=r"stopped: it took 0\.5 s"):
                await asked(tmp_path / "s.duckdb", query(ENDLESS))
            with pytest.raises(StoreError, match="longer than 1 MiB; select fewer rows"):
                await asked(tmp_path / "s.duckdb", query("SELECT repeat('x', 1000) FROM range(2000)"))
            assert (
                len(await asked(tmp_path / "s.duckdb", query("SELECT repeat('x', 1000) FROM range(900)")))
                == 900
            )

    anyio.run(scenario)


def test_endless_queries_give_way(tmp_path: Path) -> None:
    """Ten readers stay with endless queries: another query is answered soon, and they learn why they were
    stopped. A query of our own commands is not stopped."""

    async def scenario() -> tuple[float, list[bytes]]:
        store, errors = tmp_path / "s.duckdb", []
        async with served(store, give_way_s=0.3), anyio.create_task_group() as tasks:

            async def stay(own: bool) -> None:
                request = json.dumps({"query": ENDLESS, "parameters": [], "own": own})
                async with await anyio.connect_unix(socket_path(store)) as stream:
                    await stream.send(request.encode() + b"\n")
                    errors.append(await stream.receive())

            for _ in range(10):
                tasks.start_soon(stay, False)
            await anyio.sleep(0.2)
            start = perf_counter()
            assert await asked(store, query("SELECT 42")) == [(42,)]
            waited_s = perf_counter() - start
            for _ in range(3):
                tasks.start_soon(stay, True)
            await anyio.sleep(1.5)
            assert await asked(store, query("SELECT 42")) == [(42,)]
            stopped = list(errors)
            tasks.cancel_scope.cancel()
        return waited_s, stopped

    waited_s, stopped = anyio.run(scenario)
    assert waited_s < 10
    assert 6 <= len(stopped) <= 10, "three of our own commands, and what they leave of four threads"
    assert all(b"stopped: it kept other queries waiting" in error for error in stopped)


def test_our_own_commands_read_whole_stores(tmp_path: Path) -> None:
    """Their results may be larger than a user's."""

    async def scenario() -> None:
        async with served(tmp_path / "s.duckdb", bytes_max=1 << 20):
            rows = await asked(
                tmp_path / "s.duckdb",
                lambda running: running.execute(f"SELECT '{'x' * 1000}' FROM range(2000)").fetchall(),
            )
            assert len(rows) == 2000

    anyio.run(scenario)


def test_a_huge_value_is_refused(tmp_path: Path) -> None:
    """Before the run holds it: one made by a function of a number, by an aggregate, in a list, as bytes."""

    async def scenario() -> None:
        store = tmp_path / "s.duckdb"
        async with served(store):
            for text in (
                "SELECT length(repeat('x', 2000000000))",
                "SELECT REPEAT('x', 1000 * 1000)",
                "SELECT list_resize([1], range) FROM range(3)",
            ):
                with pytest.raises(StoreError, match="must be a number up to 10,000, written in the query"):
                    await asked(store, query(text))
            for value in (
                "string_agg(x, '')",
                "list(x)",
                "{'a': [string_agg(x)]}",
                "string_agg(x, '')::BLOB",
            ):
                with pytest.raises(StoreError, match="a value is longer than 8 MiB; select a part"):
                    await asked(
                        store,
                        query(
                            f"SELECT 1, {value} AS v FROM (SELECT repeat('x', 1000) AS x FROM range(9000));"
                        ),
                    )
            text = "SELECT lpad(range::VARCHAR, 3, '0') AS a, repeat('x', 3), range AS a FROM range(30) ORDER BY range DESC; -- c\n"
            names, rows = await asked(store, lambda running: _names_and_rows(running, text))
            assert names[:2] == ["a", "repeat('x', 3)"]
            assert rows == [(f"{number:03}", "xxx", number) for number in range(29, -1, -1)]

    anyio.run(scenario)


def _names_and_rows(running: RunningStore, text: str) -> tuple[list[str], list[Any]]:
    result = running.execute_limited(text)
    return [column[0] for column in result.description], result.fetchall()


def test_rows_are_fetched_in_pieces(tmp_path: Path) -> None:
    """Each fetch gives the rows that follow, as DuckDB's do."""

    def fetched(running: RunningStore) -> list[list[Any]]:
        result = running.execute_limited("FROM range(5)")
        return [result.fetchmany(2), result.fetchmany(1), result.fetchall(), result.fetchmany(2)]

    async def scenario() -> None:
        store = tmp_path / "s.duckdb"
        async with served(store):
            assert await asked(store, fetched) == [[(0,), (1,)], [(2,)], [(3,), (4,)], []]

    anyio.run(scenario)


def test_an_error_is_an_answer(tmp_path: Path) -> None:
    """Wrong SQL and requests that are no queries get a sentence."""

    async def scenario() -> None:
        async with served(tmp_path / "s.duckdb"):
            with pytest.raises(StoreError, match="nowhere does not exist"):
                await asked(tmp_path / "s.duckdb", query("SELECT * FROM nowhere"))
            deletion = "WITH gone AS (DELETE FROM calls RETURNING *) SELECT * FROM gone"
            with pytest.raises(StoreError, match="read-only"):
                await asked(tmp_path / "s.duckdb", query(deletion))
            with pytest.raises(StoreError, match="syntax error"):
                await asked(tmp_path / "s.duckdb", query("SELECT FROM WHERE"))
            for text in (b"junk\n", b"{}\n", b'{"query": 1, "parameters": []}\n', b"[" * 1000 + b"\n"):
                async with await anyio.connect_unix(socket_path(tmp_path / "s.duckdb")) as stream:
                    await stream.send(text)
                    assert b"this is not a query" in await stream.receive()

    anyio.run(scenario)


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run says that it answers no queries, and a client does not trust a socket there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    store = tmp_path / "s.duckdb"
    folder = tmp_path / f"lightbulb-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    lines: list[str] = []

    async def scenario() -> None:
        with open_to_write(store) as connection:
            async with QueryServer(connection, store).serving(pause=no_pause, notify=lines.append):
                assert not socket_path(store).exists()
                with pytest.raises(StoreError, match="other users cannot enter"):
                    await asked(store, query("SELECT 1"))

    anyio.run(scenario)
    assert len(lines) == 1
    assert "other commands cannot read the store during this run" in lines[0]


def test_the_run_can_stop_all_queries(tmp_path: Path) -> None:
    """As it does when it needs their memory."""

    async def scenario() -> None:
        with open_to_write(tmp_path / "s.duckdb") as connection:
            server = QueryServer(connection, tmp_path / "s.duckdb")

            async def ask() -> None:
                with pytest.raises(StoreError, match="or the run needs the memory"):
                    await asked(tmp_path / "s.duckdb", query(ENDLESS))

            async with server.serving(pause=no_pause, notify=print), anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await anyio.sleep(0.3)
                server.interrupt_all()

    anyio.run(scenario)
