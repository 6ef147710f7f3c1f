"""A store's tables as files that other programs read: Parquet or CSV, one file a table."""

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
    """Every table, and the views that people read, into this folder; returns the rows of each. Of `names` only, if any are given.

    raises  StoreError: the store cannot be read, or the folder not be written"""
    written = {}
    with open_to_copy(store, folder) as connection, translated(store):
        for name in names or (*schema.TABLES.values(), *VIEWS):
            target = str(folder.absolute() / f"{name}.{form}").replace("'", "''")
            ((written[name],),) = connection.execute(
                f"COPY (FROM {name}) TO '{target}' ({_OPTIONS[form]})"
            ).fetchall()
    return written
