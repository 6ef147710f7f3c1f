"""Counts calls that were in flight when another one was sent and have been refused since. Arithmetic.

A refused call is in flight until its answer arrives, but takes no place at the provider. At a provider with
ten places and eleven calls in flight, the eleventh is refused again and again: without these calls, the
number in flight is the number that the provider computes. Times are counted in calls sent, so that calls
sent at the same moment have an order."""

from __future__ import annotations

from bisect import bisect_left, insort

KEPT = 4_096  # refusals; a call that takes longer than so many of them is counted as if none were refused


class RefusedInFlight:
    """Takes refused calls by their numbers, which count the calls sent."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._ends: list[int] = []  # the number of the last call that was sent before the refusal
        self._lasted = 0

    def add(self, *, number: int, sent_calls: int) -> None:
        """Takes that the call of this number is refused, after so many calls were sent."""
        insort(self._numbers, number)
        self._ends.append(sent_calls)
        self._lasted = sent_calls - number
        if len(self._ends) >= 2 * KEPT:
            del self._numbers[:KEPT], self._ends[:KEPT]

    def beside(self, number: int) -> int:
        """Returns how many of the calls that were in flight when the call of this number was sent are known
        to be refused, itself left out."""
        if not self._ends or self._ends[-1] < number:
            return 0
        refused_since = len(self._ends) - bisect_left(self._ends, number)
        return max(0, refused_since - (len(self._numbers) - bisect_left(self._numbers, number)))

    def likely(self, sent_calls: int) -> int:
        """Returns how many of the calls in flight now, so many having been sent, will be refused: as many as
        when the calls were sent whose fate is known by now."""
        return self.beside(sent_calls - self._lasted)
