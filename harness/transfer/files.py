"""Reads files that other programs wrote; every failure is one SpecError with the file and the place in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_text

JSON_BYTES_MAX = 256 * MIB  # a transcript has less than 1 MiB; parsed, a file takes ten times its size
REMEDY = "name another file"


def json_value(path: Path) -> object:
    """Returns the file's value; NaN and Infinity, which clembench writes, are numbers.

    raises  SpecError if it is not UTF-8, not JSON, or cannot be read"""
    try:
        return json.loads(read_text(path, bytes_max=JSON_BYTES_MAX, remedy=REMEDY))
    except json.JSONDecodeError as error:
        raise SpecError(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from error
    except RecursionError as error:
        raise SpecError(f"{path}: not usable: it is nested too deeply") from error


def json_object(path: Path) -> Mapping[str, object]:
    """Returns the object in a file, which must hold one; see json_value."""
    value = json_value(path)
    if not isinstance(value, dict):
        raise SpecError(f"{path}: contains no JSON object")
    return value


def as_object(value: object) -> Mapping[str, object]:
    """Returns the value if it is a JSON object, else an empty one: for parts that may be missing."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Returns the value if it is a JSON list, else an empty one: for parts that may be missing."""
    return value if isinstance(value, list) else []
