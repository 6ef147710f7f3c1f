"""Opening the DuckDB file: to write, by one run at a time, or to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from harness.core.errors import StoreError, StoreInUse
from harness.store import schema
from harness.store.migration import bring_up_to_date, read_as_this_version
from harness.store.query_server import Readable, RunningStore, socket_path


def _unsaid(line: str) -> None:
    """Nobody listens."""


@contextmanager
def open_to_write(path: Path, *, say: Callable[[str], None] = _unsaid) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that holds the file alone; an absent or empty file becomes a store, one of an earlier version one of this.

    say   hears when the file was brought up to date"""
    if path.is_file() and path.stat().st_size == 0:
        path.unlink()
    with _connected(path, read_only=False) as connection:
        if not _tables(connection):
            with translated(path):
                connection.begin()
                for statement in schema.statements():
                    connection.execute(statement)
                connection.commit()
        else:
            found = _version(connection, path)
            with translated(path):
                bring_up_to_date(connection, version=found, say=lambda line: say(f"{path}: {line}"))
        yield connection


@contextmanager
def open_to_read(path: Path) -> Iterator[Readable]:
    """A read-only connection to an existing store; while a run holds the file, the run answers. One of an earlier version stays as it
    is: what it lacks reads as NULL."""
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
        found = _version(connection, path)
        with translated(path):
            read_as_this_version(connection, version=found)
        yield connection


@contextmanager
def open_to_copy(path: Path, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """As open_to_read, on a file that no run holds; and COPY may write, into this folder alone."""
    if not path.exists():
        raise StoreError(f"{path}: no such store; `lightbulb run SWEEP.toml` makes one, or name another")
    with translated(path):
        connection = duckdb.connect(str(path.absolute()), read_only=True)
    try:
        found = _version(connection, path)
        with translated(path):
            read_as_this_version(connection, version=found)
            connection.execute("SET allowed_directories = [?]", [str(folder.absolute())])
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


@contextmanager
def _connected(path: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    # By its absolute path, and what is read stays this file: a question may come from anywhere, and some SQL writes files.
    closed_in: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "lock_configuration": True,
    }
    with translated(path):
        connection = duckdb.connect(
            str(path.absolute()), read_only=read_only, config=closed_in if read_only else {}
        )
    try:
        yield connection
    finally:
        connection.close()


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}


def _version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The version of the store's tables.

    raises  StoreError if it is no store, or one of a version to come"""
    columns = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'store'"
    ).fetchall()
    found = connection.execute("SELECT version FROM store").fetchall() if columns == [("version",)] else []
    if len(found) != 1:
        raise StoreError(f"{path}: a DuckDB file, but not a store of lightbulb; name another")
    version = int(found[0][0])
    if version > schema.VERSION:
        raise StoreError(
            f"{path}: a store of version {version}, made by a newer lightbulb; this one knows versions up to {schema.VERSION}:"
            " upgrade lightbulb, or name another store"
        )
    return version


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
            raise StoreInUse(
                f"{path}: is in use by {who}; wait until that run has ended, or stop it"
            ) from error
        if "not a valid DuckDB" in text:
            raise StoreError(f"{path}: is not a DuckDB file; name another") from error
        raise StoreError(
            f"{path}: cannot be used: {text.splitlines()[0]}; check the folder, its rights and the disk's space"
        ) from error
    except duckdb.Error as error:
        said = str(error).split("\n\n", 1)[0]  # then comes the query again
        raise StoreError(f"{path}: {' '.join(said.splitlines())}") from error
