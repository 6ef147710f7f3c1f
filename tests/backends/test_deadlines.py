"""Deadlines of many requests under one timer, on a real event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from backends.deadlines import Deadlines, DeadlineTimer, Limit

QUICK = Deadlines(first_byte_s=0.2, between_chunks_s=0.3, timeout_s=0.8)
CALM = Deadlines(
    first_byte_s=1.0, between_chunks_s=1.0, timeout_s=3.0
)  # no busy machine stands still so long by itself


async def ended(patience: DeadlineTimer, pieces: int, every_s: float) -> Limit | None:
    """The deadline that a request met whose answer comes in so many pieces, so far apart; None if it came
    whole."""
    wait = patience.begin()
    try:
        with wait:
            for _ in range(pieces):
                await asyncio.sleep(every_s)
                patience.piece_arrived(wait)
    except TimeoutError:
        return wait.limit
    return None


def test_each_request_meets_its_own_deadline() -> None:
    """Four requests run together: one gets no byte, one stops, one lasts too long, and one is answered in
    time."""

    async def scenario() -> list[Limit | None]:
        patience = DeadlineTimer(QUICK)

        async def falls_silent() -> Limit | None:
            wait = patience.begin()
            patience.piece_arrived(wait)
            with pytest.raises(TimeoutError), wait:
                await asyncio.sleep(5)
            return wait.limit

        return list(
            await asyncio.gather(
                ended(patience, 1, 5.0), falls_silent(), ended(patience, 100, 0.06), ended(patience, 3, 0.03)
            )
        )

    assert asyncio.run(scenario()) == ["first_byte_s", "between_chunks_s", "timeout_s", None]


def test_a_cancelled_task_gets_no_timeout_error() -> None:
    """A cancellation at the moment of a time-out stands: the caller who cancelled waits for it."""

    async def scenario() -> bool:
        patience = DeadlineTimer(QUICK)
        task = asyncio.create_task(ended(patience, 1, 5.0))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(scenario())


def test_a_guard_entered_again_ends_the_inner_block() -> None:
    """A stream that stops is kept: the outer block continues."""

    async def scenario() -> list[str]:
        piece_arrived = []
        wait = DeadlineTimer(QUICK).begin()
        with wait:
            piece_arrived.append("head")
            with pytest.raises(TimeoutError), wait:
                await asyncio.sleep(5)
            await asyncio.sleep(0.4)
            piece_arrived.append("end")
        return piece_arrived

    assert asyncio.run(scenario()) == ["head", "end"]


def test_a_task_whose_deadline_passed_can_go_on() -> None:
    """The timer takes its cancellation back, so the next request is not cut short by it."""

    async def scenario() -> list[Limit | None]:
        patience = DeadlineTimer(QUICK)
        return [await ended(patience, 1, 5.0), await ended(patience, 2, 0.02)]

    assert asyncio.run(scenario()) == ["first_byte_s", None]


def test_a_blocked_loop_ends_no_request() -> None:
    """Data that arrived while the loop was blocked is read before a request is ended."""

    async def scenario() -> Limit | None:
        patience = DeadlineTimer(CALM)
        came = asyncio.Event()

        async def request() -> Limit | None:
            wait = patience.begin()
            try:
                with wait:
                    await came.wait()
            except TimeoutError:
                return wait.limit
            return None

        task = asyncio.create_task(request())
        await asyncio.sleep(0.05)
        time.sleep(1.2)  # noqa: ASYNC251  the loop is held up on purpose
        asyncio.get_running_loop().call_soon(
            came.set
        )  # as bytes that waited: who reads them wakes after what was due meanwhile
        return await task

    assert asyncio.run(scenario()) is None


def test_a_loop_that_always_lags_still_ends_overdue_requests() -> None:
    """Every check is late, and overdue requests end all the same."""

    async def scenario() -> Limit | None:
        patience = DeadlineTimer(QUICK)
        request = asyncio.create_task(ended(patience, 1, 5.0))
        for _ in range(100):
            time.sleep(0.03)  # noqa: ASYNC251  a loop with too much to do
            await asyncio.sleep(0)
            if request.done():
                break
        assert request.done()
        return request.result()

    assert asyncio.run(scenario()) == "first_byte_s"
