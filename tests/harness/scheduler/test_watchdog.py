"""Stuck calls and gates are named, once, with their place."""

from __future__ import annotations

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
    (event,) = [event for event in world.rows.gate_events if event.kind == "stuck"]
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
