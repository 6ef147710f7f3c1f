"""The JSON Schema of a sweep file, for editors: made from the very classes that the file is read into, so that the two cannot differ.

Knows the classes and the words in their docstrings; promises no more than load.py checks, which also knows contradictions between keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

from pydantic import TypeAdapter

from harness.config.sweep import UNSET, SweepSpec

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TERM = re.compile(r" {4}((?:\w+, )*\w+)(?: +(.*))?$")


def sweep_schema(*, known_games: Sequence[str]) -> dict[str, object]:
    """What a sweep file may hold; known_games are the names that [games.NAME] may use."""
    schema = TypeAdapter(SweepSpec).json_schema()
    classes = {part.__name__: part for part in _parts(SweepSpec)}
    for name, made in [("SweepSpec", schema), *schema["$defs"].items()]:
        made.pop("title", None)
        part = classes.get(name)
        if part is None:
            continue
        words = explained(part)
        made["description"] = (part.__doc__ or "").split("\n\n", 1)[0]
        for field, described in made["properties"].items():
            described.pop("title", None)
            if field in words:
                described["description"] = words[field]
    schema["$defs"]["MethodPart"]["properties"]["temperature"]["anyOf"].append({"const": UNSET})
    schema["properties"]["games"]["propertyNames"] = {"enum": list(known_games)}
    return {"$schema": DRAFT, "title": "A sweep of lightbulb", **schema}


def explained(part: type) -> dict[str, str]:
    """Field -> what the class's docstring says of it, for the fields that it speaks of; lines that go on are set deeper."""
    names = {field.name for field in fields(part)}
    words: dict[str, str] = {}
    spoken_of: list[str] = []
    for line in (part.__doc__ or "").splitlines()[1:]:
        begun = _TERM.match(line)
        if begun and set(begun[1].split(", ")) <= names:
            spoken_of, told = begun[1].split(", "), begun[2] or ""
        else:
            told = line.strip()
        for name in spoken_of:
            words[name] = f"{words.get(name, '')} {told}".strip()
    return words


def _parts(part: type) -> Iterator[type]:
    """The class and every dataclass that its fields hold."""
    yield part
    for hint in get_type_hints(part).values():
        for inner in _dataclasses(hint):
            yield from _parts(inner)


def _dataclasses(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from _dataclasses(argument)
