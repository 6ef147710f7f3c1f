"""Stuck calls and gates are named, once, with their place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.core.errors import CallError, RateLimited
from harness.core.vocabulary import Completion, Prompt
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from harness.scheduler.watchdog import Watchdog
from tests.world import Counter, World, plan, run


class Sluggish(Counter):
    """Answers quickly, but its fifth and sixth answers take five minutes."""

    async def complete(self, prompt: Prompt) -> Completion:
        if len(self.prompts) in (4, 5):
            self.prompts.append(prompt)
            await self.clock.sleep(300.0)
            return Completion(text="x")
        return await super().complete(prompt)


def test_late_calls_are_named_once_with_their_place() -> None:
    """Two calls hang for five minutes: after one minute they are named, with episode and turn, and never
    again."""

    async def scenario() -> World:
        world = World()
        world.add(backend=Sluggish(world.clock), window=4)
        await world.scheduler({"m/a": (plan(number, goal=4) for number in range(200))}).play_all()
        return world

    world = run(scenario)
    (event,) = [
        event for event in world.rows.gate_events if event.kind == "stuck" and "to any" not in event.detail
    ]
    late = sorted((row for row in world.rows.calls if row.latency_s > 250), key=lambda row: row.sent_at)
    assert event.detail.startswith("m/a: no answer for 6")
    assert event.detail.endswith(f"episode {late[0].episode_id}, turn {late[0].turn}, and 1 more")


def test_a_gate_without_answers_is_named() -> None:
    """A provider asks for a pause of minutes: after one minute an event counts the calls that wait."""

    async def scenario() -> World:
        world = World()

        def trouble(prompt: Prompt, number: int) -> CallError | None:
            return RateLimited("later", status=429, retry_after_s=500.0) if number == 10 else None

        world.add(backend=Counter(world.clock, trouble=trouble), limits=GateLimits(concurrency=4))
        await world.scheduler({"m/a": (plan(number, goal=4) for number in range(20))}).play_all()
        return world

    (event,) = [event for event in run(scenario).rows.gate_events if event.kind == "still"]
    assert event.detail.startswith("no call was answered for 60 s; 0 calls in flight, ")


def test_a_server_that_has_died_is_named_after_ten_seconds() -> None:
    """After 20 quick answers a server answers no more: it is named once, with its calls, though no deadline
    is near."""

    class Dying(Counter):
        async def complete(self, prompt: Prompt) -> Completion:
            if len(self.prompts) >= 20:
                self.prompts.append(prompt)
                await self.clock.sleep(190.0)
            return await super().complete(prompt)

    async def scenario() -> World:
        world = World()
        world.add(backend=Dying(world.clock), window=3)
        with anyio.move_on_after(100.0):
            await world.scheduler({"m/a": (plan(number, goal=4) for number in range(200))}).play_all()
        return world

    world = run(scenario)
    silent = [event for event in world.rows.gate_events if "to any" in event.detail]
    assert len(silent) == 1
    last_answer_at = max(row.sent_at + row.latency_s for row in world.rows.calls)
    assert 10.0 <= silent[0].at - last_answer_at <= 12.0
    assert silent[0].detail.startswith("m/a: no answer to any of 3 calls in flight for 1")


def test_a_slow_method_is_not_taken_for_a_dead_one() -> None:
    """Answers that take 20 to 40 s come one by one; no silence of theirs is named."""

    class Slow(Counter):
        async def complete(self, prompt: Prompt) -> Completion:
            self.latency_s = 20.0 + 5.0 * (len(self.prompts) % 5)
            return await super().complete(prompt)

    async def scenario() -> World:
        world = World()
        world.add(backend=Slow(world.clock), window=2)
        await world.scheduler({"m/a": (plan(number, goal=4) for number in range(10))}).play_all()
        return world

    assert run(scenario).rows.gate_events == []


def test_the_very_first_call_is_named_too() -> None:
    """A provider that never answers: the first call of the run is named after a minute."""

    async def scenario() -> World:
        world = World()
        world.add(backend=Counter(world.clock, latency_s=100.0), window=1)
        await world.scheduler({"m/a": iter([plan(0, goal=1)])}).play_all()
        return world

    (event,) = [event for event in run(scenario).rows.gate_events if event.kind == "stuck"]
    assert event.detail.endswith("turn 0")


async def watched(
    during: Callable[[Watchdog, Gate, LoopClock], Awaitable[None]], *, begin_s: float = 1_000.0
) -> list[tuple[float, str]]:
    """Returns when a watchdog that begins at this time announces something, and what, while this goes on."""
    clock, events = LoopClock(), list[tuple[float, str]]()
    await clock.sleep(begin_s)
    gate = Gate(
        "g",
        GateLimits(concurrency=1),
        clock=clock,
        on_event=lambda kind, detail: events.append((clock.now() - begin_s, detail)),
    )
    watchdog = Watchdog()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.watch, [gate], clock)
        await during(watchdog, gate, clock)
        tasks.cancel_scope.cancel()
    return events


def answer(watchdog: Watchdog, gate: Gate, clock: LoopClock, *, took_s: float, method: str = "m/a") -> None:
    """Notes a call that is answered now."""
    number = watchdog.call_sent(gate, method, "e", 0, clock.now() - took_s)
    watchdog.call_returned(number, clock.now())


def test_a_call_is_named_after_exactly_a_minute() -> None:
    """And not again, nor with it a call that was sent later."""

    async def during(watchdog: Watchdog, gate: Gate, clock: LoopClock) -> None:
        watchdog.call_sent(gate, "m/a", "early", 3, clock.now())
        await clock.sleep(2.0)
        watchdog.call_sent(gate, "m/b", "late", 4, clock.now())
        await clock.sleep(99.0)

    assert run(lambda: watched(during)) == [
        (60.0, "m/a: no answer for 60 s: episode early, turn 3"),
        (62.0, "m/b: no answer for 60 s: episode late, turn 4"),
    ]


def test_a_silent_method_is_named_after_ten_seconds_or_three_times_its_slowest_answer() -> None:
    """It counts from the last answer, or from the oldest call in flight if that was sent later."""

    def silence(*took_s: float, sent_after_s: float) -> list[tuple[float, str]]:
        async def during(watchdog: Watchdog, gate: Gate, clock: LoopClock) -> None:
            for each_s in took_s:
                answer(watchdog, gate, clock, took_s=each_s)
            await clock.sleep(sent_after_s)
            watchdog.call_sent(gate, "m/a", "e", 7, clock.now())
            await clock.sleep(50.0)

        return run(lambda: watched(during))

    text = "m/a: no answer to any of 1 calls in flight for {} s (the slowest answer so far took {} s); the oldest: episode e, turn 7"
    assert silence(1.0, sent_after_s=0.0) == [(10.0, text.format(10, 1.0))]
    assert silence(6.0, 1.0, sent_after_s=0.0) == [(18.0, text.format(18, 6.0))]
    assert silence(1.0, 6.0, sent_after_s=0.0) == [(18.0, text.format(18, 6.0))]
    assert silence(1.0, sent_after_s=4.0) == [(14.0, text.format(10, 1.0))]


def test_a_method_without_calls_in_flight_is_not_silent() -> None:
    """Another method's calls are not its own."""

    async def during(watchdog: Watchdog, gate: Gate, clock: LoopClock) -> None:
        answer(watchdog, gate, clock, took_s=1.0)
        watchdog.call_sent(gate, "m/b", "e", 0, clock.now())
        await clock.sleep(50.0)

    assert run(lambda: watched(during)) == []


