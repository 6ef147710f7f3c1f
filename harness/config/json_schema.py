"""Makes the JSON Schema of a sweep file, for editors, from the classes that the file is read into.

Knows the classes and takes the explanations from their docstrings. Does not promise every check of load.py:
it does not express contradictions between keys."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

from pydantic import TypeAdapter

from harness.config.sweep import UNSET, SweepSpec
from harness.core.vocabulary import GAME_LIBRARIES

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TERM = re.compile(r"((?:\w+, )*\w+)(?: +(.*))?$")  # at the docstring's left margin


def sweep_schema(*, known_games: Collection[str]) -> dict[str, object]:
    """Returns the schema; known_games are the names that [games.NAME] may use."""
    schema = TypeAdapter(SweepSpec).json_schema()
    classes = {part.__name__: part for part in _parts(SweepSpec)}
    for name, made in [("SweepSpec", schema), *schema["$defs"].items()]:
        made.pop("title", None)
        part = classes.get(name)
        if part is None:
            continue
        explanations = field_explanations(part)
        made["description"] = (inspect.getdoc(part) or "").split("\n\n", 1)[0]
        for field, described in made["properties"].items():
            described.pop("title", None)
            if field in explanations:
                described["description"] = explanations[field]
    schema["$defs"]["MethodPart"]["properties"]["temperature"]["anyOf"].append({"const": UNSET})
    others = {"pattern": f"^({'|'.join(GAME_LIBRARIES)}):."}
    schema["properties"]["games"]["propertyNames"] = {"anyOf": [{"enum": list(known_games)}, others]}
    return {"$schema": DRAFT, "title": "A sweep of lightbulb", **schema}


def field_explanations(part: type) -> dict[str, str]:
    """Returns the explanations of fields in the class's docstring, by field; lines that continue one are
    indented.

    inspect.getdoc removes the common indentation: from Python 3.13 on the compiler removes it too."""
    names = {field.name for field in fields(part)}
    explanations: dict[str, str] = {}
    current: list[str] = []
    for line in (inspect.getdoc(part) or "").splitlines()[1:]:
        term = _TERM.match(line)
        if term and set(term[1].split(", ")) <= names:
            current, text = term[1].split(", "), term[2] or ""
        else:
            text = line.strip()
        for name in current:
            explanations[name] = f"{explanations.get(name, '')} {text}".strip()
    return explanations


def _parts(part: type) -> Iterator[type]:
    """Yields the class and every dataclass in its fields."""
    yield part
    for hint in get_type_hints(part).values():
        for inner in _dataclasses(hint):
            yield from _parts(inner)


def _dataclasses(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from _dataclasses(argument)
