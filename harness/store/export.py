"""Writes a store's tables to files for other programs: Parquet or CSV, one file for each table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.store import schema
from harness.store.file import open_to_copy, translated

FileFormat = Literal["parquet", "csv"]
VIEWS = ("scores", "transcripts")
_OPTIONS: dict[str, str] = {"parquet": "FORMAT parquet, COMPRESSION zstd", "csv": "FORMAT csv, HEADER"}


def copy_tables(
    store: Path, folder: Path, form: FileFormat, *, names: tuple[str, ...] = ()
) -> dict[str, int]:
    """Writes tables into a folder; returns the number of rows of each.

    form    the file format
    names   tables and views; none: every table, and VIEWS
    raises  StoreError if the store cannot be read or the folder cannot be written"""
    written = {}
    with open_to_copy(store, folder) as connection, translated(store):
        for name in names or (*schema.TABLES.values(), *VIEWS):
            target = str(folder.absolute() / f"{name}.{form}").replace("'", "''")
            ((written[name],),) = connection.execute(
                f"COPY (FROM {name}) TO '{target}' ({_OPTIONS[form]})"
            ).fetchall()
    return written
