"""Reads TOML into a SweepSpec, or raises one SpecError with every problem: its line, its key, and the remedy.

Keeps: what it returns need not be checked again. Where some keys are wrong, the rest is checked too, without
the problems that follow from a wrong key."""

from __future__ import annotations

import copy
import dataclasses
import json
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.config.contradictions import contradictions, emulation_contradictions, unusable_names
from harness.config.problems import Key, Problem, problem_lines, problem_text, suggest, sweep_text
from harness.config.sweep import (
    UNSET,
    AuditPart,
    BotPart,
    BudgetPart,
    EnginePart,
    ExpectPart,
    GamePart,
    MethodPart,
    ModelPart,
    PairPart,
    RetryPart,
    SweepSpec,
)
from harness.core.emulation import Defects, Emulation, Faults, Latency, Quotas
from harness.core.errors import SpecError

Check = Callable[[SweepSpec], Iterable[Problem]]
_EMULATION: Mapping[str, type] = {"quotas": Quotas, "latency": Latency, "faults": Faults, "defects": Defects}
# In place of a part that is missing or wholly wrong, while the rest is checked.
_PLACEHOLDERS: Mapping[str, object] = {
    "name": "sweep",
    "games": {"": {}},
    "models": {"": {"methods": {"": {"bots": {}}}}},
}
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
# Keys of a method: a problem of the method as a whole is about them.
_WHERE = ("base_url", "engine", "bots", "emulator", "provider")
_PRICES = ("price_input_usd_per_mtok", "price_output_usd_per_mtok", "price_cached_usd_per_mtok")
_OF_METHOD = 4  # parts of the key of a method's table


def no_more(spec: SweepSpec) -> Iterable[Problem]:
    """Finds nothing: the check of who asks for no other."""
    return ()


def load_sweep(path: Path, *, known_games: Collection[str], check: Check = no_more) -> SweepSpec:
    """Returns the sweep of this file.

    known_games   the names that [games.NAME] may use
    check         finds further problems of a sweep, which are reported with the others
    raises        SpecError"""
    return parse_sweep(sweep_text(path), source=str(path), known_games=known_games, check=check)


def parse_sweep(text: str, *, source: str, known_games: Collection[str], check: Check = no_more) -> SweepSpec:
    """Returns the sweep of this text; source is its name in errors."""
    try:
        raw = tomllib.loads(text)
        return read_sweep(raw, source=source, known_games=known_games, text=text, check=check)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{source}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise SpecError(
            f"{source}: lists or tables stand in each other too deeply; no key needs that"
        ) from error


def read_sweep(
    raw: Mapping[str, object],
    *,
    source: str,
    known_games: Collection[str],
    text: str = "",
    check: Check = no_more,
) -> SweepSpec:
    """Returns the sweep of these tables.

    source, text   name and text of the file, for errors with line numbers; text is empty if there is no
                   file
    check          as that of load_sweep"""
    _unset(raw)
    spec, problems, removed = _valid_part(raw)
    problems += [one for one in unusable_names(spec) if not _is_within(one[0], removed)]
    for find in (lambda spec: contradictions(spec, known_games), check):
        found = [problem for problem in find(spec) if not _follows(problem[0], removed)]
        problems += found
        removed = removed | {key: False for key, _ in found}
    if problems:
        raise SpecError(problem_lines(source, text, problems))
    return spec


def _valid_part(raw: Mapping[str, object]) -> tuple[SweepSpec, list[Problem], dict[Key, bool]]:
    """Returns the sweep of the keys that are valid, the problems of the others, and what was removed for it:
    key -> whether its name is not known.

    A part that a required key is missing from is removed as a whole, and so is one that is empty then."""
    valid = copy.deepcopy(dict(raw))
    problems: list[Problem] = []
    removed: dict[Key, bool] = {}
    while True:
        try:  # as JSON: strict, and lists are lists
            spec = _validator().validate_json(json.dumps(valid, default=str), strict=True)
        except ValidationError as error:
            gone: dict[Key, bool] = {}
            for one in error.errors():
                key = _own_key(one["loc"])
                if not any(known[: len(key)] == key for known in removed):  # else it lacks what was removed
                    problems.append((key, partial(_plain, one)))
                gone[key[:-1] if one["type"] in _MISSING and len(key) > 1 else key] = one["type"] in _UNKNOWN
            for key in sorted(gone, key=len, reverse=True):  # what is inside a part before the part
                _remove(valid, key)
            removed |= gone
        else:
            return spec, problems, removed


@cache
def _validator() -> TypeAdapter[SweepSpec]:
    """Returns what checks sweeps; to make it takes a tenth of a second."""
    return TypeAdapter(SweepSpec)


