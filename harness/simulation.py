"""Runs any async function on virtual time, repeatable from one seed. The one file that imports trio.

Virtual time jumps to the next deadline as soon as every task is blocked; it cannot see threads or sockets, so
nothing that runs here may use either (the store is written in line)."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar, cast

import anyio
import trio
import trio.testing
from trio._core import _run as trio_run

from harness.core.event_loop import rare_collections

Result = TypeVar("Result")

LONGEST_S = 10 * 365 * 86_400.0


def simulate(function: Callable[[], Awaitable[Result]], *, seed: int) -> Result:
    """Returns the function's result. The same seed gives the same order of events, in any process and with
    any hash seed.

    raises  TimeoutError after ten virtual years: where all tasks wait for each other, time jumps there at
            once

    trio shuffles runnable tasks on purpose. Its own switch for repeatable runs (hypothesis and pytest-trio
    use it) makes it sort them first, and its random stream is seeded here."""
    switches, chance = vars(trio_run), trio_run._r.getstate()
    sorting = switches["_ALLOW_DETERMINISTIC_SCHEDULING"]
    switches["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    trio_run._r.seed(seed)

    async def bounded() -> Result:
        with anyio.fail_after(LONGEST_S):
            return await function()

    clock = trio.testing.MockClock(autojump_threshold=0)
    vars(clock)["_autojump"] = _Sleepers(clock).jump
    try:
        with rare_collections():
            return anyio.run(bounded, backend="trio", backend_options={"clock": clock})
    finally:
        switches["_ALLOW_DETERMINISTIC_SCHEDULING"] = sorting
        trio_run._r.setstate(chance)


class VirtualClock:
    """A Clock of the simulation in which it is made; it does what LoopClock does, at a tenth of the cost.

    A simulated call sleeps at least once and reads the time a dozen times: through the loop's own cancel
    scopes and dispatch that was a third of a simulated sweep's CPU time.

    epoch   the time at which `wall` begins"""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._sleepers = cast(_Sleepers, vars(trio.lowlevel.current_clock())["_autojump"].__self__)
        self._epoch = epoch

    def now(self) -> float:
        """Seconds since the simulation began."""
        return self._sleepers.now_s

    def wall(self) -> float:
        """Seconds since 1970, as if the simulation had begun at the epoch."""
        return self._epoch + self._sleepers.now_s

    def jump(self, seconds: float) -> None:
        """Sets the wall clock forward or back, as an operator or a time server does; `now` goes on as
        before."""
        self._epoch += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds > 0.0:
            await self._sleepers.sleep(seconds)
        else:
            await trio.lowlevel.checkpoint()


class _Sleepers:
    """The sleeping tasks and when each wakes; the loop's own deadlines are kept by trio."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.now_s = clock.current_time()
        self._clock = clock
        self._heap: list[tuple[float, int, list[trio.lowlevel.Task]]] = []
        self._count = 0

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        task_cell = [trio.lowlevel.current_task()]
        heapq.heappush(self._heap, (self.now_s + seconds, self._count, task_cell))

        def abort(_: object) -> trio.lowlevel.Abort:
            task_cell.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def jump(self) -> None:
        """Moves time to the next deadline and wakes the tasks that sleep until then. The loop calls it when
        every task is blocked."""
        heap = self._heap
        while heap and not heap[0][2]:
            heapq.heappop(heap)
        due_s = heap[0][0] if heap else inf
        to_s = min(due_s, trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline())
        if self.now_s < to_s < inf:
            self._clock.jump(to_s - self._clock.current_time())
            self.now_s = self._clock.current_time()
        while heap and heap[0][0] <= max(to_s, self.now_s):
            for sleeper in heapq.heappop(heap)[2]:
                trio.lowlevel.reschedule(sleeper)
