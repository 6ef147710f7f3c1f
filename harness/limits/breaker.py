"""A circuit breaker: a storm of failures stops traffic for a probe interval instead of multiplying it.
Arithmetic.

After so many failures in a row the gate rests; then one call probes. If it fails the rest doubles, if it
succeeds all is as before."""

from __future__ import annotations

FAILURES_IN_ROW = 12
FIRST_REST_S = 2.0
LONGEST_REST_S = 60.0


class Breaker:
    """Hears of every answer; says when to rest."""

    def __init__(self) -> None:
        self._in_row = 0
        self._rest_s = FIRST_REST_S
        self._opened_s = float("-inf")
        self._silent_since_s: float | None = None

    @property
    def probing(self) -> bool:
        """After a rest, until a call succeeds: one call at a time."""
        return self._in_row >= FAILURES_IN_ROW

    def success(self) -> None:
        self._in_row = 0
        self._rest_s = FIRST_REST_S
        self._silent_since_s = None

    def silent_s(self, now_s: float) -> float:
        """For how long no call has been served."""
        return 0.0 if self._silent_since_s is None else now_s - self._silent_since_s

    def failure(self, *, sent_s: float, now_s: float) -> float | None:
        """A call sent then failed for want of service; how long to rest, None if it does not come to that.

        Calls that were under way when the rest began belong to the same storm."""
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        if sent_s <= self._opened_s:
            return None
        self._in_row += 1
        if self._in_row < FAILURES_IN_ROW:
            return None
        rest_s, self._rest_s = self._rest_s, min(2 * self._rest_s, LONGEST_REST_S)
        self._opened_s = now_s
        return rest_s
