"""Encodes rows of any DuckDB type as lines of JSON, and decodes them to the same Python values.

Knows the Python values that DuckDB gives. Keeps: numbers, texts and truth values are plain JSON; any other
value, and a number that JSON cannot express, is an object with the name of its type. Chunks hold columns, so
that a reader that wants columns need not turn them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

import orjson

INT64 = range(-(2**63), 2**64)  # what orjson takes
PLAIN_TYPES = frozenset(
    {
        "BIGINT", "BOOLEAN", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT",
        "UTINYINT", "VARCHAR",
    }
)  # fmt: skip
FLOAT_TYPES = frozenset({"DOUBLE", "FLOAT"})

_TO_TEXT: dict[type, tuple[str, Callable[[Any], str]]] = {
    bytes: ("bytes", lambda value: b64encode(value).decode()),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("microseconds", lambda value: str(value // timedelta(microseconds=1))),
}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "float": float,
    "integer": int,
    "bytes": b64decode,
    "decimal": Decimal,
    "uuid": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "microseconds": lambda text: timedelta(microseconds=int(text)),
}


def encode_rows(rows: Sequence[tuple[Any, ...]], types: Sequence[str]) -> bytes:
    """Returns one line for these rows.

    types   DuckDB's name of each column's type"""
    columns: list[Sequence[Any]] = []
    tagged = []
    for number, (column, kind) in enumerate(zip(zip(*rows, strict=True), types, strict=True)):
        plain = kind in PLAIN_TYPES or (
            kind in FLOAT_TYPES and all(value is None or isfinite(value) for value in column)
        )
        columns.append(column if plain else [_tagged(value) for value in column])
        if not plain:
            tagged.append(number)
    return orjson.dumps({"columns": columns, "tagged": tagged}) + b"\n"


def decode_columns(line: dict[str, Any]) -> list[list[Any]]:
    """Returns the columns of one decoded line."""
    columns: list[list[Any]] = line["columns"]
    for number in line["tagged"]:
        columns[number] = [_untagged(value) for value in columns[number]]
    return columns


def _tagged(value: object) -> object:
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if value in INT64 else {"integer": str(value)}
        case float():
            return value if isfinite(value) else {"float": str(value)}
        case list():
            return [_tagged(entry) for entry in value]
        case tuple():
            return {"tuple": [_tagged(entry) for entry in value]}
        case dict():
            return {"map": [[_tagged(key), _tagged(entry)] for key, entry in value.items()]}
    name, to_text = _TO_TEXT[type(value)]
    return {name: to_text(value)}


def _untagged(value: Any) -> Any:
    match value:
        case list():
            return [_untagged(entry) for entry in value]
        case {"tuple": entries}:
            return tuple(map(_untagged, entries))
        case {"map": pairs}:
            return {_untagged(key): _untagged(entry) for key, entry in pairs}
        case dict():
            ((name, text),) = value.items()
            return _FROM_TEXT[name](text)
    return value
