"""Brings stores of earlier versions up to date, and lets readers read them without a change.

Knows this version's tables and compares them with the file's. A new version only adds tables, and columns
that are NULL in earlier rows. So an update adds what is missing, and a reader sees NULL for it. Keeps: an
update is one transaction, so that a store has either its old version or this one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import duckdb

from harness.core.records import Record
from harness.store import schema
from harness.store.query_server import Readable

TABLES_AND_COLUMNS = (
    "SELECT table_name, column_name FROM duckdb_columns()"
    " WHERE database_name = current_database() AND NOT internal"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingParts:
    """The tables, columns and views of this version that a file does not have. columns: of tables that it
    has."""

    tables: tuple[type[Record], ...]
    columns: tuple[tuple[type[Record], str], ...]
    views: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.views)

    def __str__(self) -> str:
        columns = [f"{schema.TABLES[record]}.{name}" for record, name in self.columns]
        return (
            ", ".join([*columns, *(schema.TABLES[record] for record in self.tables), *self.views])
            or "the version number only"
        )


def missing_parts(connection: Readable) -> MissingParts:
    """Compares the file with core/records.py, whatever version it states."""
    held: dict[str, set[str]] = {}
    for relation, column in connection.execute(TABLES_AND_COLUMNS).fetchall():
        held.setdefault(relation, set()).add(column)
    return MissingParts(
        tables=tuple(record for record, table in schema.TABLES.items() if table not in held),
        columns=tuple(
            (record, name)
            for record, table in schema.TABLES.items()
            if table in held
            for name in schema.columns(record)
            if name not in held[table]
        ),
        views=tuple(name for name in schema.VIEWS if name not in held),
    )


def bring_up_to_date(
    connection: duckdb.DuckDBPyConnection, *, version: int, notify: Callable[[str], None]
) -> None:
    """Adds what the file lacks and sets its version.

    version   the version that the file states
    notify    receives one line after a change"""
    missing = missing_parts(connection)
    if version == schema.VERSION and not missing:
        return
    connection.begin()
    try:
        for record, name in missing.columns:
            column = f'"{name}" {schema.nullable_type(record, name)}'
            connection.execute(f"ALTER TABLE {schema.TABLES[record]} ADD COLUMN {column}")
        for record in missing.tables:
            connection.execute(f"CREATE TABLE {schema.table_definition(record)}")
        for name, query in schema.VIEWS.items():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        connection.execute("UPDATE store SET version = ?", [schema.VERSION])
        connection.commit()
    except BaseException:
        with suppress(duckdb.Error):  # the first error is the cause: a failed rollback must not replace it
            connection.rollback()
        raise
    notify(
        f"updated from store version {version} to {schema.VERSION}: added {missing}; no row was changed."
        " An older lightbulb refuses this store from now on: use the copy in your backup for it"
    )


def read_as_this_version(connection: duckdb.DuckDBPyConnection, *, version: int) -> None:
    """Adds temporary views to a read-only connection: a missing column is NULL, a missing table is empty."""
    missing = missing_parts(connection)
    if version == schema.VERSION and not missing:
        return
    ((database,),) = connection.execute("SELECT current_database()").fetchall()
    for record in {record for record, _ in missing.columns}:
        table = schema.TABLES[record]
        added = ", ".join(
            f'CAST(NULL AS {schema.nullable_type(record, name)}) AS "{name}"'
            for owner, name in missing.columns
            if owner is record
        )
        connection.execute(f'CREATE TEMP VIEW {table} AS SELECT *, {added} FROM "{database}".main.{table}')
    for record in missing.tables:
        connection.execute(f"CREATE TEMP TABLE {schema.table_definition(record)}")
    for name, query in schema.VIEWS.items():
        connection.execute(f"CREATE TEMP VIEW {name} AS {query}")
