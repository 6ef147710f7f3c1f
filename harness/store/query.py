"""Gives the result of a query as rows, as an Arrow table or as a DataFrame.

Keeps: a query is executed each time its result is read, so that a running sweep answers with the rows that it
has then. The file is open only during the query. pandas and pyarrow are imported when they are needed."""

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
    """One query to one store. Iteration gives a dict for each row."""

    store: Path
    query: str
    parameters: tuple[object, ...] = ()

    def rows(self) -> list[tuple[Any, ...]]:
        """Returns all rows.

        raises  StoreError if the store cannot be read or the query fails"""
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
        """Returns the result in another package's form: by DuckDB if the file can be opened, else from plain
        rows."""
        needed = optional(package)
        with open_to_read(self.store) as connection, translated(self.store):
            if not isinstance(connection, duckdb.DuckDBPyConnection):
                return made(needed, *_fetched(connection.execute(self.query, list(self.parameters))))
            asked = connection.sql(self.query, params=list(self.parameters))
            if asked is None:
                raise StoreError(f"{self.store}: {self.query!r} has no rows as its result; use a SELECT")
            return getattr(asked, native)()


@dataclass(frozen=True, slots=True)
class RowTable:
    """Computed rows with the interface of a QueryResult."""

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
    """Imports a package that only notebooks and exports need.

    raises  StoreError with the command that installs it"""
    try:
        return import_module(package)
    except ImportError as error:
        raise StoreError(
            f"this needs {package}, which is not installed: pip install 'lightbulb[notebook]',"
            f" or pip install {package}"
        ) from error


def _fetched(asked: Readable) -> tuple[list[str], list[tuple[Any, ...]]]:
    return [column[0] for column in asked.description or []], asked.fetchall()


def _dicts(names: Sequence[str], rows: Sequence[Sequence[object]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]
