"""What a verdict rests on is fixed before the first call: a store that is begun refuses another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.access.gates import on_this_machine
from harness.config.load import Key, spec_error
from harness.config.sweep import SweepSpec

# How hard a method is driven may change from run to run; all else makes it what it is.
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
        "expect",
    }
)


def refuse_changes(spec: SweepSpec, source: Path, earlier: Mapping[str, Any]) -> None:
    """What a verdict rests on is fixed before the first call: the audit's margins, and what an access method
    is.

    earlier   the spec of the last run over this store; one without models is an import's
    raises    SpecError naming each key that has changed since"""
    if "models" not in earlier:
        return
    problems: list[tuple[Key, str]] = []

    def compare(key: Key, was: Mapping[str, Any], now: Mapping[str, Any], remedy: str) -> None:
        for name, value in now.items():
            if name == "engine" and value and was.get(name):
                compare((*key, name), was[name], value, remedy)
                continue
            moved = (
                name == "base_url" and on_this_machine(was.get(name)) and on_this_machine(value)
            )  # a port is no identity
            if name == "emulator":
                moved = identity_of(was.get(name)) == identity_of(value)
            if name not in TUNABLE and not moved and was.get(name, value) != value:
                problems.append(
                    (
                        (*key, name),
                        f"was {was[name]!r} when this store was begun and is {value!r} now; {remedy}",
                    )
                )

    now = orjson.loads(spec_json(spec))
    compare(
        ("audit",),
        earlier["audit"],
        now["audit"],
        "margins chosen after the data prove nothing: keep it, or take another --store",
    )
    for model, part in now["models"].items():
        for way, method in part["methods"].items():
            before = earlier["models"].get(model, {}).get("methods", {}).get(way)
            if before is not None:
                compare(
                    ("models", model, "methods", way),
                    before,
                    method,
                    "that is another access method: give it a name of its own",
                )
    if problems:
        raise spec_error(source, problems)


def identity_of(emulator: Mapping[str, Any] | None) -> dict[str, Any]:
    """What makes an emulated model what it is: not how fast it answers, how often, or how often not."""
    return {
        key: value for key, value in (emulator or {}).items() if key not in ("quotas", "latency", "faults")
    }


def spec_json(spec: SweepSpec) -> str:
    return orjson.dumps(dataclasses.asdict(spec), option=orjson.OPT_SORT_KEYS).decode()
