"""The store: rows in by one thread, rows out, and what happens when the disk will not have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import duckdb
import pytest

from harness.core.errors import StoreError
from harness.core.records import CallRecord, EpisodeRecord, TurnRecord
from harness.store import schema
from harness.store.file import open_to_read, open_to_write
from harness.store.resuming import Which, stored_cells, unfinished_turns
from harness.store.writer import BATCH_PERIOD_S, write_batch, writing
from tests.disk import small_disk

CALL = CallRecord(
    episode_id="e",
    attempt=0,
    turn=0,
    try_number=0,
    run_id="1",
    method="m/a",
    ask_hash="h0",
    reply="hello",
    finish_reason=None,
    prompt_tokens=None,
    completion_tokens=1,
    served_model=None,
    request_id=None,
    http_status=200,
    error_class=None,
    error_text=None,
    queue_s=0.0,
    latency_s=0.5,
    sent_at=1.0,
)
TURN = TurnRecord(
    episode_id="e",
    attempt=0,
    turn=0,
    seat="s",
    method="m/a",
    ask_hash="h0",
    history_kept=0,
    added_json="[]",
    violation=None,
)
EPISODE = EpisodeRecord(
    episode_id="e",
    attempt=0,
    run_id="1",
    key="k",
    game="g",
    rules="r",
    instance_set="s",
    experiment="x",
    instance="1",
    content_hash="c",
    method="m/a",
    model="m",
    seating="m/a",
    arm="main",
    batch=0,
    repeat=0,
    status="finished",
    outcome="success",
    score=100.0,
    reason="won",
    requests=1,
    parsed=1,
    violated=0,
    metrics_json="{}",
    turns=1,
    started_at=0.0,
    finished_at=1.0,
)


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Every field of every kind, None and unusual text included; what was put before leaving is all there."""
    odd = CALL._replace(turn=1, reply="ünï\ncode 🎲 \x00 'quoted'", error_text="x" * 100_000)

    async def scenario() -> None:
        with open_to_write(tmp_path / "s.duckdb") as connection:
            async with writing(connection, tmp_path / "s.duckdb") as writer:
                await writer.put(CALL, TURN)
                await writer.put(odd)
                writer.put_nowait(EPISODE)

    anyio.run(scenario)
    with open_to_read(tmp_path / "s.duckdb") as connection:
        calls = connection.execute("FROM calls ORDER BY turn").fetchall()
        assert [CallRecord(**dict(zip(schema.columns(CallRecord), row, strict=True))) for row in calls] == [
            CALL,
            odd,
        ]
        assert connection.execute("SELECT score FROM scores").fetchall() == [(100.0,)]
        assert connection.execute("SELECT reply, seat FROM transcripts").fetchall() == [("hello", "s")]


