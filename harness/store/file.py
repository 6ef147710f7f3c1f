"""Opens the DuckDB file: to write, by one run at a time, to read, or to copy its tables.

Knows DuckDB's errors and translates them once. Keeps: no connection reads or writes another file, loads an
extension, looks for a table among Python variables, or lets its settings be changed (`open_to_copy` may write
into one folder, `open_to_merge` reads the stores that it is given)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from harness.core.errors import StoreDamaged, StoreError, StoreInUse
from harness.store import schema
from harness.store.migration import bring_up_to_date, read_as_this_version
from harness.store.query_server import Readable, RunningStore, socket_path

# A query may come from anyone, and a foreign file must not make DuckDB fetch an extension.
_NO_EXTENSIONS: dict[str, bool | str | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
}
_CLOSED = {**_NO_EXTENSIONS, "enable_external_access": False}

# DuckDB keeps the pages that it has written, up to 80 % of the machine's memory, which model servers and
# games need too. A run does not read its rows again: it needs one transaction and the queries of its readers,
# which go to the disk beyond this.
WRITE_MEMORY_BYTES = 2 << 30
_DISK_FULL = "No space left on device"  # the words of ENOSPC
_DAMAGED = re.compile(r"Could not read enough bytes|[Cc]orrupt|checksum|[Ss]erializ|INTERNAL|FATAL")


@contextmanager
def open_to_write(
    path: Path, *, notify: Callable[[str], None] = lambda line: None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a connection that holds the file alone. An absent or empty file becomes a store.

    A store of an earlier version is brought up to date.

    notify   receives a line about an update
    raises   StoreInUse, StoreError; inside the block DuckDB's errors become StoreErrors too"""
    if path.is_file() and path.stat().st_size == 0:
        path.unlink()
    with translated(path), _connected(path, read_only=False) as connection:
        if not _tables(connection):
            connection.begin()
            for statement in schema.statements():
                connection.execute(statement)
            connection.commit()
        else:
            version = stored_version(connection, path)
            bring_up_to_date(connection, version=version, notify=lambda line: notify(f"{path}: {line}"))
        yield connection


@contextmanager
def open_to_read(path: Path) -> Iterator[Readable]:
    """Opens an existing store for queries; while a run holds the file, the run answers them.

    A store of an earlier version is not changed; a column that it lacks reads as NULL.

    raises   StoreError; inside the block DuckDB's errors become StoreErrors too"""
    refuse_absent(path)
    with ExitStack() as stack:
        stack.enter_context(translated(path))
        try:
            connection = stack.enter_context(_connected(path, read_only=True))
        except StoreInUse as error:
            if not socket_path(path).exists():
                raise
            yield RunningStore(path, in_use=str(error))
            return
        read_as_this_version(connection, version=stored_version(connection, path))
        yield connection


