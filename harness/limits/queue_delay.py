"""Tells a standing queue of a server from a passing one. Arithmetic.

A queue that comes and goes is ordinary traffic; a queue that is there at every report holds calls that were
sent too early. Source of the minimum over several reports: Nichols & Jacobson, Controlling Queue Delay
(2012)."""

from __future__ import annotations

from collections import deque

from harness.core.vocabulary import ServerLoad

REPORTS = 3  # the fewest that are no coincidence; they come about a second apart


class QueueDelay:
    """Takes a server's reports in order."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque(maxlen=REPORTS)
        self._steps: int | None = None

    def update(self, load: ServerLoad) -> int | None:
        """Returns how many calls stand in the queue: 0 if it is empty, 1 while it may be passing, None if the
        report is an old one.

        A server writes its figures after each step of its engine; a large step takes seconds on a CPU."""
        if load.steps is not None and load.steps == self._steps and load.running:
            return None
        self._steps = load.steps
        self._waiting.append(load.waiting)
        if load.waiting == 0:
            return 0
        return max(1, min(self._waiting)) if len(self._waiting) == REPORTS else 1
