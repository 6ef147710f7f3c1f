"""Divides the seconds that a gate's turns wait by cause: a place in the window, a quota, or the end of a
rest.

A gate's queue waits for one cause at a time, so two running sums give every turn its share: what they grew by
while it waited."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

LONG_WAIT_S = 60.0  # longer ones are events with their end: a person would take the run for stuck
Cause = Literal["place", "quota", "rest"]


class WaitTimes(NamedTuple):
    """Seconds of waiting for a quota and for the end of a rest; the rest of a turn's waiting was for a
    place."""

    quota_s: float = 0.0
    rest_s: float = 0.0

    def since(self, earlier: WaitTimes) -> WaitTimes:
        return WaitTimes(self.quota_s - earlier.quota_s, self.rest_s - earlier.rest_s)


NO_WAIT = WaitTimes()


class WaitMeter:
    """The running sums of one gate."""

    def __init__(self, now_s: float) -> None:
        self._quota_s = 0.0
        self._rest_s = 0.0
        self._cause: Cause = "place"
        self._since_s = now_s

    def sums(self, now_s: float) -> WaitTimes:
        passed_s = now_s - self._since_s
        return WaitTimes(
            self._quota_s + (passed_s if self._cause == "quota" else 0.0),
            self._rest_s + (passed_s if self._cause == "rest" else 0.0),
        )

    def set_cause(self, cause: Cause, now_s: float) -> None:
        """Sets what the queue waits for from now on."""
        if cause == self._cause:
            return
        sums = self.sums(now_s)
        self._quota_s, self._rest_s, self._cause, self._since_s = sums.quota_s, sums.rest_s, cause, now_s


def describe_pause(seconds: float, wall_s: float) -> str:
    """Returns a pause in words, a long one with the local time at its end. wall_s: now, in seconds since
    1970."""
    if seconds <= LONG_WAIT_S:
        return f"{seconds:.1f} s"
    end = datetime.fromtimestamp(wall_s + seconds).astimezone()
    return f"{seconds:.0f} s, until {end:%Y-%m-%d %H:%M}"


def elapsed(seconds: float) -> str:
    """Returns a time that has passed, in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"
