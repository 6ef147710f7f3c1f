"""What a store answers, in the shape that is asked for: rows, an Arrow table, a DataFrame.

Keeps: a question is put when its answer is looked at, and anew each time, so that a running sweep answers with what it has by then; the
file is open only meanwhile. pandas and pyarrow are looked for when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb

from harness.core.errors import StoreError
from harness.store.file import open_to_read, translated
from harness.store.query_server import Readable


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One question to one store. Iterating gives a dict for each row."""

    store: Path
    query: str
    parameters: tuple[object, ...] = ()

    def rows(self) -> list[tuple[Any, ...]]:
        """raises  StoreError if the store or the question is no good"""
        return self._read()[1]

    def columns(self) -> list[str]:
        return self._read()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names, rows = self._read()
        return (dict(zip(names, row, strict=True)) for row in rows)

    def to_arrow(self) -> Any:
        """A pyarrow.Table."""
        return self._shaped(
            "pyarrow",
            "to_arrow_table",
            lambda arrow, names, rows: arrow.Table.from_pylist(_dicts(names, rows)),
        )

    def to_pandas(self) -> Any:
        """A pandas.DataFrame."""
        return self._shaped("pandas", "df", lambda pandas, names, rows: pandas.DataFrame(rows, columns=names))

    def _read(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        with open_to_read(self.store) as connection, translated(self.store):
            return _fetched(connection.execute(self.query, list(self.parameters)))

    def _shaped(self, package: str, native: str, made: Any) -> Any:
        """By DuckDB itself where the file is ours to open; from plain rows where a running sweep answers."""
        needed = optional(package)
        with open_to_read(self.store) as connection, translated(self.store):
            if not isinstance(connection, duckdb.DuckDBPyConnection):
                return made(needed, *_fetched(connection.execute(self.query, list(self.parameters))))
            asked = connection.sql(self.query, params=list(self.parameters))
            if asked is None:
                raise StoreError(f"{self.store}: {self.query!r} answers with no rows; ask a SELECT")
            return getattr(asked, native)()


@dataclass(frozen=True, slots=True)
class RowTable:
    """Rows that were computed, not asked for; read like an QueryResult."""

    names: tuple[str, ...]
    figures: tuple[tuple[object, ...], ...]

    def rows(self) -> list[tuple[Any, ...]]:
        return list(self.figures)

    def columns(self) -> list[str]:
        return list(self.names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(_dicts(self.names, self.figures))

    def to_arrow(self) -> Any:
        """A pyarrow.Table."""
        return optional("pyarrow").Table.from_pylist(_dicts(self.names, self.figures))

    def to_pandas(self) -> Any:
        """A pandas.DataFrame."""
        return optional("pandas").DataFrame(list(self.figures), columns=list(self.names))


def optional(package: str) -> Any:
    """A package that only notebooks and exports need.

    raises  StoreError with the command that installs it"""
    try:
        return import_module(package)
    except ImportError as error:
        why = f"this needs {package}, which is not installed: pip install 'lightbulb[notebook]', or pip install {package}"
        raise StoreError(why) from error


def _fetched(asked: Readable) -> tuple[list[str], list[tuple[Any, ...]]]:
    return [column[0] for column in asked.description or []], asked.fetchall()


def _dicts(names: Sequence[str], rows: Sequence[Sequence[object]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]
