"""The gate's laws, on virtual time."""

from __future__ import annotations

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.limits.admission import GateStatistics
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from tests.harness.limits.gates import FINE, ONE, limited, new_gate, noted_gate
from tests.world import run


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


def test_a_gate_wants_episodes_below_a_quarter_of_its_window() -> None:
    """At a window of eight one waiting turn is too few, and two are enough."""

    async def scenario() -> list[bool]:
        gate, wants = new_gate(8), []
        for _ in range(8):
            await gate.enter(1.0, ONE)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(gate.enter, 1.0, ONE)
                await anyio.sleep(1)
                wants.append(gate.wants_episodes)
            tasks.cancel_scope.cancel()
        return wants

    assert run(scenario) == [True, False]


def test_statistics_count_calls_by_where_they_are() -> None:
    """Answered, in flight, waiting, and pausing before another try; a closed gate has none that wait."""

    async def scenario() -> list[GateStatistics]:
        gate, found = new_gate(2), [new_gate(2).statistics()]
        first = await gate.enter(1.0, ONE)
        await gate.enter(1.0, ONE)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(gate.enter, 1.0, ONE)
            tasks.start_soon(gate.rest, 5.0)
            await anyio.sleep(1)
            found.append(gate.statistics())
            gate.leave(first, FINE)
            await anyio.sleep(5)
            found.append(gate.statistics())
            tasks.cancel_scope.cancel()
        return found

    def counts(*, calls: int, in_flight: int, waiting: int, resting: int) -> GateStatistics:
        return GateStatistics(calls=calls, in_flight=in_flight, waiting=waiting, resting=resting, window=2)

    assert run(scenario) == [
        counts(calls=0, in_flight=0, waiting=0, resting=0),
        counts(calls=0, in_flight=2, waiting=3, resting=1),
        counts(calls=1, in_flight=2, waiting=2, resting=0),
    ]


def test_an_admission_tells_what_was_admitted_so_far() -> None:
    """Itself included."""

    async def scenario() -> list[CallCost]:
        gate = new_gate(4)
        costs = CallCost(1.0, 10.0, 3.0), CallCost(1.0, 20.0, 4.0)
        return [(await gate.enter(1.0, cost)).sent for cost in costs]

    assert run(scenario) == [CallCost(1.0, 10.0, 3.0), CallCost(2.0, 30.0, 7.0)]


def test_a_turn_does_not_overtake_those_that_wait() -> None:
    """One waits for output tokens; another, which needs none and has as many turns ahead, waits behind it."""

    async def scenario() -> tuple[int, dict[str, float]]:
        gate, places = noted_gate([], output_tokens=60.0), dict[str, float]()
        await gate.enter(1.0, CallCost(1.0, 0.0, 30.0))

        async def turn(name: str, output_tokens: float) -> None:
            admission = await gate.enter(1.0, CallCost(1.0, 0.0, output_tokens))
            places[name] = admission.sent.requests

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn, "long", 1.0)
            await anyio.sleep(1)
            tasks.start_soon(turn, "short", 0.0)
            await anyio.sleep(1)
            waiting = gate.statistics().waiting
            tasks.start_soon(gate.run_timer)
            await anyio.sleep(60)
            tasks.cancel_scope.cancel()
        return waiting, places

    assert run(scenario) == (2, {"long": 2.0, "short": 3.0})


def test_a_gate_tells_if_a_call_sent_since_then_was_served() -> None:
    """The moment at which the call was sent counts."""

    async def scenario() -> list[bool]:
        gate = new_gate(4)
        await anyio.sleep(5)
        admission = await gate.enter(1.0, ONE)
        await anyio.sleep(5)
        before = gate.served_since(0.0)
        gate.leave(admission, FINE)
        return [before, gate.served_since(5.0), gate.served_since(5.1)]

    assert run(scenario) == [False, True, False]


@pytest.mark.parametrize(
    ("requests", "asked_s", "waits", "rests", "expected"),
    [
        (None, 30.0, True, False, (20.0, "HTTP 429")),
        (None, 30.0, False, True, (20.0, "HTTP 429")),
        (None, 30.0, True, True, (20.0, "HTTP 429")),
        (None, 30.0, False, False, (0.0, "")),
        (None, 10.5, True, False, (0.5, "HTTP 429")),
        (None, None, True, False, (0.0, "")),  # the call is still in flight: its place is waited for
        (1.0, 30.0, True, False, (50.5, "a quota is spent")),
        (1.0, 60.0, True, False, (50.5, "a quota is spent")),
        (1.0, 70.0, True, False, (60.0, "HTTP 429")),
    ],
)
def test_statistics_tell_how_long_no_call_is_sent_and_why(
    requests: float | None, asked_s: float | None, waits: bool, rests: bool, expected: tuple[float, str]
) -> None:
    """The pause that was asked for or the quota, whichever ends later; nothing if no one waits. Ten seconds
    after the one call, with one place and a quota of one a minute or none."""

    async def scenario() -> tuple[float, str]:
        limits = GateLimits(concurrency=1, requests=requests)
        gate = Gate("g", limits, clock=LoopClock(), on_event=lambda kind, detail: None)
        admission = await gate.enter(1.0, ONE)
        if asked_s is not None:
            gate.leave(admission, limited(asked_s))
        async with anyio.create_task_group() as tasks:
            if waits:
                tasks.start_soon(gate.enter, 1.0, ONE)
            if rests:
                tasks.start_soon(gate.rest, 100.0)
            await anyio.sleep(10)
            now = gate.statistics()
            tasks.cancel_scope.cancel()
        return now.pause_s, now.pause_cause

    assert run(scenario) == expected


def test_a_gate_tells_the_usual_share_of_failures() -> None:
    """It is one in a hundred before the first call; calls that are refused raise it."""

    async def scenario() -> tuple[float, float]:
        gate = new_gate(4)
        before = gate.usual_failures
        for _ in range(3):
            gate.leave(await gate.enter(1.0, ONE), limited(None))
            for _ in range(9):
                gate.leave(await gate.enter(1.0, ONE), FINE)
        return before, gate.usual_failures

    before, after = run(scenario)
    assert before == 0.01
    assert after > 0.02
