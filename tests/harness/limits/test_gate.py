"""The gate's laws, on virtual time."""

from __future__ import annotations

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.core.errors import AccountRefused
from harness.limits.estimates import CallCost
from harness.limits.gate import CallResult, Gate, GateLimits
from tests.world import run

ONE = CallCost()
FINE = CallResult(kind="clean")


def new_gate(window: int) -> Gate:
    return Gate("g", GateLimits(concurrency=window), clock=LoopClock(), on_event=lambda kind, detail: None)


def test_never_more_in_flight_than_the_window() -> None:
    """However many turns crowd the gate, the window holds, and all of them get through."""

    async def scenario() -> tuple[int, int]:
        gate, most, through = new_gate(3), 0, 0

        async def turn() -> None:
            nonlocal most, through
            admission = await gate.enter(1.0, ONE)
            most = max(most, gate.statistics().in_flight)
            await anyio.sleep(1)
            gate.leave(admission, FINE)
            through += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(turn)
        return most, through

    assert run(scenario) == (3, 20)


def test_the_longest_remainder_goes_first() -> None:
    """The waiting turn with most turns ahead of its episode is admitted first; equals go in order of
    arrival."""

    async def scenario() -> list[str]:
        gate, order = new_gate(1), []

        async def turn(name: str, remainder: float, wait_s: float) -> None:
            await anyio.sleep(wait_s)
            admission = await gate.enter(remainder, ONE)
            order.append(name)
            await anyio.sleep(10)
            gate.leave(admission, FINE)

        async with anyio.create_task_group() as tasks:
            for place, (name, remainder) in enumerate(
                [("first", 1), ("short", 1), ("long", 9), ("middle a", 5), ("middle b", 5)]
            ):
                tasks.start_soon(turn, name, float(remainder), place * 0.1)
        return order

    assert run(scenario) == ["first", "long", "middle a", "middle b", "short"]


def test_a_cancelled_turn_takes_no_place() -> None:
    """Giving up while waiting, or in the very moment of being let in, leaves the window whole."""

    async def scenario() -> tuple[int, int]:
        gate = new_gate(1)
        admission = await gate.enter(1.0, ONE)

        async def turn() -> None:
            admission = await gate.enter(1.0, ONE)
            try:
                await anyio.sleep(1)
            finally:
                gate.leave(admission, FINE)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            tasks.start_soon(turn)
            await anyio.sleep(1)
            gate.leave(admission, FINE)  # lets one in, which is cancelled before it can do anything
            tasks.cancel_scope.cancel()
        admission = await gate.enter(1.0, ONE)
        now = gate.statistics()
        return now.in_flight, now.waiting

    assert run(scenario) == (1, 0)


def test_closing_tells_all_who_wait_and_all_who_come() -> None:
    """A closed gate refuses waiting and new turns with its reason, once and for all; what is in flight comes
    home."""

    async def scenario() -> list[str]:
        events: list[str] = []
        gate = Gate(
            "g",
            GateLimits(concurrency=1),
            clock=LoopClock(),
            on_event=lambda kind, detail: events.append(f"{kind}: {detail}"),
        )
        admission = await gate.enter(1.0, ONE)

        async def turn() -> None:
            with pytest.raises(AccountRefused, match="no credit"):
                await gate.enter(1.0, ONE)
            events.append("refused")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            await anyio.sleep(1)
            gate.close(AccountRefused("no credit", status=402))
            gate.close(AccountRefused("a later reason"))
            tasks.start_soon(turn)
        gate.leave(admission, FINE)
        events.append(str(gate.statistics().in_flight))
        with pytest.raises(AccountRefused):
            await gate.wait_until_wants_episodes()
        return events

    assert run(scenario) == ["closed: no credit", "refused", "refused", "0"]


def test_hunger_counts_those_who_will_come_back() -> None:
    """Calls that rest before another try are work to come: they keep the gate from asking for more episodes.
    Everyone who waits for hunger, two lanes here, hears of it when the rest is over."""

    async def scenario() -> tuple[list[bool], list[float]]:
        clock = LoopClock()
        gate, seen, told = new_gate(4), [], []

        async def lane() -> None:
            await gate.wait_until_wants_episodes()
            told.append(clock.now())

        async with anyio.create_task_group() as tasks:
            seen.append(gate.wants_episodes)
            tasks.start_soon(gate.rest, 10.0)
            await anyio.sleep(1)
            seen.append(gate.wants_episodes)
            tasks.start_soon(lane)
            tasks.start_soon(lane)
        return seen, told

    assert run(scenario) == ([True, False], [10.0, 10.0])


def test_a_rest_ends_when_the_gate_closes() -> None:
    """Nobody sleeps out an hour's Retry-After at a gate that has closed."""

    async def scenario() -> float:
        clock, gate = LoopClock(), new_gate(4)

        async def resting() -> None:
            with pytest.raises(AccountRefused):
                await gate.rest(3_600.0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resting)
            await anyio.sleep(5)
            gate.close(AccountRefused("no credit"))
        return clock.now()

    assert run(scenario) == 5.0
