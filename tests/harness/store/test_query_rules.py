"""Tests of what a reader may ask: forty statements that read files, write, load code or change settings are
refused.

Each is put to a running and to a closed store, by the command and from Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import duckdb
import pytest

from harness.core.errors import StoreError
from harness.store.file import open_to_read, open_to_write
from harness.store.query import QueryResult
from harness.store.query_rules import QueryRules
from harness.store.query_server import QueryServer, RunningStore
from harness.store.writer import write_batch
from tests.harness.store.test_query_server import no_pause
from tests.harness.store.test_store import CALL, EPISODE, TURN

SECRET = "sk-PLANTED-SECRET"
ATTACKS = [
    # files and the environment
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT content FROM read_text('{folder}/secret.csv')",
    "SELECT * FROM '{folder}/secret.csv'",
    'SELECT * FROM "{folder}/secret.csv"',
    "SELECT * FROM read_csv_auto('{folder}/*.csv')",
    "SELECT * FROM read_json_auto('{folder}/secret.csv')",
    "SELECT * FROM read_parquet('{folder}/secret.csv')",
    "SELECT * FROM sniff_csv('{folder}/secret.csv')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_duckdb('{folder}/s.duckdb')",
    "SELECT * FROM query('SELECT * FROM read_text(''{folder}/secret.csv'')')",
    "SELECT * FROM query_table(['{folder}/secret.csv'])",
    "SELECT (SELECT content FROM read_text('{folder}/secret.csv')) AS x FROM calls",
    "WITH t AS (FROM read_text('{folder}/secret.csv')) SELECT * FROM calls, t",
    "SELECT * FROM calls WHERE reply IN (SELECT content FROM read_text('{folder}/secret.csv'))",
    "SELECT getenv('HOME')",
    "SELECT * FROM os",
    "SELECT * FROM duckdb_secrets()",
    # memory addresses
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM python_map_function(1)",
    # writing
    "COPY calls TO '{folder}/evil'",
    "EXPORT DATABASE '{folder}/evil'",
    "INSERT INTO calls SELECT * FROM calls",
    "WITH gone AS (DELETE FROM calls RETURNING *) SELECT * FROM gone",
    "DROP TABLE calls",
    "CREATE TEMP TABLE evil AS SELECT 1",
    "CREATE MACRO evil() AS 1",
    "SELECT 1; DELETE FROM calls",
    "FROM enable_logging('QueryLog', storage='file', storage_path='{folder}/evil')",
    "SELECT write_log('evil')",
    "FROM truncate_duckdb_logs()",
    "FROM checkpoint()",
    "FROM force_checkpoint()",
    "CHECKPOINT",
    # code and other databases
    "INSTALL httpfs",
    "LOAD json",
    "ATTACH '{folder}/evil'",
    "SELECT * FROM read_csv('https://127.0.0.1/x.csv')",
    # settings
    "SET memory_limit = '1MB'",
    "PRAGMA enable_profiling",
    "SELECT setseed(0.5)",
    "SET VARIABLE evil = 1",
    "FROM enable_profiling()",
    "PREPARE evil AS SELECT 1",
    "BEGIN TRANSACTION",
]
FINE = [
    "FROM calls",
    "DESCRIBE calls",
    "SHOW TABLES",
    "SUMMARIZE episodes",
    "SELECT method, avg(score), median(turns), list(outcome), arg_max(key, score) FROM episodes GROUP BY ALL",
    "SELECT row_number() OVER (ORDER BY turn), lag(reply) OVER () FROM calls",
    "SELECT unnest(range(3)), regexp_extract('a1', '[0-9]'), {'a': 1}, [x + 1 FOR x IN [1, 2]], map {1: 2}",
    "SELECT json_extract(added_json, '$[0]') FROM turns, json_each('[1]')",
    "SELECT current_date, now(), random(), uuid(), 'a' LIKE 'b', 1 IS NULL, 'x' || 1, 5 // 2, 2 ** 3",
    "SELECT * FROM range(3), generate_series(1, 2), duckdb_tables(), information_schema.columns, scores",
    "SELECT make_timestamp(CAST(sent_at * 1e6 AS BIGINT)), date_trunc('hour', now()) FROM calls",
    "SELECT * FROM clemscores UNION ALL BY NAME SELECT model, method FROM episodes",
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A store with a secret beside it; whatever was asked, it is unchanged afterwards and nothing new lies
    there."""
    (tmp_path / "secret.csv").write_text(SECRET)
    with open_to_write(tmp_path / "s.duckdb") as connection:
        write_batch(connection, tmp_path / "s.duckdb", [CALL, TURN, EPISODE])
    yield tmp_path / "s.duckdb"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.duckdb", "secret.csv"]
    with duckdb.connect(str(tmp_path / "s.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchall() == [(1,)]


def refused(store: Path, text: str) -> None:
    """Asks for rows and for an Arrow table; both are refused."""
    for ask in (QueryResult.rows, QueryResult.to_arrow):
        with pytest.raises(StoreError) as caught:
            ask(QueryResult(store, text.replace("{folder}", str(store.parent))))
        assert SECRET not in str(caught.value)


def test_a_closed_store_refuses(store: Path) -> None:
    for text in ATTACKS:
        refused(store, text)


def test_what_is_not_text_is_refused(store: Path) -> None:
    """A shell passes bytes on that are not UTF-8, as halves of surrogate pairs."""
    with pytest.raises(StoreError, match="cannot be written as UTF-8 at position 8"):
        QueryResult(store, "SELECT '\udcff'").read()


def test_a_running_store_refuses(store: Path) -> None:
    """Its settings stay as they are, and the run's own connection refuses too."""

    async def scenario() -> None:
        with open_to_write(store) as connection:
            settings = connection.execute("FROM duckdb_settings()").fetchall()
            async with QueryServer(connection, store).serving(pause=no_pause, notify=print):
                for text in ATTACKS:
                    await anyio.to_thread.run_sync(ask_another_process, store, text)
                assert connection.execute("FROM duckdb_settings()").fetchall() == settings
                assert connection.execute("SELECT count(*) FROM duckdb_logs()").fetchall() == [(0,)]
            for text in ("FROM read_text('/etc/hostname')", "SET threads = 1", "INSTALL httpfs"):
                with pytest.raises(duckdb.Error):
                    connection.execute(text)

    anyio.run(scenario)


def ask_another_process(store: Path, text: str) -> None:
    """Asks over the socket, as another process would."""
    with pytest.raises(StoreError) as caught:
        RunningStore(store, in_use="in use").execute(text.replace("{folder}", str(store.parent)))
    assert SECRET not in str(caught.value)
    assert "the run ended" not in str(caught.value)


@pytest.mark.parametrize("text", FINE)
def test_ordinary_queries_pass(store: Path, text: str) -> None:
    """Queries without side effects are not refused."""
    assert QueryResult(store, text).rows() is not None
    with open_to_read(store) as connection:
        assert isinstance(connection, duckdb.DuckDBPyConnection)
        QueryRules(connection).check(connection, text)


def test_a_macro_in_the_store_is_refused(store: Path) -> None:
    """A store may come from somebody else; its macros are not DuckDB's functions."""
    with duckdb.connect(str(store)) as connection:
        connection.execute("CREATE MACRO trap() AS (SELECT content FROM read_text('/etc/hostname'))")
        connection.execute("CREATE MACRO table_trap() AS TABLE FROM query('SELECT 1')")
    for text in ("SELECT trap()", "FROM table_trap()", "SELECT reply.trap() FROM calls"):
        with pytest.raises(StoreError, match="not available to readers"):
            QueryResult(store, text).rows()
