"""Tests of stores of earlier versions: they are read without a change, and updated when they are written."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from harness.analysis.store_audit import store_scores
from harness.core.errors import StoreError
from harness.store import schema
from harness.store.file import open_to_read, open_to_write
from harness.store.reader import episode_rows, transcript
from harness.store.writer import write_batch
from tests.harness.store.test_store import CALL, EPISODE, TURN

VERSION_1 = Path(__file__).with_name("version_1.sql").read_text("utf-8")
SCHEMA = """
    SELECT table_name, column_name, data_type, is_nullable
    FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of version 1."""
    with duckdb.connect(str(tmp_path / "old.duckdb")) as connection:
        connection.execute(VERSION_1)
    return tmp_path / "old.duckdb"


def remove_parts(store: Path) -> None:
    """Removes a column of calls, the table of averages and the view scores, as in an older store."""
    with duckdb.connect(str(store)) as connection:
        connection.execute("ALTER TABLE calls DROP COLUMN http_status")
        connection.execute("DROP TABLE summaries")
        connection.execute("DROP VIEW scores")


def test_an_old_store_is_brought_up_to_date(old: Path) -> None:
    """Opened to be written, it has the new one's tables, columns and views with its own rows in them; it says
    so, once."""
    remove_parts(old)
    lines: list[str] = []
    with open_to_write(old, notify=lines.append) as connection:
        calls = connection.execute("SELECT reply, http_status FROM calls ORDER BY turn").fetchall()
        assert calls == [("CLUE: one", None), ("GUESS: two", None)]
        assert connection.execute("SELECT version FROM store").fetchall() == [(schema.VERSION,)]
        write_batch(connection, old, [CALL, TURN, EPISODE])
        assert connection.execute("SELECT http_status FROM calls WHERE episode_id = 'e'").fetchall() == [
            (200,)
        ]
        assert connection.execute("SELECT score FROM scores ORDER BY episode_id").fetchall() == [
            (100.0,),
            (100.0,),
        ]
        assert connection.execute("FROM summaries").fetchall() == []
        held = {row[:3] for row in connection.execute(SCHEMA).fetchall()}
    (line,) = lines
    assert f"updated from store version 1 to {schema.VERSION}: added " in line
    assert "calls.http_status" in line
    with open_to_write(old.with_name("new.duckdb")) as fresh:
        assert held == {row[:3] for row in fresh.execute(SCHEMA).fetchall()}
    with open_to_write(old, notify=lines.append):
        pass
    assert len(lines) == 1


def test_an_old_store_is_read_as_it_is(old: Path) -> None:
    """A missing column reads as NULL, a missing table as empty; scores and transcripts work; no byte
    changes."""
    remove_parts(old)
    before = old.read_bytes()
    with open_to_read(old) as connection:
        assert connection.execute("SELECT turn, http_status FROM calls ORDER BY turn").fetchall() == [
            (0, None),
            (1, None),
        ]
        assert connection.execute("SELECT count(*) FROM summaries").fetchall() == [(0,)]
        assert connection.execute("SELECT outcome FROM scores").fetchall() == [("success",)]
        assert episode_rows(connection).score == [100.0, None]
        assert [turn.reply for turn in transcript(connection, "e1").turns] == ["CLUE: one", "GUESS: two"]
        for name in [*schema.TABLES.values(), *schema.VIEWS]:
            connection.execute(f"FROM {name}").fetchall()
    (model,) = store_scores(old)
    assert [(figures.method, figures.failed) for figures in model.methods] == [("m/a", 1)]
    assert old.read_bytes() == before


def test_a_missing_column_is_added_in_a_store_of_this_version_too(tmp_path: Path) -> None:
    """A store of this version that lacks a column gets it too."""
    store = tmp_path / "s.duckdb"
    with open_to_write(store) as connection:
        write_batch(connection, store, [CALL])
    remove_parts(store)
    with open_to_read(store) as connection:
        assert connection.execute("SELECT reply, http_status FROM calls").fetchall() == [("hello", None)]
    with open_to_write(store) as connection:
        write_batch(connection, store, [CALL])
        assert connection.execute("SELECT http_status FROM calls ORDER BY rowid").fetchall() == [
            (None,),
            (200,),
        ]


def test_a_store_is_of_one_version_or_the_other(old: Path) -> None:
    """If one step of the update fails, the store keeps its old version."""
    remove_parts(old)
    with duckdb.connect(str(old)) as connection:
        connection.execute("CREATE TABLE scores (mine BIGINT)")  # in the way of the view
        before = connection.execute(SCHEMA).fetchall()
    with pytest.raises(StoreError, match="scores"), open_to_write(old):
        pass
    with duckdb.connect(str(old)) as connection:
        assert connection.execute(SCHEMA).fetchall() == before
        assert connection.execute("SELECT version FROM store").fetchall() == [(1,)]


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a later version is refused with its number, by readers and writers."""
    with open_to_write(tmp_path / "s.duckdb") as connection:
        connection.execute("UPDATE store SET version = 99")
    with (
        pytest.raises(StoreError, match="version 99, made by a newer lightbulb"),
        open_to_read(tmp_path / "s.duckdb"),
    ):
        pass
    with pytest.raises(StoreError, match="upgrade lightbulb"), open_to_write(tmp_path / "s.duckdb"):
        pass


def test_versions_only_add(old: Path) -> None:
    """Every column of version 1 is still there with its type and its NULLs; what was added since may be NULL,
    as it is in older rows."""
    with duckdb.connect(str(old), read_only=True) as connection:
        first = {
            row[:2]: row[2:]
            for row in connection.execute(SCHEMA).fetchall()
            if row[0] in schema.TABLES.values()
        }
    with open_to_write(old.with_name("new.duckdb")) as fresh:
        now = {
            row[:2]: row[2:] for row in fresh.execute(SCHEMA).fetchall() if row[0] in schema.TABLES.values()
        }
    assert {place: now.get(place) for place in first} == first
    of_first = {table for table, _ in first}
    assert [
        place
        for place, (_, nullable) in now.items()
        if place not in first and place[0] in of_first and not nullable
    ] == []
