"""Refuses to resume a store with a sweep file whose verdicts would rest on something else.

Keeps: margins, and what an access method is, are fixed before a store's first call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from harness.access.gates import on_this_machine
from harness.config.problems import Key, spec_error
from harness.config.sweep import SweepSpec

# These keys of a method may change from run to run: how fast it is called, at what price, with which key. All
# other keys make it the method that it is.
TUNABLE = frozenset(
    {
        "concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "input_tokens_per_minute",
        "output_tokens_per_minute",
        "requests_per_second_max",
        "quota_group",
        "budget",
        "allow_plain_http",
        "key_env",
        "price_input_usd_per_mtok",
        "price_output_usd_per_mtok",
        "price_cached_usd_per_mtok",
        "reply_bytes_max",
        "allow_dropped",
        "restarts_max",
        "env",
        "good_ends",
        "lists_models",
        "expect",
    }
)

_PLAYERS = frozenset({"bots", "emulator"})
PACE_OF_PLAYERS = frozenset({"quotas", "latency", "latency_s", "faults"})  # keys of these
_PARTS = _PLAYERS | {"engine", "defects"}  # tables of which each key is a setting of its own
ONE_SESSION = {"sessions": 1}  # of stores that are older than sessions
KEEP_REPEATS = "the repeats are already assigned to sessions: restore the old number, or use another --store"
KEEP_DECISIONS = (
    "this decision must not change after the data are known: restore the old value, or use another --store"
)
NEW_NAME = "this makes it another access method: restore the old value, or give the method a new name"


class ChangedKey(NamedTuple):
    """A key of a sweep file with two values that make two different things of it."""

    key: Key
    before: Any
    value: Any


def refuse_changes(spec: SweepSpec, source: Path, earlier: Mapping[str, Any]) -> None:
    """Refuses a sweep that differs from the one that the store was begun with.

    source    the sweep file, for errors
    earlier   the sweep of the last run over this store, as JSON; one without models is an import's
    raises    SpecError naming each key that has changed"""
    if "models" not in earlier:
        return
    now = orjson.loads(spec_json(spec))
    problems = list(_problems(changed_decisions(earlier, now), KEEP_DECISIONS))
    if spec.audit.sessions > 1:  # other repeats would be dealt to other sessions
        problems += _problems(
            changed_keys((), {"repeats": earlier["repeats"]}, {"repeats": spec.repeats}), KEEP_REPEATS
        )
    problems += _problems(changed_methods(earlier, now), NEW_NAME)
    if problems:
        raise spec_error(source, problems)


def _problems(changes: Iterable[ChangedKey], remedy: str) -> Iterator[tuple[Key, str]]:
    for key, before, value in changes:
        yield (
            key,
            f"was {shown_value(before)} when this store was made and is {shown_value(value)} now; {remedy}",
        )


def changed_decisions(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[ChangedKey]:
    """Returns the decisions of an audit that differ between two sweeps, which are given as JSON."""
    changes = list(changed_keys(("audit",), ONE_SESSION | earlier["audit"], now["audit"]))
    one_session = now["audit"].get("sessions", 1) == 1
    return [change for change in changes if not (one_session and change.key == ("audit", "gap"))]


def changed_methods(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[ChangedKey]:
    """Yields the keys of access methods that have one name in both sweeps and are two methods."""
    for model, part in now["models"].items():
        known = earlier["models"].get(model, {}).get("methods", {})
        for name, method in part["methods"].items():
            if name in known:
                yield from changed_keys(("models", model, "methods", name), known[name], method)


def changed_keys(place: Key, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[ChangedKey]:
    """Yields each key below this place that may not change and has: the innermost one, where a table has
    changed in a few keys."""
    for name, value in now.items():
        before = was.get(name, value)  # a key that is younger than the store has not changed
        if name in TUNABLE or before == value:
            continue
        if name in _PARTS and before and value:
            kept = PACE_OF_PLAYERS if name in _PLAYERS else frozenset()
            inner = {key: one for key, one in value.items() if key not in kept}
            yield from changed_keys((*place, name), before, inner)
        elif name == "headers":
            names = dict.fromkeys((*before, *value))
            yield from changed_keys(
                (*place, name), *({key: one.get(key) for key in names} for one in (before, value))
            )
        elif name != "base_url" or not (on_this_machine(before) and on_this_machine(value)):
            # the port of a server on this machine may change
            yield ChangedKey((*place, name), before, value)


def shown_value(value: Any) -> str:
    """Returns a value of a sweep file for a message; a table is not spelled out."""
    return "not set" if value is None else "set" if isinstance(value, Mapping) else repr(value)


def spec_json(spec: SweepSpec) -> str:
    """Returns the sweep as JSON text, with sorted keys."""
    return orjson.dumps(dataclasses.asdict(spec), option=orjson.OPT_SORT_KEYS).decode()
