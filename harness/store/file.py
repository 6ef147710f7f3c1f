"""Opening the DuckDB file: to write, by one run at a time, or to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from harness.core.errors import StoreError, StoreInUse
from harness.store import schema
from harness.store.live import Readable, RunningStore, socket_path


@contextmanager
def open_to_write(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that holds the file alone; an absent or empty file becomes a store."""
    if path.is_file() and path.stat().st_size == 0:
        path.unlink()
    with _connected(path, read_only=False) as connection:
        tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if not tables:
            with translated(path):
                connection.begin()
                for statement in schema.statements():
                    connection.execute(statement)
                connection.commit()
        else:
            _check_version(connection, path, tables)
        yield connection


@contextmanager
def open_to_read(path: Path) -> Iterator[Readable]:
    """A read-only connection to an existing store; while a run holds the file, the run answers."""
    if not path.exists():
        raise StoreError(f"{path}: no such store; `lightbulb run SWEEP.toml` makes one, or name another")
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(_connected(path, read_only=True))
        except StoreInUse:
            if not socket_path(path).exists():
                raise
            yield RunningStore(path)
            return
        tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        _check_version(connection, path, tables)
        yield connection


@contextmanager
def _connected(path: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    # By its absolute path, and what is read stays this file: a question may come from anywhere, and some SQL writes files.
    closed_in: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "lock_configuration": True,
    }
    with translated(path):
        connection = duckdb.connect(str(path.absolute()), read_only=read_only, config=closed_in if read_only else {})
    try:
        yield connection
    finally:
        connection.close()


def _check_version(connection: Readable, path: Path, tables: set[str]) -> None:
    if "store" not in tables:
        raise StoreError(f"{path}: a DuckDB file, but not a store of lightbulb; name another")
    columns = connection.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = 'store'").fetchall()
    found = connection.execute("SELECT version FROM store").fetchall() if columns == [("version",)] else []
    if len(found) != 1:
        raise StoreError(f"{path}: a DuckDB file, but not a store of lightbulb; name another")
    if found[0][0] != schema.VERSION:
        raise StoreError(f"{path}: a store of version {found[0][0]}; this lightbulb reads and writes version {schema.VERSION}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """DuckDB's errors about the file as StoreErrors that say what to do."""
    try:
        yield
    except duckdb.IOException as error:
        text = str(error)
        holder = re.search(r"\(PID (\d+)\)", text)
        if "lock" in text.lower():
            who = f"process {holder[1]}" if holder else "another process"
            raise StoreInUse(f"{path}: is in use by {who}; wait until that run has ended, or stop it") from error
        if "not a valid DuckDB" in text:
            raise StoreError(f"{path}: is not a DuckDB file; name another") from error
        raise StoreError(f"{path}: cannot be used: {text.splitlines()[0]}; check the folder, its rights and the disk's space") from error
    except duckdb.Error as error:
        raise StoreError(f"{path}: {str(error).splitlines()[0]}") from error
