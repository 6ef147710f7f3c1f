"""Groups access methods by quota, and says what the limits of each group's gate are.

A gate belongs to one quota: methods that use the same key at the same address for the same served model, or
that the sweep puts into one quota_group, share it. A local engine has one gate for all that it serves; every
bot and every emulator has one of its own."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.config.problems import Key, method_place, spec_error
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.addresses import is_loopback
from harness.limits.gate import WINDOW_START, GateLimits

_QUOTAS = {
    "requests": "requests_per_minute",
    "tokens": "tokens_per_minute",
    "input_tokens": "input_tokens_per_minute",
    "output_tokens": "output_tokens_per_minute",
}


# Calls in flight at most, where the sweep file does not say. All four are choices of ours.
CONCURRENCY_MAX = 1024  # the window stays below: a provider refuses, and a server of ours reports its queue
# for a server on this machine that does not report its load: its queue grows unseen
CONCURRENCY_MAX_SILENT = 32
CONCURRENCY_MAX_SERIAL = 2  # for transformers, which makes one reply at a time: one in work, one that waits
AT_ONCE_LOCAL = 64  # from the first moment, at most: more new sockets at a time stall both ends


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """A gate to be made.

    name      the names of its methods, with spaces between
    account   equal for gates of one account, that is, of one key at one address
    alone     whether all its methods ask for the same served model"""

    name: str
    methods: tuple[str, ...]
    account: tuple[object, ...]
    alone: bool
    limits: GateLimits


def group_by_quota(
    spec: SweepSpec, methods: Iterable[str], *, source: Path, reporting: Container[str] = ()
) -> tuple[GateSpec, ...]:
    """Returns the gates of these methods, in their order.

    reporting  addresses of servers on this machine that run already and report their load
    raises     SpecError if methods of one gate state different quotas; to state them once is enough"""
    parts = spec.methods()
    shared: dict[tuple[object, ...], list[str]] = {}
    for name in methods:
        shared.setdefault(_quota(name, *parts[name]), []).append(name)
    problems: list[tuple[Key, str]] = []
    gates = []
    for names in shared.values():
        of_gate = {name: parts[name][1] for name in names}
        problems += _disagreements(of_gate)
        gates.append(
            GateSpec(
                name=" ".join(names),
                methods=tuple(names),
                account=_account(names[0], of_gate[names[0]]),
                alone=len({part.served_name or parts[name][0] for name, part in of_gate.items()}) == 1,
                limits=GateLimits(
                    concurrency=concurrency_limit(tuple(of_gate.values()), reporting),
                    at_once=initial_concurrency(tuple(of_gate.values())),
                    patience_s=spec.retry.patience_s,
                    **{quota: _stated(of_gate.values(), key) for quota, key in _QUOTAS.items()},
                ),
            )
        )
    if problems:
        raise spec_error(source, problems)
    return tuple(gates)


def concurrency_limit(parts: Sequence[MethodPart], reporting: Container[str]) -> int:
    """Returns how many calls may be in flight through the gate of these methods: what the sweep says, else a
    number that leaves it to the window to find out.

    reporting  as in group_by_quota"""
    if stated := [part.concurrency for part in parts if part.concurrency is not None]:
        return max(stated)
    part = parts[0]
    if part.engine is not None:
        return CONCURRENCY_MAX_SERIAL if part.engine.kind == "transformers" else CONCURRENCY_MAX
    return (
        CONCURRENCY_MAX_SILENT
        if on_this_machine(part.base_url) and part.base_url not in reporting
        else CONCURRENCY_MAX
    )


def initial_concurrency(parts: Sequence[MethodPart]) -> int:
    """Returns how many calls may be in flight at the start: the window, or what the sweep says of a server on
    this machine."""
    stated = max((part.concurrency for part in parts if part.concurrency is not None), default=0)
    local = parts[0].engine is not None or on_this_machine(parts[0].base_url)
    return max(WINDOW_START, min(stated, AT_ONCE_LOCAL)) if local else WINDOW_START


def on_this_machine(base_url: str | None) -> bool:
    return base_url is not None and is_loopback(urlsplit(base_url).hostname or "")


def _account(name: str, part: MethodPart) -> tuple[object, ...]:
    """Returns what gates of one account have in common."""
    if part.key_env is None:
        return (name,)
    return (part.key_env, part.provider, part.base_url, *sorted(part.headers.items()))


def _quota(name: str, model: str, part: MethodPart) -> tuple[object, ...]:
    """Returns what methods of one quota have in common."""
    if part.bots is not None or part.emulator is not None:
        return (name,)
    if part.engine is not None:
        return (part.engine, part.served_name or model)
    group = part.quota_group or part.served_name or model
    return (part.key_env, part.provider, part.base_url, *sorted(part.headers.items()), group)


def _disagreements(parts: Mapping[str, MethodPart]) -> list[tuple[Key, str]]:
    problems: list[tuple[Key, str]] = []
    for key in _QUOTAS.values():
        stated = [(name, value) for name, part in parts.items() if (value := getattr(part, key)) is not None]
        for name, value in stated[1:]:
            other, first = stated[0]
            if value != first:
                why = f"{value:g} here, but {first:g} for {other}, which shares the quota"
                problems.append(
                    (
                        method_place(name, key),
                        f"{why}; state it once, or give the methods different names in quota_group",
                    )
                )
    return problems


def _stated(parts: Iterable[MethodPart], key: str) -> float | None:
    return next((value for part in parts if (value := getattr(part, key)) is not None), None)