def _remove(tables: dict[str, Any], key: Key) -> None:
    """Removes what is at this key; a part that every sweep has is replaced."""
    if not key:  # the sweep as a whole cannot be read
        tables.clear()
        tables.update(copy.deepcopy(dict(_PLACEHOLDERS)))
        return
    if len(key) == 1 and key[0] in _PLACEHOLDERS:
        tables[str(key[0])] = copy.deepcopy(_PLACEHOLDERS[str(key[0])])
        return
    inner: Any = tables
    for part in key[:-1]:
        inner = inner[part]
    if isinstance(inner, list):
        inner.clear()
    else:
        inner.pop(key[-1], None)


def _is_within(key: Key, removed: Collection[Key]) -> bool:
    return any(key[:length] in removed for length in range(len(key) + 1))


def _follows(key: Key, removed: Mapping[Key, bool]) -> bool:
    """Returns whether a problem at this key can be due to what was removed or is reported already.

    removed   key -> whether its name is not known"""
    if _is_within(key, removed):
        return True
    if key[0] in ("audit", "pairs"):
        return any(map(_can_be_named, removed))
    if key[0] != "models" or key[_OF_METHOD:] not in ((), ("provider",), ("base_url",)):
        return False
    of_method = {
        one[_OF_METHOD]: unknown
        for one, unknown in removed.items()
        if len(one) > _OF_METHOD and one[:_OF_METHOD] == key[:_OF_METHOD]
    }
    return any(unknown or name in (*_WHERE, *_PRICES) for name, unknown in of_method.items())


def _can_be_named(one: Key) -> bool:
    """Returns whether audit and pairs can name this part, or one that it holds."""
    return one[0] in ("games", "models") and (
        len(one) <= 2 or (len(one) <= _OF_METHOD and one[2] == "methods")
    )


def parse_emulation(settings: Sequence[str]) -> Emulation:
    """Returns the settings of `lightbulb emulate`.

    settings   KEY=VALUE each; keys are dotted as in quotas.requests=300, values are TOML; other values are
               text"""
    try:
        return _emulation(settings)
    except RecursionError as error:
        raise SpecError(
            "settings: lists or tables stand in each other too deeply; no key needs that"
        ) from error


def _emulation(settings: Sequence[str]) -> Emulation:
    lines = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(f"{setting!r} is not a setting; write KEY=VALUE, such as quotas.requests=300")
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            value = json.dumps(value)
        lines.append(f"{name} = {value}")
    try:
        raw = tomllib.loads("\n".join(lines))
        emulation = TypeAdapter(Emulation).validate_json(json.dumps(raw, default=str), strict=True)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"settings: {error}; write KEY=VALUE, such as quotas.requests=300") from error
    except ValidationError as error:
        problems = (
            (_own_key(e["loc"]), _plain(e, ("models", "", "methods", "", "emulator"))) for e in error.errors()
        )
        raise SpecError(
            "\n".join(f"{'.'.join(map(str, key))}: {problem}" for key, problem in problems)
        ) from error
    found = [
        f"{'.'.join(map(str, key))}: {problem_text(problem)}"
        for key, problem in emulation_contradictions(emulation, False)
    ]
    if found:
        raise SpecError("\n".join(found))
    return emulation


def _unset(raw: Mapping[str, Any]) -> None:
    """Replaces the temperature "unset" by None, which TOML cannot express."""
    tables = raw.get("models")
    for model in tables.values() if isinstance(tables, dict) else ():
        methods = model.get("methods") if isinstance(model, dict) else None
        for method in methods.values() if isinstance(methods, dict) else ():
            if isinstance(method, dict) and method.get("temperature") == UNSET:
                method["temperature"] = None


def _own_key(location: Sequence[str | int]) -> Key:
    """Returns the location without pydantic's mark of a dict's key."""
    return tuple(part for part in location if part != "[key]")


def _plain(error: Mapping[str, Any], within: Key = ()) -> str:
    kind, context = error["type"], error.get("ctx", {})
    last = str(error["loc"][-1]) if error["loc"] else ""
    if kind in _UNKNOWN:
        return f"unknown key{suggest(last, _keys_at(within + _own_key(error['loc'][:-1])))}"
    if kind in _MISSING:
        return "is required and missing"
    if kind == "too_short" and not error["input"]:
        return "is empty; it needs at least one entry"
    if kind == "literal_error":
        return f"is {error['input']!r}; may be {context['expected']}"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _keys_at(key: Key) -> list[str]:
    """Returns the keys that a user may write in the table at this place."""
    tables: Mapping[str, type] = {
        "games": GamePart,
        "retry": RetryPart,
        "audit": AuditPart,
        "budget": BudgetPart,
        "pairs": PairPart,
    }
    if not key:
        part: type = SweepSpec
    elif key[0] == "models":
        inside: Mapping[str, type] = {
            "engine": EnginePart,
            "bots": BotPart,
            "emulator": Emulation,
            "expect": ExpectPart,
            "budget": BudgetPart,
            **_EMULATION,
        }
        part = ModelPart if len(key) <= 2 else MethodPart if len(key) <= 4 else inside[str(key[-1])]
    else:
        part = tables[str(key[0])]
    return [field.name for field in dataclasses.fields(part)]
