"""Stores of earlier versions, and stores of this version that lack a column declared since.

Knows this version's tables and what a file holds. Versions only ever add: a table, or a column that is NULL in the rows before it;
so a file is brought up to date by adding what it lacks, and read by reading NULL for it. Keeps: all in one transaction, so that a
store is of its old version or of this one, never between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from harness.core.records import Record
from harness.store import schema

TABLES_AND_COLUMNS = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database() AND NOT internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What this version has and a file has not. columns: of tables that it has; views: by name."""

    tables: tuple[type[Record], ...]
    columns: tuple[tuple[type[Record], str], ...]
    views: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns or self.views)

    def __str__(self) -> str:
        columns = [f"{schema.TABLES[record]}.{name}" for record, name in self.columns]
        return (
            ", ".join([*columns, *(schema.TABLES[record] for record in self.tables), *self.views])
            or "nothing but the version"
        )


def lack(connection: duckdb.DuckDBPyConnection) -> Lack:
    """Found by comparing the file with core/records.py, whatever its version says."""
    held: dict[str, set[str]] = {}
    for relation, column in connection.execute(TABLES_AND_COLUMNS).fetchall():
        held.setdefault(relation, set()).add(column)
    return Lack(
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
    connection: duckdb.DuckDBPyConnection, *, version: int, say: Callable[[str], None]
) -> None:
    """Adds what the file lacks and stamps it with this version; `say` hears of it, once it is done."""
    missing = lack(connection)
    if version == schema.VERSION and not missing:
        return
    connection.begin()
    try:
        for record, name in missing.columns:
            connection.execute(
                f'ALTER TABLE {schema.TABLES[record]} ADD COLUMN "{name}" {schema.nullable_type(record, name)}'
            )
        for record in missing.tables:
            connection.execute(f"CREATE TABLE {schema.described(record)}")
        for name, query in schema.VIEWS.items():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        connection.execute("UPDATE store SET version = ?", [schema.VERSION])
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    say(
        f"was a store of version {version}; added what version {schema.VERSION} has more ({missing}) and changed nothing else. An older"
        " lightbulb refuses it from now on: for one, take the copy in your backup"
    )


def read_as_this_version(connection: duckdb.DuckDBPyConnection, *, version: int) -> None:
    """Lays views of this version over a file that may not be changed: what it lacks reads as NULL, or as a table without rows."""
    missing = lack(connection)
    if version == schema.VERSION and not missing:
        return
    ((database,),) = connection.execute("SELECT current_database()").fetchall()
    for record in {record for record, _ in missing.columns}:
        table = schema.TABLES[record]
        added = ", ".join(
            f'CAST(NULL AS {schema.nullable_type(record, name)}) AS "{name}"'
            for of, name in missing.columns
            if of is record
        )
        connection.execute(f'CREATE TEMP VIEW {table} AS SELECT *, {added} FROM "{database}".main.{table}')
    for record in missing.tables:
        connection.execute(f"CREATE TEMP TABLE {schema.described(record)}")
    for name, query in schema.VIEWS.items():
        connection.execute(f"CREATE TEMP VIEW {name} AS {query}")
