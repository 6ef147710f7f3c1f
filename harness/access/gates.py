"""Which access methods share a gate, and what its limits are.

A gate belongs to one quota: methods that use the same key at the same address for the same served model (or that the sweep puts into
one quota_group) draw on it together. A local engine has one gate for all that it serves; bots and emulators have one each."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.config.load import Key, method_place, spec_error
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.addresses import is_loopback
from harness.limits.gate import WINDOW_START, GateLimits

_QUOTAS = {
    "requests": "requests_per_minute",
    "tokens": "tokens_per_minute",
    "input_tokens": "input_tokens_per_minute",
    "output_tokens": "output_tokens_per_minute",
}


CEILING = 1024  # a provider that has enough says so, a server of ours tells its queue
CEILING_UNTOLD = 32  # a server on this machine that tells nothing queues in silence
AT_ONCE_HERE = 64  # as many as the sweep says go to a server on this machine at once; more sockets at a time would stall both ends
CEILING_ONE_BY_ONE = 2  # transformers makes one reply at a time: one in work and one at hand


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """A gate to be made.

    name      its one method's, or all of theirs
    account   doors of one account open with one key
    alone     whether all its methods ask for one served model"""

    name: str
    methods: tuple[str, ...]
    account: tuple[object, ...]
    alone: bool
    limits: GateLimits


def group_by_quota(
    spec: SweepSpec, methods: Iterable[str], *, source: Path, told: Container[str] = ()
) -> tuple[GateSpec, ...]:
    """The doors of these methods, in their order.

    told    addresses of servers on this machine that run already and tell their load
    raises  SpecError if methods of one door state different quotas; stating them once is enough"""
    parts = spec.methods()
    shared: dict[tuple[object, ...], list[str]] = {}
    for name in methods:
        shared.setdefault(_quota(name, *parts[name]), []).append(name)
    problems: list[tuple[Key, str]] = []
    doors = []
    for names in shared.values():
        of_door = {name: parts[name][1] for name in names}
        problems += _disagreements(of_door, names[0])
        doors.append(
            GateSpec(
                name=" ".join(names),
                methods=tuple(names),
                account=_account(names[0], of_door[names[0]]),
                alone=len({part.served_name or parts[name][0] for name, part in of_door.items()}) == 1,
                limits=GateLimits(
                    concurrency=concurrency_limit(tuple(of_door.values()), told),
                    at_once=initial_concurrency(tuple(of_door.values())),
                    **{quota: _stated(of_door.values(), key) for quota, key in _QUOTAS.items()},
                ),
            )
        )
    if problems:
        raise spec_error(source, problems)
    return tuple(doors)


def concurrency_limit(parts: Sequence[MethodPart], told: Container[str]) -> int:
    """Calls in flight at most through a door of these methods: as the sweep says, else so many that the window has to find out."""
    if stated := [part.concurrency for part in parts if part.concurrency is not None]:
        return max(stated)
    part = parts[0]
    if part.engine is not None:
        return CEILING_ONE_BY_ONE if part.engine.kind == "transformers" else CEILING
    return CEILING_UNTOLD if on_this_machine(part.base_url) and part.base_url not in told else CEILING


def initial_concurrency(parts: Sequence[MethodPart]) -> int:
    """Calls in flight from the start: whoever states a figure for a server of their own need not wait until it is found."""
    stated = max((part.concurrency for part in parts if part.concurrency is not None), default=0)
    here = parts[0].engine is not None or on_this_machine(parts[0].base_url)
    return max(WINDOW_START, min(stated, AT_ONCE_HERE)) if here else WINDOW_START


def on_this_machine(base_url: str | None) -> bool:
    return base_url is not None and is_loopback(urlsplit(base_url).hostname or "")


def _account(name: str, part: MethodPart) -> tuple[object, ...]:
    """What opens with one key."""
    if part.key_env is None:
        return (name,)
    return (part.key_env, part.provider, part.base_url)


def _quota(name: str, model: str, part: MethodPart) -> tuple[object, ...]:
    """What methods of one quota have in common."""
    if part.bots is not None or part.emulator is not None:
        return (name,)
    if part.engine is not None:
        return (part.engine, part.served_name or model)
    return (part.key_env, part.provider, part.base_url, part.quota_group or part.served_name or model)


def _disagreements(parts: Mapping[str, MethodPart], first: str) -> list[tuple[Key, str]]:
    problems: list[tuple[Key, str]] = []
    for key in _QUOTAS.values():
        known: tuple[str, float] | None = None
        for name, part in parts.items():
            value = getattr(part, key)
            if value is None:
                continue
            if known is not None and value != known[1]:
                why = f"{value:g} here and {known[1]:g} for {known[0]}, which draws on the same quota; say it once, or name a quota_group"
                problems.append((method_place(name, key), why))
            known = known or (name, value)
    return problems


def _stated(parts: Iterable[MethodPart], key: str) -> float | None:
    return next((value for part in parts if (value := getattr(part, key)) is not None), None)
