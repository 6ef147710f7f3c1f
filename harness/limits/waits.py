"""For what a gate's waiting turns waited, in seconds: a place in the window, a quota, or the end of a rest.

A gate's queue is held up by one cause at a time, so two running sums tell every turn's share of each: what they grew by while it waited."""

from __future__ import annotations

from typing import Literal, NamedTuple

Cause = Literal["place", "quota", "rest"]


class WaitTimes(NamedTuple):
    """Seconds held up by a quota and by a rest; whatever else a turn waited, it waited for a place."""

    quota_s: float = 0.0
    rest_s: float = 0.0

    def since(self, earlier: WaitTimes) -> WaitTimes:
        return WaitTimes(self.quota_s - earlier.quota_s, self.rest_s - earlier.rest_s)


NO_WAIT = WaitTimes()


class WaitSums:
    """The running sums of one gate."""

    def __init__(self, now_s: float) -> None:
        self._quota_s = 0.0
        self._rest_s = 0.0
        self._cause: Cause = "place"
        self._since_s = now_s

    def so_far(self, now_s: float) -> WaitTimes:
        passed_s = now_s - self._since_s
        return WaitTimes(
            self._quota_s + (passed_s if self._cause == "quota" else 0.0),
            self._rest_s + (passed_s if self._cause == "rest" else 0.0),
        )

    def held_up_by(self, cause: Cause, now_s: float) -> None:
        """From now on, until told otherwise."""
        if cause == self._cause:
            return
        sums = self.so_far(now_s)
        self._quota_s, self._rest_s, self._cause, self._since_s = sums.quota_s, sums.rest_s, cause, now_s
