"""Defines what a gate gives to an admitted call, and what it is told at the call's end."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from harness.limits.estimates import CallCost
from harness.limits.waits import NO_WAIT, WaitTimes


class Admission(NamedTuple):
    """A place in the window.

    cost        what was reserved
    in_flight   calls in flight when it was sent, itself included
    number      how many calls this gate had sent then, itself included
    sent        all that this gate has admitted so far, this call included
    waited      how long the turn waited, by cause"""

    cost: CallCost
    sent_s: float
    in_flight: int
    number: int
    sent: CallCost
    waited: WaitTimes = NO_WAIT


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
