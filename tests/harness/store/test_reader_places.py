"""Tests of which reader gets a thread, and which step is stopped; on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest

from harness.simulation import simulate
from harness.store.reader_places import GIVE_WAY_S, ReaderPlaces

T = TypeVar("T")


def test_a_reader_of_many_queries_has_its_turns_only() -> None:
    """Ten endless queries of one process on four threads: another process waits for one of them to be
    stopped, not for all ten. Without it each query would have its minute."""

    async def scenario() -> tuple[float, float]:
        places, began = ReaderPlaces(4), anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(endless, places, 1)
            await anyio.sleep(1.0)
            async with places.held(2, None):
                waited_s = anyio.current_time() - began - 1.0
        return waited_s, anyio.current_time() - began

    waited_s, all_s = run(scenario)
    assert GIVE_WAY_S - 1.0 <= waited_s <= GIVE_WAY_S
    assert 2 * GIVE_WAY_S <= all_s <= 2 * GIVE_WAY_S + 61.0


def test_ten_readers_with_endless_queries_wait_for_each_other() -> None:
    """The eleventh is answered after two rounds; a step that may not be stopped goes on."""

    async def scenario() -> float:
        places, began = ReaderPlaces(4), anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, places, 0, 100.0)
            await anyio.sleep(0.1)
            for reader in range(1, 11):
                tasks.start_soon(endless, places, reader)
            await anyio.sleep(1.0)
            async with places.held(11, None):
                waited_s = anyio.current_time() - began
            tasks.cancel_scope.cancel()
        return waited_s

    assert run(scenario) <= 4 * GIVE_WAY_S


def test_nothing_is_stopped_while_nobody_waits() -> None:
    async def scenario() -> float:
        places = ReaderPlaces(1)
        with anyio.move_on_after(50.0):
            await endless(places, 1)
        return anyio.current_time()

    assert run(scenario) == pytest.approx(50.0)


def test_who_leaves_the_queue_takes_no_place() -> None:
    """A reader that is cancelled while it waits, or just when it is admitted, leaves the thread to others."""

    async def scenario() -> float:
        places = ReaderPlaces(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, places, 1, 3.0)
            await anyio.sleep(0.5)
            for left_s in (1.0, 2.5):
                tasks.start_soon(leave, places, left_s)
            tasks.start_soon(hold, places, 3, 1.0)
        return anyio.current_time()

    assert run(scenario) == pytest.approx(4.0, abs=0.3)


async def endless(places: ReaderPlaces, reader: int) -> None:
    """Computes for a minute, if it is not stopped."""
    with anyio.CancelScope() as scope:
        async with places.held(reader, scope.cancel):
            await anyio.sleep(60.0)


async def hold(places: ReaderPlaces, reader: int, seconds: float) -> None:
    async with places.held(reader, None):
        await anyio.sleep(seconds)


async def leave(places: ReaderPlaces, after_s: float) -> None:
    with anyio.move_on_after(after_s):
        async with places.held(2, None):
            await anyio.sleep(60.0)


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    return simulate(scenario, seed=1)
