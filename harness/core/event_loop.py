"""Runs a coroutine on the event loop of real time; harness/simulation.py has the one of virtual time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from harness.core.startup import unwind_on_interrupt

Result = TypeVar("Result")

OPTIONS = {"use_uvloop": sys.platform != "win32"}
# New objects and younger collections, as gc.set_threshold takes them; measured with bench.simulation.
COLLECTED_AFTER = (10_000, 20, 50)


def run_async(function: Callable[[], Awaitable[Result]]) -> Result:
    """Returns the function's result, from an event loop of its own in this thread."""
    unwind_on_interrupt()
    with rare_collections():
        return anyio.run(function, backend_options=OPTIONS)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Lets the garbage collector run less often within the block.

    Thousands of live episodes hold few reference cycles; a collection walks over all of them and delays the
    event loop. In simulation collections would take a twentieth of the time."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
