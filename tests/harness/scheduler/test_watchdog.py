"""Stuck calls and gates are named, once, with their place."""

from __future__ import annotations

import anyio

from harness.core.errors import CallError, RateLimited
from harness.core.vocabulary import Completion, Prompt
from harness.limits.gate import GateLimits
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