def test_the_times_of_calls_in_flight_are_told_by_method() -> None:
    """The oldest first; an answered call is not among them."""

    async def during(watchdog: Watchdog, gate: Gate, clock: LoopClock) -> None:
        numbers = [
            watchdog.call_sent(gate, method, "e", 0, at_s)
            for method, at_s in (("m/a", 1.0), ("m/b", 2.0), ("m/a", 3.0), ("m/a", 4.0))
        ]
        watchdog.call_returned(numbers[2], 5.0)
        assert watchdog.sent_times() == {"m/a": [1.0, 4.0], "m/b": [2.0]}

    run(lambda: watched(during))


@pytest.mark.parametrize("waits", [True, False])
def test_a_gate_at_which_calls_only_wait_or_only_pause_is_named(waits: bool) -> None:
    """A minute after the last answer."""

    async def during(watchdog: Watchdog, gate: Gate, clock: LoopClock) -> None:
        await gate.enter(1.0, CallCost())
        async with anyio.create_task_group() as tasks:
            if waits:
                tasks.start_soon(gate.enter, 1.0, CallCost())
            else:
                tasks.start_soon(gate.rest, 500.0)
            await clock.sleep(5.0)
            answer(watchdog, gate, clock, took_s=1.0)
            await clock.sleep(90.0)
            tasks.cancel_scope.cancel()

    counts = "1 waiting, 0 pausing" if waits else "0 waiting, 1 pausing"
    assert run(lambda: watched(during)) == [
        (66.0, f"no call was answered for 60 s; 1 calls in flight, {counts}")
    ]
