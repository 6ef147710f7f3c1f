"""Tests of the store: rows are written and read back; faults of the disk, the file and the memory are
reported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import duckdb
import pytest

from harness.core.errors import StoreError, StoreInUse
from harness.core.records import CallRecord, EpisodeRecord, Record, TurnRecord
from harness.store import schema
from harness.store.file import WRITE_MEMORY_BYTES, open_to_read, open_to_write
from harness.store.plan_queries import plays
from harness.store.reader import game_lengths
from harness.store.report_queries import method_tallies
from harness.store.resuming import Which, spent_by_method, stored_cells, unfinished_turns
from harness.store.writer import BATCH_PERIOD_S, Batches, write_batch, writing
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


def test_two_readers_of_one_process_share_a_file(tmp_path: Path) -> None:
    """Both answer at the same time, as threads of the live page need, and neither can change a setting."""
    store = tmp_path / "s.duckdb"
    with open_to_write(store):
        pass
    with open_to_read(store) as one, open_to_read(store) as other:
        for connection in (one, other):
            assert connection.execute("SELECT count(*) FROM calls").fetchall() == [(0,)]
            with pytest.raises(duckdb.Error, match="locked"):
                connection.execute("SET threads = 1")


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Every field keeps its value, None and unusual text included; everything that was put is stored."""
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


def test_committed_rows_survive_a_kill(tmp_path: Path) -> None:
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


def test_back_pressure_bounds_the_rows_in_memory(tmp_path: Path) -> None:
    """A producer that is faster than the disk waits, so that memory stays bounded."""

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


@pytest.mark.parametrize(
    "row",
    [
        TURN._replace(added_json="x" * 10_000),
        CALL._replace(reply="x" * 10_000),
        CALL._replace(reasoning="x" * 10_000),
    ],
    ids=["ask", "reply", "thoughts"],
)
def test_back_pressure_bounds_the_text_in_memory(tmp_path: Path, row: CallRecord | TurnRecord) -> None:
    """A few rows with long texts make a producer wait, too."""

    async def scenario() -> int:
        most = 0
        with open_to_write(tmp_path / "s.duckdb") as connection:
            async with writing(connection, tmp_path / "s.duckdb", behind_text_max=50_000) as writer:
                for number in range(30):
                    await writer.put(row._replace(turn=number))
                    most = max(most, writer.rows_behind)
        return most

    assert anyio.run(scenario) <= 5


def test_rows_that_cannot_wait_count_for_those_that_can(tmp_path: Path) -> None:
    """After a long row that was taken without a wait, the next `put` returns only once both are written."""

    async def scenario() -> int:
        with open_to_write(tmp_path / "s.duckdb") as connection:
            async with writing(connection, tmp_path / "s.duckdb", behind_text_max=1_000) as writer:
                writer.put_nowait(CALL._replace(turn=1, reply="x" * 1_001))
                await writer.put(CALL)
                return writer.rows_behind

    assert anyio.run(scenario) == 0


def test_a_run_bounds_the_memory_of_its_database(tmp_path: Path) -> None:
    """DuckDB would keep written pages up to 80 % of the machine's memory; nobody can raise the limit."""
    limit = "SELECT parse_formatted_bytes(current_setting('memory_limit'))"
    with open_to_write(tmp_path / "s.duckdb") as connection:
        ((allowed,),) = connection.execute(limit).fetchall()
        assert allowed <= WRITE_MEMORY_BYTES
        with pytest.raises(duckdb.Error, match="locked"):
            connection.execute("SET memory_limit = '64GB'")
    with duckdb.connect() as other:
        ((machines,),) = other.execute(limit).fetchall()
    assert allowed == pytest.approx(min(machines, WRITE_MEMORY_BYTES), rel=0.01)


def test_unfinished_plays_are_read_for_resuming(tmp_path: Path) -> None:
    """An episode without its row gives the successful calls of its last attempt in order, up to the first
    gap, and whose turn row is there; ended episodes are left out."""
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


def test_the_disks_own_error_is_reported(tmp_path: Path) -> None:
    """A full disk is named as such, whichever of DuckDB's later steps fail too."""
    store = tmp_path / "disk" / "s.duckdb"

    def fill() -> None:
        with open_to_write(store) as connection:
            for number in range(1_000):
                batch = [CALL._replace(turn=turn, reply=os.urandom(2_000).hex()) for turn in range(20)]
                write_batch(connection, store, [call._replace(episode_id=str(number)) for call in batch])

    with small_disk(store.parent, megabytes=2), pytest.raises(StoreError, match="No space left on device"):
        fill()


def test_a_batch_is_tried_again_when_there_is_memory(tmp_path: Path) -> None:
    """If DuckDB has no memory for a batch, other users of it are stopped; then each row is written once."""
    with open_to_write(tmp_path / "s.duckdb"):
        pass
    calls = []
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("SET temp_directory = ''")
        connection.execute("SET memory_limit = '8MB'")

        def free_memory() -> None:
            calls.append("freed")
            connection.execute("SET memory_limit = '1GB'")

        batches = Batches(connection, tmp_path / "s.duckdb", free_memory=free_memory)
        batches.write([CALL._replace(turn=turn, reply=os.urandom(5_000).hex()) for turn in range(2_000)])
        assert calls == ["freed"]
        counts = connection.execute("SELECT count(*), count(DISTINCT turn) FROM calls").fetchall()
        assert counts == [(2_000, 2_000)]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_stops_when_its_store_is_deleted(tmp_path: Path, replaced: bool) -> None:
    """Within a second or two, with a sentence, also if another file takes its place."""
    store = tmp_path / "s.duckdb"

    async def scenario() -> None:
        with open_to_write(store) as connection:
            async with writing(connection, store) as writer:
                await writer.put(CALL)
                store.unlink()
                if replaced:
                    store.write_bytes(b"")
                await anyio.sleep(60)

    with pytest.raises(BaseExceptionGroup) as caught:
        anyio.run(scenario)
    assert caught.group_contains(StoreError, match="was deleted or replaced while this run wrote to it")


