"""Refuses to resume a store with a sweep file whose verdicts would rest on something else.

Keeps: margins, and what an access method is, are fixed before a store's first call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.access.gates import on_this_machine
from harness.config.load import Key, spec_error
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

ONE_SESSION = {"sessions": 1}  # of stores that are older than sessions
KEEP_REPEATS = "the repeats are already assigned to sessions: restore the old number, or use another --store"
KEEP_DECISIONS = (
    "this decision must not change after the data are known: restore the old value, or use another --store"
)
NEW_NAME = "this makes it another access method: restore the old value, or give the method a new name"


def refuse_changes(spec: SweepSpec, source: Path, earlier: Mapping[str, Any]) -> None:
    """Refuses a sweep that differs from the one that the store was begun with.

    source    the sweep file, for errors
    earlier   the sweep of the last run over this store, as JSON; one without models is an import's
    raises    SpecError naming each key that has changed"""
    if "models" not in earlier:
        return
    now = orjson.loads(spec_json(spec))
    problems = list(_changes(("audit",), ONE_SESSION | earlier["audit"], now["audit"], KEEP_DECISIONS))
    if spec.audit.sessions == 1:
        problems = [problem for problem in problems if problem[0] != ("audit", "gap")]
    else:  # other repeats would be dealt to other sessions
        problems += _changes((), {"repeats": earlier["repeats"]}, {"repeats": spec.repeats}, KEEP_REPEATS)
    for model, part in now["models"].items():
        known = earlier["models"].get(model, {}).get("methods", {})
        for name, method in part["methods"].items():
            if name in known:
                place = ("models", model, "methods", name)
                problems += _changes(place, known[name], method, NEW_NAME)
    if problems:
        raise spec_error(source, problems)


def _changes(
    place: Key, was: Mapping[str, Any], now: Mapping[str, Any], remedy: str
) -> Iterator[tuple[Key, str]]:
    """Yields each key below this place that may not change and has."""
    for name, value in now.items():
        before = was.get(name, value)
        if name in TUNABLE or before == value:
            continue
        if name == "engine" and before and value:
            yield from _changes((*place, name), before, value, remedy)
        elif not _same_identity(name, before, value):
            yield (
                (*place, name),
                f"was {before!r} when this store was made and is {value!r} now; {remedy}",
            )


def _same_identity(name: str, before: Any, now: Any) -> bool:
    if name == "base_url":  # the port of a server on this machine may change
        return on_this_machine(before) and on_this_machine(now)
    return name == "emulator" and identity_of(before) == identity_of(now)


def identity_of(emulator: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what makes an emulated model what it is: everything but its quotas, latency and faults."""
    return {
        key: value for key, value in (emulator or {}).items() if key not in ("quotas", "latency", "faults")
    }


def spec_json(spec: SweepSpec) -> str:
    """Returns the sweep as JSON text, with sorted keys."""
    return orjson.dumps(dataclasses.asdict(spec), option=orjson.OPT_SORT_KEYS).decode()
