"""The load of a server with a fixed number of places reaches gate and store, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from harness.access.server_load import ASK_EVERY_S, STORE_EVERY, follow_load
from harness.core.clock import LoopClock
from harness.core.records import EngineSample
from harness.core.vocabulary import ServerLoad
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from tests.world import Rows, run


class Server:
    """Makes `width` replies at once, each in 3 to 5 s; the rest waits in its queue."""

    def __init__(self, width: int) -> None:
        self._places = anyio.Semaphore(width)
        self.running = 0
        self.waiting = 0
        self.begun = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        self.waiting += 1
        async with self._places:
            self.waiting -= 1
            self.running += 1
            yield
            self.running -= 1

    async def reply(self) -> None:
        async with self.place():
            self.begun += 1
            await anyio.sleep(3 + self.begun * 0.317 % 2)

    async def ask(self) -> ServerLoad | None:
        return ServerLoad(running=self.running, waiting=self.waiting)


@pytest.mark.parametrize("width", [3, 24, 300])
def test_the_batch_is_full_and_the_queue_short(width: int) -> None:
    """The window settles where the server is full and a tenth of that waits; the rest waits at the gate."""

    async def scenario() -> tuple[int, int, int, Rows]:
        clock, rows, server = LoopClock(), Rows(), Server(width)
        gate = Gate("g", GateLimits(concurrency=1024), clock=clock, on_event=lambda kind, detail: None)

        async def turns() -> None:
            while True:
                admission = await gate.enter(1.0, CallCost())
                await server.reply()
                gate.leave(admission, CallResult(kind="clean"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: follow_load(server.ask, [gate], run_id="1", base_url="u", sink=rows, clock=clock)
            )
            for _ in range(1000):
                tasks.start_soon(turns)
            await anyio.sleep(90.5)
            tasks.cancel_scope.cancel()
        return gate.statistics().window, server.running, server.waiting, rows

    window, running, waiting, rows = run(scenario)
    assert running == width
    assert 1 <= waiting <= max(2, width // 10) + 1
    assert window == running + waiting
    samples = [row for row in rows.all if isinstance(row, EngineSample)]
    assert len(samples) == 1 + 90 // (ASK_EVERY_S * STORE_EVERY)
    assert (samples[-1].running, samples[-1].base_url) == (width, "u")


def test_a_silent_server_changes_nothing() -> None:
    """No answer, no row, no word."""

    async def nothing() -> ServerLoad | None:
        return None

    async def scenario() -> tuple[int, Rows]:
        clock, rows = LoopClock(), Rows()
        gate = Gate("g", GateLimits(concurrency=1024), clock=clock, on_event=lambda kind, detail: None)
        with anyio.move_on_after(20):
            await follow_load(nothing, [gate], run_id="1", base_url="u", sink=rows, clock=clock)
        return gate.statistics().window, rows

    window, rows = run(scenario)
    assert (window, rows.all) == (8, [])