@contextmanager
def open_to_copy(path: Path, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a store that no run holds, to copy its tables into files of this folder."""
    refuse_absent(path)
    with translated(path):
        connection = duckdb.connect(str(path.absolute()), read_only=True, config=_NO_EXTENSIONS)
        try:
            read_as_this_version(connection, version=stored_version(connection, path))
            connection.execute("SET allowed_directories = [?]", [str(folder.absolute())])
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
        finally:
            connection.close()


@contextmanager
def open_to_merge(target: Path, sources: Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a new store to write, and beside it each source to read, as the databases source_0, source_1, ...

    The file of a running sweep must not be opened here: closing it would release the sweep's lock on it.

    raises  StoreInUse if a run holds a source; StoreError"""
    with translated(target):
        connection = duckdb.connect(str(target.absolute()), config=_NO_EXTENSIONS)
        try:
            for statement in schema.statements():
                connection.execute(statement)
            for number, source in enumerate(sources):
                refuse_absent(source)
                name = str(source.absolute()).replace("'", "''")
                with translated(source):
                    connection.execute(f"ATTACH '{name}' AS {source_name(number)} (READ_ONLY)")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
        finally:
            connection.close()


def source_name(number: int) -> str:
    """Returns the database name of a source of `open_to_merge`."""
    return f"source_{number}"


@contextmanager
def open_plain(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a store to write without bringing it up to date.

    raises  StoreError if the file is not a store"""
    with translated(path), _connected(path, read_only=False) as connection:
        stored_version(connection, path)
        yield connection


def refuse_absent(path: Path) -> None:
    """Raises StoreError if there is no such file: opening it to write would make an empty store."""
    if not path.exists():
        raise StoreError(
            f"{path}: there is no such store; make one with `lightbulb run SWEEP.toml`, or name another"
        )


@contextmanager
def _connected(path: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    # Readers of one process share a database, whose settings are locked for the second: they open it locked.
    settings = {**_CLOSED, "lock_configuration": True} if read_only else _CLOSED
    with translated(path):  # absolute: an address such as s3://... would be another file system
        connection = duckdb.connect(str(path.absolute()), read_only=read_only, config=settings)
    try:
        if not read_only:
            _limit_memory(connection)
            connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _limit_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Lowers DuckDB's limit, a share of what this machine or container has, to WRITE_MEMORY_BYTES."""
    ((allowed,),) = connection.execute(
        "SELECT parse_formatted_bytes(current_setting('memory_limit'))"
    ).fetchall()
    if allowed > WRITE_MEMORY_BYTES:
        connection.execute(f"SET memory_limit = '{WRITE_MEMORY_BYTES} B'")


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}


def stored_version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Returns the version of the store's tables.

    raises  StoreError if the file is not a store, or one of a later version"""
    columns = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'store'"
    ).fetchall()
    rows = connection.execute("SELECT version FROM store").fetchall() if columns == [("version",)] else []
    if not rows and not _tables(connection):
        raise StoreError(
            f"{path}: a DuckDB file without tables. If it is a copy of a store, copy {path.name}.wal from the"
            " same place too: recent rows are in that file. `lightbulb backup` makes complete copies. If a run was"
            " killed in its first second, delete the file: it holds no row"
        )
    if len(rows) != 1:
        raise StoreError(f"{path}: a DuckDB file, but not a store of lightbulb; name another")
    version = int(rows[0][0])
    if version > schema.VERSION:
        raise StoreError(
            f"{path}: a store of version {version}, made by a newer lightbulb; this lightbulb knows versions"
            f" up to {schema.VERSION}: upgrade lightbulb, or name another store"
        )
    return version


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns DuckDB's errors about this file into StoreErrors that say what to do."""
    try:
        yield
    except duckdb.Error as error:
        raise _store_error(path, error) from error


def _store_error(path: Path, error: duckdb.Error) -> StoreError:
    text = str(error)
    line = " ".join(text.split("\n\n", 1)[0].splitlines())  # DuckDB repeats the query after a blank line
    if isinstance(error, duckdb.IOException) and "lock" in text.lower():
        holder = re.search(r"held in (\S+).*?\(PID (\d+)\)", text, re.DOTALL)
        name = f"{Path(holder[1]).name} (process {holder[2]})" if holder else "another process"
        return StoreInUse(f"{path}: is in use by {name}; wait until it ends, or stop it")
    if "not a valid DuckDB" in text or "external extensions is disabled" in text:
        return StoreError(f"{path}: is not a DuckDB file; name another")
    if _DISK_FULL in line:
        return StoreError(f"{path}: cannot be written: {line}; free space on this disk, and try again")
    if isinstance(error, duckdb.InternalException | duckdb.FatalException) or _DAMAGED.search(line):
        return StoreDamaged(
            f"{path}: the file is damaged: {line}. Use a backup of it, or start a new store by another name"
        )
    if path.is_dir():
        return StoreError(f"{path}: is a folder, not a store; name a DuckDB file")
    if isinstance(error, duckdb.IOException):
        return StoreError(
            f"{path}: cannot be used: {line}; check the folder, its permissions and the free space of the"
            " disk"
        )
    return StoreError(f"{path}: {line}")
