"""The only source of time: every other module takes a clock as an argument."""

from __future__ import annotations

import time

import anyio


def step_aside() -> None:
    """Releases the interpreter, so that a waiting thread can run."""
    time.sleep(0)


class RealClock:
    """A clock of the machine's time. Durations come from the performance counter: an event loop's clock may
    be coarse.

    now    seconds since some fixed moment, for waits and durations
    wall   seconds since 1970, for time stamps"""

    now = staticmethod(time.perf_counter)  # not wrapped in a method: each call of a model reads it five times
    wall = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class LoopClock:
    """A clock of the event loop's time, which is virtual in simulation. `wall` counts from the given
    epoch."""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._epoch = epoch

    def now(self) -> float:
        """Returns seconds since the loop's own zero."""
        return anyio.current_time()

    def wall(self) -> float:
        """Returns seconds since 1970, as if the loop had started at the epoch."""
        return self._epoch + anyio.current_time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
