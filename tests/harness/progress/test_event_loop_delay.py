"""The event loop delay is measured."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel

from harness.core.clock import LoopClock, RealClock
from harness.core.records import PulseRecord
from harness.progress.event_loop_delay import SLEEP_S, SLEEPS_A_ROW, DelayMonitor
from tests.world import Rows, run


def block_the_loop() -> None:
    time.sleep(0.03)  # what a careless game would do


def test_a_busy_loop_is_measured() -> None:
    """While something blocks the loop for 30 ms at a time, wake-ups are late by up to as much; the row says
    so."""

    async def scenario() -> list[PulseRecord]:
        rows = Rows()
        delay = DelayMonitor(run_id="1", clock=RealClock(), sink=rows)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delay.measure)
            while not rows.all:
                block_the_loop()
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        return [row for row in rows.all if isinstance(row, PulseRecord)]

    (row,) = anyio.run(scenario)
    assert row.lag_s > 0.003  # half of a block on average, were the machine ours alone
    assert row.lag_s_max >= row.lag_s


def test_virtual_time_is_never_late() -> None:
    """On a virtual clock a row comes every second, and its delay is 0."""

    async def scenario() -> Rows:
        rows, clock = Rows(), LoopClock()
        with anyio.move_on_after(10.5 * SLEEP_S * SLEEPS_A_ROW):
            await DelayMonitor(run_id="1", clock=clock, sink=rows).measure()
        return rows

    found = [row for row in run(scenario).all if isinstance(row, PulseRecord)]
    assert len(found) == 10
    assert max(row.lag_s_max for row in found) < 1e-9