def test_a_copy_without_the_log_is_a_store(tmp_path: Path) -> None:
    """Rows reach the file itself while a run goes on: early, then once a minute."""
    store, clock = tmp_path / "s.duckdb", iter([0.0, 0.0, 5.0, 5.0, 64.0, 65.0, 65.0])

    def copied() -> int:
        subprocess.run(["cp", store, tmp_path / "copy.duckdb"], check=True)
        with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as copy:
            return len(copy.execute("FROM calls").fetchall())

    with open_to_write(store) as connection:
        connection.execute("CHECKPOINT")
        batches = Batches(connection, store, now=lambda: next(clock))
        for rows in (0, 2, 2, 4):
            batches.write([CALL])
            batches.checkpoint()
            assert copied() == rows


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[: len(data) // 2], "the file is damaged: .*Use a backup"),
    "flipped": (lambda data: data[:4096] + bytes(8192) + data[12288:], "the file is damaged: .*Use a backup"),
    "short": (lambda data: data[:12288], "the file is damaged: "),
    "no header": (lambda data: bytes(4096) + data[4096:], "is not a DuckDB file; name another"),
    "text": (lambda data: b"hello" * 1000, "is not a DuckDB file; name another"),
    "sqlite": (lambda data: b"SQLite format 3\0" + bytes(8176), "is not a DuckDB file; name another"),
}


@pytest.mark.parametrize("use", [open_to_read, open_to_write])
def test_a_folder_is_no_store(tmp_path: Path, use: Callable[[Path], Any]) -> None:
    """The message says so; it does not ask for free space on the disk."""
    with pytest.raises(StoreError, match=r"is a folder, not a store; name a DuckDB file$"), use(tmp_path):
        pass


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("use", [open_to_read, open_to_write])
def test_a_damaged_store_gets_a_sentence(tmp_path: Path, damage: str, use: Callable[[Path], Any]) -> None:
    """Readers and writers say what is wrong with the file; nothing is downloaded to read it."""
    store = tmp_path / "s.duckdb"
    with open_to_write(store) as connection:
        rows: list[Record] = [CALL._replace(turn=turn, reply=os.urandom(500).hex()) for turn in range(2_000)]
        write_batch(connection, store, rows)
    change, words = DAMAGES[damage]
    store.write_bytes(change(store.read_bytes()))
    with pytest.raises(StoreError, match=words) as caught, use(store) as connection:
        connection.execute("SELECT sum(length(reply)) FROM calls").fetchall()
    assert str(store) in str(caught.value)


def test_a_copy_without_any_table_names_the_log(tmp_path: Path) -> None:
    """A young store's rows are all in its .wal; a reader of the file alone gets that as the reason."""
    with duckdb.connect(str(tmp_path / "s.duckdb")):
        pass
    with (
        pytest.raises(StoreError, match=r"copy s\.duckdb\.wal from the same place too"),
        open_to_read(tmp_path / "s.duckdb"),
    ):
        pass


def test_the_holder_of_a_file_is_named(tmp_path: Path) -> None:
    """A store that another program has open is reported with that program's name and number."""
    with open_to_write(tmp_path / "s.duckdb"):
        pass
    opened = f"c = duckdb.connect({str(tmp_path / 's.duckdb')!r})"
    script = f"import duckdb, time; {opened}; print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        words = rf"in use by python\S* \(process {holder.pid}\); wait until it ends, or stop it"
        for use in (open_to_read, open_to_write):
            with pytest.raises(StoreInUse, match=words), use(tmp_path / "s.duckdb"):
                pass
        holder.kill()


def test_absurd_token_counts_do_not_stop_readers(tmp_path: Path) -> None:
    """Counts near the limit of 64 bits are summed without overflow."""
    absurd = CALL._replace(prompt_tokens=2**63 - 1, completion_tokens=2**63 - 1)
    with open_to_write(tmp_path / "s.duckdb") as connection:
        write_batch(connection, tmp_path / "s.duckdb", [absurd, absurd._replace(turn=1), EPISODE, TURN])
        connection.execute(
            "INSERT INTO methods (run_id, method, model, provider, dialect, base_url, served_model,"
            " sampling_json, constrain, concurrency) VALUES (1, 'm/a', 'm', '', '', '', '', '{}', false, 1)"
        )
        (spent,) = spent_by_method(connection)
        assert spent.tokens == 4 * (2**63 - 1)
        (tally,) = method_tallies(connection)
        assert tally.prompt_tokens == tally.completion_tokens == 2 * (2**63 - 1)
        assert game_lengths(connection)["g"].prompt_tokens == pytest.approx(2**64)
        assert plays(connection)
        for view in schema.VIEWS:
            connection.execute(f"FROM {view}").fetchall()


def test_tables_follow_the_records() -> None:
    """One class is one table, one field is one column, which may be NULL if the field may be None."""
    connection = duckdb.connect()
    for statement in schema.statements():
        connection.execute(statement)
    for record, table in schema.TABLES.items():
        found = connection.execute(
            f"SELECT column_name FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index"
        )
        assert [row[0] for row in found.fetchall()] == schema.columns(record)