def test_rows_that_are_behind_no_more_are_on_disk(tmp_path: Path) -> None:
    """Another process that takes over the file after a kill finds what the writer, left alone, had committed;
    it takes up what waits twice in the second for which rows may be lost."""
    assert 2 * BATCH_PERIOD_S <= 1.0
    store = tmp_path / "s.duckdb"
    script = f"""
import anyio, os
from pathlib import Path
from harness.store.file import open_to_write
from harness.store.writer import writing
from tests.harness.store.test_store import CALL
async def scenario():
    with open_to_write(Path({str(store)!r})) as connection:
        async with writing(connection, Path({str(store)!r})) as writer:
            await writer.put(CALL)
            with anyio.fail_after(60):
                while writer.rows_behind:
                    await anyio.sleep(0.1)
            os.kill(os.getpid(), 9)
anyio.run(scenario)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], timeout=120)
    assert ended.returncode == -9
    with open_to_write(store) as connection:
        assert connection.execute("SELECT reply FROM calls").fetchall() == [("hello",)]


def test_back_pressure_bounds_what_is_under_way(tmp_path: Path) -> None:
    """A producer faster than the disk waits instead of filling memory."""

    async def scenario() -> int:
        most = 0
        with open_to_write(tmp_path / "s.duckdb") as connection:
            async with writing(connection, tmp_path / "s.duckdb", behind_rows_max=500) as writer:
                for number in range(5_000):
                    await writer.put(CALL._replace(turn=number))
                    most = max(most, writer.rows_behind)
        return most

    assert anyio.run(scenario) <= 501
    with open_to_read(tmp_path / "s.duckdb") as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchall() == [(5_000,)]


def test_unfinished_plays_are_read_for_resuming(tmp_path: Path) -> None:
    """Of an episode without its row: the successful calls of the last attempt in order, up to the first gap,
    and whose turn row is there; ended episodes are left out."""
    store = tmp_path / "s.duckdb"

    async def scenario() -> None:
        with open_to_write(store) as connection:
            async with writing(connection, store) as writer:
                await writer.put(CALL, TURN, EPISODE)
                other = CALL._replace(episode_id="f")
                await writer.put(other, TURN._replace(episode_id="f"))
                await writer.put(other._replace(turn=1, reply=None, error_class="Unavailable"))
                await writer.put(other._replace(turn=1, try_number=1, reply="two", ask_hash="h1"))
                await writer.put(other._replace(turn=3, reply="after a gap"))
                await writer.put(other._replace(episode_id="g", attempt=1, reply="second play"))
                await writer.put(other._replace(episode_id="g", attempt=0, reply="first play"))

    anyio.run(scenario)
    with open_to_read(store) as connection:
        turns = unfinished_turns(connection)
    assert sorted(turns) == ["f", "g"]
    assert [(turn.reply, turn.ask_hash, turn.has_row) for turn in turns["f"]] == [
        ("hello", "h0", True),
        ("two", "h1", False),
    ]
    assert [(turn.attempt, turn.reply) for turn in turns["g"]] == [(1, "second play")]


def test_what_a_plan_need_not_play_is_found_by_the_parts_of_its_keys(tmp_path: Path) -> None:
    """Finished and failed episodes of the plan's items, seatings and repeats, each once; not other rules or
    contents, repeats beyond the plan, abandoned plays; two who played together under their joint name; and a
    failure no more once it was played again."""
    one = EPISODE._replace(seating="m/a+m/a")
    other = one._replace(instance="2", content_hash="d", method="m/b", seating="m/b", arm="again")
    kept = [
        one,
        one._replace(episode_id="e1", batch=2, repeat=2, status="failed", outcome=None, score=None),
        one._replace(episode_id="e1", batch=2, repeat=2, attempt=1),
        other._replace(episode_id="e2", batch=1, repeat=1, status="failed", outcome=None, score=None),
        one._replace(episode_id="e3", method="m/a+m/b", seating="m/a+m/b"),
    ]
    beside = [
        one._replace(episode_id="b1", rules="other"),
        one._replace(episode_id="b2", content_hash="changed"),
        one._replace(episode_id="b3", batch=3, repeat=3),
        one._replace(episode_id="b4", batch=0, repeat=1),
        one._replace(episode_id="b5", batch=1, repeat=1, status="abandoned", outcome=None, score=None),
    ]
    items = [("g", "r", "s", "x", "2", "d"), ("g", "r", "s", "x", "1", "c")]
    with open_to_write(tmp_path / "s.duckdb") as connection:
        write_batch(connection, tmp_path / "s.duckdb", [*kept, *beside])

        def found(which: Which) -> dict[tuple[str, str], set[int]]:
            cells = stored_cells(connection, which, items=items, seats=[1, 2], repeats=3)
            return {
                (one.method, one.arm): {place for place, bit in enumerate(one.held) if bit == "1"}
                for one in cells
            }

        assert found("ended") == {("m/a", "main"): {3, 5}, ("m/b", "again"): {1}, ("m/a+m/b", "main"): {3}}
        assert found("finished") == {("m/a", "main"): {3, 5}, ("m/a+m/b", "main"): {3}}
        assert found("failed") == {("m/b", "again"): {1}}


def test_a_full_disk_stops_the_run_and_keeps_what_was_committed(tmp_path: Path) -> None:
    """The writer breaks with a message that says what to do; after space is made the file opens and holds the
    earlier rows."""
    store = tmp_path / "disk" / "s.duckdb"

    async def scenario() -> None:
        with open_to_write(store) as connection:
            async with writing(connection, store) as writer:
                for number in range(100_000):
                    await writer.put(CALL._replace(turn=number, reply=os.urandom(2_000).hex()))
                    if number < 3:
                        await anyio.sleep(1)  # so that some are on disk

    with small_disk(store.parent, megabytes=4) as grow:
        with pytest.raises(BaseExceptionGroup) as caught:
            anyio.run(scenario)
        assert caught.group_contains(StoreError, match="same command resumes")
        grow(64)
        with open_to_write(store) as connection:
            ((count, last),) = connection.execute("SELECT count(*), max(turn) FROM calls").fetchall()
            assert 0 < count == last + 1


def test_tables_follow_the_records() -> None:
    """One class, one table; one field, one column, NULL where the field may be None."""
    connection = duckdb.connect()
    for statement in schema.statements():
        connection.execute(statement)
    for record, table in schema.TABLES.items():
        found = connection.execute(
            f"SELECT column_name FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index"
        )
        assert [row[0] for row in found.fetchall()] == schema.columns(record)
