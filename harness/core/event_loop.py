"""The event loop of real time; harness/simulation.py has the other."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

Result = TypeVar("Result")

OPTIONS = {"use_uvloop": sys.platform != "win32"}
COLLECTED_AFTER = (10_000, 20, 50)  # new objects, and younger collections, as gc.set_threshold takes them


def run_async(function: Callable[[], Awaitable[Result]]) -> Result:
    """What the function comes to, on a loop of its own in this thread."""
    with rare_collections():
        return anyio.run(function, backend_options=OPTIONS)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Live episodes hold few cycles, and there may be thousands: the collector need not walk over them, and hold up the loop, so often.
    In simulation, where there is nothing else to do, it is a twentieth of the time."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
