"""The one source of time."""

from __future__ import annotations

import time

import anyio


def step_aside() -> None:
    """Lets other threads run, should any wait for the interpreter."""
    time.sleep(0)


class RealClock:
    """Time as the machine keeps it. Durations come from the performance counter: an event loop's own clock may be coarse.

    now   seconds since some fixed moment, for waits and durations; wall: seconds since 1970, for stamps"""

    now = staticmethod(time.perf_counter)  # no method of ours around it: every call asks five times
    wall = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class LoopClock:
    """Time as the event loop keeps it: virtual where the loop's is. `wall` counts from the given moment."""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._epoch = epoch

    def now(self) -> float:
        """Seconds since the loop's own zero."""
        return anyio.current_time()

    def wall(self) -> float:
        """Seconds since 1970, had the loop started at the epoch."""
        return self._epoch + anyio.current_time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
