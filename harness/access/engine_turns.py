"""Divides the lanes of a session into turns where their engines do not fit on this machine together.

Knows which lanes need which servers and what a server is estimated to take; starts nothing. Keeps: the order
of the sweep file; a lane without an engine plays in the first turn; an engine that would not fit alone gets
a turn of its own. Does not promise: that the estimate is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.local.engine import EngineSpec
from backends.local.engine_kinds import engine_kind
from backends.local.machine import this_machine
from backends.local.memory import free_memory_gb, server_memory_gb
from harness.access.engine_servers import engine_users, weights_place

if TYPE_CHECKING:
    from pathlib import Path

    from harness.config.sweep import Seating, SweepSpec

MEMORY_SHARE = 0.8  # of the free memory; the rest is for estimates that are too low, and for other programs

Server = tuple[EngineSpec, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The limits of what engines take together.

    memory_gb  in 10⁹ bytes
    engines    how many may run at the same time"""

    memory_gb: float
    engines: int


def this_capacity(engines_max: int | None) -> Capacity:
    """Returns what is free on this machine now: MEMORY_SHARE of the free memory, and one engine for each core
    unless the user states a number. Engines on a GPU share its memory as their flags say, so only the stated
    number limits them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if this_machine().gpu:
        return Capacity(memory_gb=float("inf"), engines=engines_max or 1_000)
    return Capacity(memory_gb=MEMORY_SHARE * free_memory_gb(), engines=engines_max or cores)


def memory_of(server: Server) -> float:
    """Returns the estimated memory of a server, in 10⁹ bytes."""
    spec, _ = server
    return server_memory_gb(spec, engine_kind(spec.kind, this_machine()))


def servers_of_lanes(
    spec: SweepSpec, seatings: Mapping[str, Seating], *, source: Path
) -> dict[str, frozenset[Server]]:
    """Returns lane -> the servers that its methods need, those behind emulators included.

    seatings  the lanes by name"""
    methods = spec.methods()
    of_method = {
        name: server
        for server, names in engine_users(methods, lambda text: weights_place(text, source)).items()
        for name in names
    }

    def engine_of(name: str) -> str:
        emulation = methods[name][1].emulator
        return emulation.behind if emulation is not None and emulation.behind else name

    return {
        lane: frozenset(
            of_method[engine] for name in seating.methods if (engine := engine_of(name)) in of_method
        )
        for lane, seating in seatings.items()
    }


def divide(
    lanes: Sequence[str],
    servers: Mapping[str, frozenset[Server]],
    capacity: Capacity,
    memory: Callable[[Server], float] = memory_of,
) -> tuple[tuple[str, ...], ...]:
    """Returns the lanes in turns, each in the order given. A lane joins the first turn that has room.

    servers   lane -> the servers that it needs
    capacity  of this machine
    memory    server -> its estimated memory"""
    turns: list[list[str]] = []
    up: list[set[Server]] = []
    for lane in lanes:
        needed = servers[lane]
        for turn, running in zip(turns, up, strict=True):
            together = running | needed
            alone = not running or not needed or needed <= running
            fits = len(together) <= capacity.engines and sum(map(memory, together)) <= capacity.memory_gb
            if alone or fits:
                turn.append(lane)
                running |= needed
                break
        else:
            turns.append([lane])
            up.append(set(needed))
    return tuple(map(tuple, turns))


def engine_turns(
    spec: SweepSpec, seatings: Mapping[str, Seating], *, source: Path, engines_max: int | None = None
) -> tuple[tuple[str, ...], ...]:
    """Returns the lanes in the turns that this machine allows now. Interim analyses compare methods while
    they play, so with them all lanes have one turn.

    seatings     the lanes by name
    source       the sweep file: relative paths start beside it
    engines_max  how many engines may run at the same time; None: one for each core"""
    lanes = tuple(seatings)
    if spec.audit.stop == "early":
        return (lanes,)
    servers = servers_of_lanes(spec, seatings, source=source)
    if len(frozenset().union(*servers.values())) < 2:
        return (lanes,)
    return divide(lanes, servers, this_capacity(engines_max))
