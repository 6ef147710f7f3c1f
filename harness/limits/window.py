"""How many calls may be in flight: grows while it is really used and clean, shrinks on a rate limit. Arithmetic.

Slow start (one more for each clean answer: it doubles a round), then one more a round; at trouble times 0.7, at most once for all calls
that were sent before the cut: their failures are the same trouble. Source of the shape: Jacobson, Congestion Avoidance and Control (1988);
growing only when at least 80 % used, so that idle hours do not look like capacity, is RFC 7661's idea."""

from __future__ import annotations

CUT = 0.7
USED_SHARE = 0.8


class Window:
    """start: the first size; ceiling: the largest."""

    def __init__(self, *, start: int, ceiling: int) -> None:
        self._size = float(min(start, ceiling))
        self._ceiling = float(ceiling)
        self._slow_start = True
        self._last_cut_s = float("-inf")

    @property
    def size(self) -> int:
        return int(self._size)

    def clean(self, *, sent_s: float, in_flight: int) -> None:
        """A call sent then came home well; so many were in flight with it."""
        if sent_s <= self._last_cut_s or in_flight < USED_SHARE * self.size:
            return
        self._size = min(self._ceiling, self._size + (1.0 if self._slow_start else 1.0 / self._size))

    def trouble(self, *, sent_s: float, now_s: float) -> bool:
        """A call sent then met a limit; True if the window was cut for it."""
        if sent_s <= self._last_cut_s:
            return False
        before = self.size
        self._slow_start = False
        self._last_cut_s = now_s
        self._size = max(1.0, self._size * CUT)
        return self.size < before
