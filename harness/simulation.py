"""Runs any async function on virtual time, repeatable from one seed. The one file that imports trio.

Virtual time jumps to the next deadline as soon as every task is blocked; it cannot see threads or sockets, so nothing that runs
here may use either (the store is written in line)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import trio.testing
from trio._core import _run as trio_run

Result = TypeVar("Result")

LONGEST_S = 10 * 365 * 86_400.0


def simulate(function: Callable[[], Awaitable[Result]], *, seed: int) -> Result:
    """The function's result. Same seed, same order of events, whatever the process or its hash seed.

    raises  TimeoutError after ten virtual years: where all tasks wait for each other, time jumps there at once

    trio shuffles runnable tasks on purpose; its own switch for repeatable runs (the one that hypothesis and pytest-trio use) makes
    it sort them first, and its stream of chance is seeded here."""
    switches, chance = vars(trio_run), trio_run._r.getstate()
    sorting = switches["_ALLOW_DETERMINISTIC_SCHEDULING"]
    switches["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    trio_run._r.seed(seed)

    async def bounded() -> Result:
        with anyio.fail_after(LONGEST_S):
            return await function()

    try:
        return anyio.run(bounded, backend="trio", backend_options={"clock": trio.testing.MockClock(autojump_threshold=0)})
    finally:
        switches["_ALLOW_DETERMINISTIC_SCHEDULING"] = sorting
        trio_run._r.setstate(chance)
