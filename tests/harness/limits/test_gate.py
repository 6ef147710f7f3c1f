"""The gate's laws, on virtual time."""

from __future__ import annotations

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.core.errors import AccountRefused, NotServed
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
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


def headers(
    remaining: float, reset_s: float, *, quota: str = "requests", limit: float = 6_000.0
) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{quota}": f"{limit:g}",
        f"x-ratelimit-remaining-{quota}": f"{remaining:g}",
        f"x-ratelimit-reset-{quota}": f"{reset_s:g}s",
    }


def noted_gate(events: list[str], **limits: float) -> Gate:
    made = GateLimits(concurrency=8, **limits)  # type: ignore[arg-type]
    return Gate("g", made, clock=LoopClock(), on_event=lambda kind, detail: events.append(detail))


def test_a_reported_remainder_is_less_what_was_sent_since() -> None:
    """An answer leaves three, and two calls followed it: one more goes at once, the next after the reset."""

    async def scenario() -> list[float]:
        clock, gate, times = LoopClock(), noted_gate([]), []
        first = await gate.enter(1.0, ONE)
        for _ in range(2):
            await gate.enter(1.0, ONE)
        gate.leave(first, CallResult(kind="clean", headers=headers(3, 20)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            for _ in range(2):
                await gate.enter(1.0, ONE)
                times.append(clock.now())
            tasks.cancel_scope.cancel()
        return times

    assert run(scenario) == [0.0, 20.0]


def test_tokens_are_counted_for_reports_by_their_kind() -> None:
    """Output tokens sent after a call, and not those before it, lessen the remainder of its answer."""

    async def scenario() -> float:
        clock, gate = LoopClock(), noted_gate([], output_tokens=600_000.0)
        cost = CallCost(1.0, 0.0, 100.0)
        await gate.enter(1.0, cost)
        admission = await gate.enter(1.0, cost)
        await gate.enter(1.0, cost)
        report = {"anthropic-ratelimit-output-tokens-remaining": "250"}
        report["anthropic-ratelimit-output-tokens-reset"] = "30"
        gate.leave(admission, CallResult(kind="clean", headers=report))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            await gate.enter(1.0, cost)
            first_s = clock.now()
            await gate.enter(1.0, cost)
            tasks.cancel_scope.cancel()
        assert first_s == 0.0
        return clock.now()

    assert run(scenario) == 30.0


def test_nothing_is_learned_of_a_provider_that_reports_its_quotas() -> None:
    """Refusals of one that reports are pauses; of one that does not they become a learned quota."""

    async def scenario(reports: bool) -> list[str]:
        events: list[str] = []
        gate = noted_gate(events)
        report = headers(6_000, 60) if reports else {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            for _ in range(100):
                gate.leave(await gate.enter(1.0, ONE), CallResult(kind="clean", headers=report))
            for _ in range(4):
                admission = await gate.enter(1.0, ONE)
                gate.leave(admission, CallResult(kind="limited", retry_after_s=10.0, cause="HTTP 429"))
            tasks.cancel_scope.cancel()
        return [event for event in events if "learned" in event]

    assert run(lambda: scenario(True)) == []
    assert len(run(lambda: scenario(False))) == 1


def test_a_long_reported_wait_is_announced_and_kept() -> None:
    """Nothing left for 100 s by the headers: the next turn waits so long, and the event says until when."""

    async def scenario() -> tuple[float, list[str]]:
        events: list[str] = []
        clock, gate = LoopClock(), noted_gate(events)
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="clean", headers=headers(0, 100)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            await gate.enter(1.0, ONE)
            tasks.cancel_scope.cancel()
        return clock.now(), [event for event in events if event.startswith("pausing")]

    took_s, (event,) = run(scenario)
    assert took_s == 100.0
    assert event.startswith("pausing 100 s, until ")
    assert event.endswith("(quota of requests spent, from response headers)")


def test_a_short_wait_for_a_quota_is_as_long_as_it_must_be() -> None:
    """120 a minute: the second request goes half a second after the first, and not a second."""

    async def scenario() -> list[float]:
        clock, times = LoopClock(), []
        gate = noted_gate([], requests=120.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            for _ in range(3):
                await gate.enter(1.0, ONE)
                times.append(clock.now())
            tasks.cancel_scope.cancel()
        return times

    first_s, second_s, third_s = run(scenario)
    assert first_s == 0.0
    assert 0.45 <= second_s <= 0.55
    assert 0.95 <= third_s <= 1.1


def test_a_gate_with_as_many_in_flight_as_waiting_closes_after_its_patience() -> None:
    """A call hangs and a turn waits after a failure: a quarter of an hour later the gate closes."""

    async def scenario() -> float:
        clock, gate = LoopClock(), new_gate(1)
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="unserved", cause="HTTP 503"))
        await gate.enter(1.0, ONE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            with pytest.raises(NotServed, match="no call was served for 15 minutes"):
                await gate.enter(1.0, ONE)
            tasks.cancel_scope.cancel()
        return clock.now()

    assert run(scenario) == 900.0


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
