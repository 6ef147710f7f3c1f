"""Gives the result of a query as rows, as an Arrow table or as a DataFrame.

Keeps: a query is executed each time its result is read, so that a running sweep answers with the rows that it
has then. The file is open only during the query. pandas and pyarrow are imported when they are needed."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb

from harness.core.errors import StoreError
from harness.store.file import open_to_read
from harness.store.query_rules import QueryRules
from harness.store.query_server import Readable, RunningStore

HTML_ROWS = 20  # of a result in a notebook


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One query to one store. Iteration gives a dict for each row."""

    store: Path
    query: str
    parameters: tuple[object, ...] = ()

    def rows(self) -> list[tuple[Any, ...]]:
        """Returns all rows.

        raises  StoreError if the store cannot be read or the query fails"""
        return self.read()[1]

    def columns(self) -> list[str]:
        return self.read()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names, rows = self.read()
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

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Exports the result to other packages, such as polars, by Arrow's C interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        """Returns the first rows as a table, for notebooks."""
        return _html_table(*self.read())

    def read(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Returns the names of the columns and all rows, of one execution."""
        with open_to_read(self.store) as connection:
            return _fetched(execute_query(connection, self.query, self.parameters))

    def _shaped(self, package: str, native: str, made: Any) -> Any:
        """Returns the result in another package's form: by DuckDB if the file can be opened, else from plain
        rows."""
        needed = optional(package)
        with open_to_read(self.store) as connection:
            if not isinstance(connection, duckdb.DuckDBPyConnection):
                return made(needed, *_fetched(execute_query(connection, self.query, self.parameters)))
            QueryRules(connection).check(connection, self.query)
            return getattr(connection.sql(self.query, params=list(self.parameters)), native)()


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

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Exports the rows to other packages, such as polars, by Arrow's C interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        """Returns the first rows as a table, for notebooks."""
        return _html_table(self.names, self.figures)


def execute_query(connection: Readable, query: str, parameters: Sequence[object] = ()) -> Readable:
    """Executes a user's query, which may only read; a running sweep checks queries itself.

    raises  StoreError if it may do more; duckdb.Error if it fails"""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise StoreError(
            f"the query is not text: it cannot be written as UTF-8 at position {error.start}"
        ) from error
    if isinstance(connection, RunningStore):
        return connection.execute_limited(query, parameters)
    if isinstance(connection, duckdb.DuckDBPyConnection):
        QueryRules(connection).check(connection, query)
    return connection.execute(query, list(parameters))


def optional(package: str) -> Any:
    """Imports a package that only notebooks and exports need.

    raises  StoreError with the command that installs it"""
    try:
        return import_module(package)
    except ImportError as error:
        raise StoreError(f"this needs {package}, which is not installed: pip install {package}") from error


def _fetched(result: Readable) -> tuple[list[str], list[tuple[Any, ...]]]:
    return [column[0] for column in result.description or []], result.fetchall()


def _html_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns the first rows as an HTML table; all text in it is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_html_cell(value)}</td>' for value in row)}</tr>" for row in rows[:HTML_ROWS]
    )
    more = f"<caption>{HTML_ROWS} of {len(rows):,} rows</caption>" if len(rows) > HTML_ROWS else ""
    return f"<table>{more}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape("" if value is None else str(value))


def _dicts(names: Sequence[str], rows: Sequence[Sequence[object]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]
