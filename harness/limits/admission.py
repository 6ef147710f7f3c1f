"""Defines a turn in a gate's queue, what the gate gives to an admitted call, what it is told at the call's
end, and its counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from harness.core.errors import GateClosing
from harness.limits.estimates import CallCost, Estimates
from harness.limits.waits import NO_WAIT, WaitTimes


class Admission(NamedTuple):
    """A place in the window.

    cost        what was reserved
    in_flight   calls in flight when it was sent, itself included
    number      how many calls this gate had sent then, itself included
    sent        all that this gate has admitted so far, this call included
    waited      how long the turn waited, by cause
    place       its number, at a gate that leases it from another process"""

    cost: CallCost
    sent_s: float
    in_flight: int
    number: int
    sent: CallCost
    waited: WaitTimes = NO_WAIT
    place: int = 0


class CallResult(NamedTuple):
    """The end of an admitted call, as far as it concerns limits.

    kind           "clean"; "limited": too fast; "unserved": no service; "other": nothing
    cost           what it really cost; None: the provider did not report it
    headers        the answer's, names in lower case
    retry_after_s  the pause that the provider asked for
    cause          of a failure, for events: HTTP 503, TimedOut
    error          of a failure, for the reason of a closed gate: the provider's words"""

    kind: Literal["clean", "limited", "unserved", "other"]
    cost: CallCost | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    retry_after_s: float | None = None
    cause: str = ""
    error: str = ""


class Signal(Protocol):
    """Is set when a waiting turn is called."""

    def set(self) -> None: ...


@dataclass(slots=True)
class Ticket:
    """A waiting turn. admission: None if it is called because the gate is closed."""

    cost: CallCost
    called: Signal
    came: WaitTimes
    admission: Admission | None = None
    left: bool = False


class CallGate(Protocol):
    """The part of a gate that calls need: Gate's, and that of a gate that leases from another process."""

    name: str
    estimates: Estimates

    async def enter(self, remainder: float, cost: CallCost) -> Admission: ...
    def leave(self, admission: Admission, answer: CallResult) -> None: ...
    async def rest(self, seconds: float) -> None: ...
    def close(self, reason: GateClosing) -> None: ...
    def note(self, kind: str, detail: str) -> None: ...
    def served_since(self, moment_s: float) -> bool: ...
    def statistics(self) -> GateStatistics: ...

    @property
    def usual_failures(self) -> float: ...
    @property
    def closed(self) -> GateClosing | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatistics:
    """A snapshot. calls: answered so far, well or badly; resting: calls that pause before another try;
    window: calls allowed in flight.

    pause_s       no call is sent for so long; 0: one may be sent now, or when another is answered
    pause_cause   why; "" where pause_s is 0"""

    calls: int
    in_flight: int
    waiting: int
    resting: int
    window: int
    pause_s: float = 0.0
    pause_cause: str = ""
