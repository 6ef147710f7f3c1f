"""Dataclasses as plain data for JSON. Knows no field of any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite


def as_json(value: object) -> object:
    """Returns the value as JSON can write it: dicts for dataclasses, lists for tuples, None for nan and
    inf."""
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [as_json(part) for part in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value
