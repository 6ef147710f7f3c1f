"""Bounds the values of a reader's query before the run reads them into its memory.

Knows the serialised form of a query. Keeps: no value of a result is longer than VALUE_BYTES_MAX, and the
functions that make a long value of a short one have a written count. Does not promise to bound what DuckDB
computes on the way: joins and aggregates meet its memory limit, other expressions do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from harness.core.errors import StoreError

VALUE_BYTES_MAX = 8 << 20  # a reply has at most 8 MB; the first rows of a result are read eight at a time
COUNT_MAX = 10_000  # wide enough for a chart or a column of text
GROWING = frozenset({"array_resize", "list_resize", "lpad", "repeat", "rpad"})  # the second argument counts
_LONG_TYPES = ("VARCHAR", "JSON", "BIT", "BIGNUM", "STRUCT", "MAP", "UNION", "VARIANT")


def refuse_uncounted(tree: object) -> None:
    """Returns if every function that makes long values has a written count up to COUNT_MAX.

    tree    a query as json_serialize_sql gives it
    raises  StoreError"""
    for name, count in _counts(tree):
        if count is None or count > COUNT_MAX:
            raise StoreError(
                f"while a run uses the store, the second argument of {name} must be a number up to {COUNT_MAX:,},"
                " written in the query: larger values could take the run's memory"
            )


def _counts(tree: object) -> Iterator[tuple[str, int | None]]:
    """Yields (name, count) of every function that makes long values; None: the count is computed."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        match node:
            case {"function_name": str(name), "arguments": list(arguments)} if name.lower() in GROWING:
                match arguments[1:2]:
                    case [{"expression": {"literal": {"kind": "INTEGER", "text": str(digits)}}}]:
                        yield name, int(digits)
                    case _:
                        yield name, None
                nodes += arguments
            case dict():
                nodes += node.values()
            case list():
                nodes += node


def bounded(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object]) -> str:
    """Returns a query with the same result that fails at the first value longer than VALUE_BYTES_MAX.

    A query that cannot stand in another one is returned as it is: it fails with an error of its own."""
    text = _without_semicolon(query)
    try:
        planned = connection.execute(f"SELECT * FROM (\n{text}\n) LIMIT 0", list(parameters))
    except (duckdb.ParserException, duckdb.BinderException):
        return query
    columns = [(str(column[0]), str(column[1])) for column in planned.description or []]
    if not any(_size(kind, "") for _, kind in columns):
        return query
    values = ", ".join(_bounded_value(f"c{number}", *column) for number, column in enumerate(columns))
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    return f"SELECT {values} FROM (\n{text}\n) AS answer({names})"


def _bounded_value(column: str, name: str, kind: str) -> str:
    alias = '"' + name.replace('"', '""') + '"'
    if (size := _size(kind, column)) is None:
        return f"{column} AS {alias}"
    told = f"a value is longer than {VALUE_BYTES_MAX >> 20} MiB; select a part of it"
    return f"CASE WHEN {size} > {VALUE_BYTES_MAX} THEN error('{told}') ELSE {column} END AS {alias}"


def _size(kind: str, column: str) -> str | None:
    """Returns the expression of a value's bytes; None for types whose values are short."""
    if kind == "BLOB":
        return f"octet_length({column})"
    if kind.startswith(_LONG_TYPES) or kind.endswith("]"):
        return f"strlen(CAST({column} AS VARCHAR))"
    return None


def _without_semicolon(query: str) -> str:
    """Returns the query without what ends it: semicolons and comments after them."""
    text = query.encode()
    for start, kind in reversed(duckdb.tokenize(query)):
        if kind == duckdb.token_type.comment:
            continue
        if text[start : start + 1] != b";":
            break
        text = text[:start]
    return text.decode()
