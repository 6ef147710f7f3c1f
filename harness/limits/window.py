"""How many calls may be in flight: grows while it is really used and clean, shrinks on a rate limit.
Arithmetic.

Slow start (one more for each clean answer: it doubles a round), then one more a round; at trouble times 0.7,
at most once for all calls that were sent before the cut: their failures are the same trouble. Source of the
shape: Jacobson, Congestion Avoidance and Control (1988); growing only when at least 80 % used, so that idle
hours do not look like capacity, is RFC 7661's idea. A window is also a number of connections, and a thousand
opened at once stall both ends: it grows by so many a second at most, and after a storm it starts anew.

Where the server tells its load that rules instead: while it has no queue the window grows, doubling until the
first queue and by an eighth from then on; a short queue keeps the batch full and the window as it is; of a
longer one our share is taken back."""

from __future__ import annotations

CUT = 0.7
USED_SHARE = 0.8
QUEUE_SHARE = 0.1  # of what is in the making may wait, so that a place that comes free is taken at once
QUEUE_MIN = 2
STEP = 0.125
RAMP_PER_S = (
    200.0  # opening 1,000 sockets at once stalled a loop for up to a second; providers punish ramps, too
)


class Window:
    """start: the first size; ceiling: the largest.

    size   calls that may be in flight now"""

    def __init__(self, *, start: int, ceiling: int) -> None:
        self.size = min(start, ceiling)
        self._size = self._start = float(self.size)
        self._ceiling = float(ceiling)
        self._threshold = float("inf")  # slow start below it
        self._follows_server = False
        self._last_cut_s = float("-inf")
        self._ramp_size = self._size
        self._ramp_s: float | None = None

    def clean(self, *, sent_s: float, now_s: float, in_flight: int) -> None:
        """A call sent then came home well; so many were in flight with it."""
        if self._follows_server or sent_s <= self._last_cut_s or in_flight < USED_SHARE * self.size:
            return
        if self._ramp_s is None or now_s - self._ramp_s >= 1.0:
            self._ramp_s, self._ramp_size = now_s, self._size
        grown = self._size + (1.0 if self._size < self._threshold else 1.0 / self._size)
        self._become(min(self._ceiling, self._ramp_size + RAMP_PER_S, grown))

    def update_load(self, *, running: int, waiting: int, in_flight: int) -> None:
        """The server's word: so many in the making, so long a queue that stands. Of both, so many are
        ours."""
        self._follows_server = True
        spare = max(QUEUE_MIN, QUEUE_SHARE * running)
        if waiting > spare:
            share = min(1.0, in_flight / (running + waiting))
            self._threshold = max(1.0, min(self._size, in_flight - share * (waiting - spare)))
            self._become(self._threshold)
        elif waiting == 0 and in_flight >= USED_SHARE * self.size and running >= USED_SHARE * in_flight:
            more = (
                min(self._size, RAMP_PER_S) if self._size < self._threshold else max(1.0, STEP * self._size)
            )
            self._become(min(self._ceiling, self._size + more))

    def trouble(self, *, sent_s: float, now_s: float) -> bool:
        """A call sent then met a limit; True if the window was cut for it."""
        if sent_s <= self._last_cut_s:
            return False
        before = self.size
        self._last_cut_s = now_s
        self._threshold = max(1.0, self._size * CUT)
        self._become(self._threshold)
        return self.size < before

    def restart(self, *, now_s: float) -> None:
        """A storm broke off all traffic: slow start again, up to where the last cut left it."""
        self._last_cut_s = now_s
        self._become(min(self._size, self._start))

    def _become(self, size: float) -> None:
        self._size = size
        self.size = int(size)
