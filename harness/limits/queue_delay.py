"""Which part of a server's queue stands: arithmetic.

A queue that comes and goes is traffic; one that is there whenever one looks holds calls that need not have been sent yet. Source of the
idea, the minimum over a while: Nichols & Jacobson, Controlling Queue Delay (2012)."""

from __future__ import annotations

from collections import deque

from harness.core.vocabulary import ServerLoad

LOOKS = 3


class QueueDelay:
    """Hears loads in order."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque(maxlen=LOOKS)
        self._steps: int | None = None

    def hear(self, load: ServerLoad) -> int | None:
        """How many stand in the queue: 0 if it is empty, 1 as long as it may only be passing; None if the server's figures are old.

        A server writes its figures when it has computed a step; a large one takes seconds on a processor."""
        if load.steps is not None and load.steps == self._steps and load.running:
            return None
        self._steps = load.steps
        self._waiting.append(load.waiting)
        if load.waiting == 0:
            return 0
        return max(1, min(self._waiting)) if len(self._waiting) == LOOKS else 1
