"""Reads files that other programs wrote; every failure is one SpecError with the file and the place in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import SpecError


def json_value(path: Path) -> object:
    """Returns the file's value; NaN and Infinity, which clembench writes, are numbers.

    raises  SpecError if it is not UTF-8, not JSON, or cannot be read"""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise SpecError(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from error
    except RecursionError as error:
        raise SpecError(f"{path}: not usable: it is nested too deeply") from error


def read_text(path: Path) -> str:
    """Returns the whole text.

    raises  SpecError if it is not UTF-8 or cannot be read"""
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: byte {error.start}: not UTF-8 text") from error


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
