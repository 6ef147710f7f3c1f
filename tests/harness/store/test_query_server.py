"""A running sweep answers with the very rows that its file holds."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import duckdb

from harness.store import reader
from harness.store.query_server import RunningStore, serve_queries
from tests.bots import bots_sweep
from tests.command import lightbulb


def test_rows_over_the_socket_are_those_of_the_file(tmp_path: Path) -> None:
    sweep = bots_sweep(tmp_path)
    assert lightbulb("run", sweep).returncode == 0
    store = sweep.with_suffix(".duckdb")

    async def both() -> None:
        with duckdb.connect(str(store)) as connection:
            async with serve_queries(connection, store):
                running = RunningStore(store)
                told = await anyio.to_thread.run_sync(reader.episode_rows, running)
                replies = await anyio.to_thread.run_sync(reader.reply_rows, running)
            assert told == reader.episode_rows(connection)
            assert len(told.score) == 3 * 18, "two methods, and the reference once again, on eighteen items"
            held = reader.reply_rows(connection)
            columns = ("player", "item", "turn", "ask", "reply", "size", "ending")
            assert tabled(replies, columns) == tabled(held, columns) != []
            assert (replies.players, replies.endings, replies.texts) == (
                held.players,
                held.endings,
                held.texts,
            )

    anyio.run(both)


def tabled(rows: reader.ReplyRows, columns: tuple[str, ...]) -> list[tuple[int, ...]]:
    """In one order: a join's is nobody's promise."""
    return sorted(zip(*(getattr(rows, column).tolist() for column in columns), strict=True))
