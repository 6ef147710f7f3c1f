"""Single calls for the tests of the scheduler."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from harness.core.errors import CallError
from harness.core.vocabulary import Completion, Message, Prices, Prompt, ReplyFormat
from harness.scheduler.call import CallPlace, RetryPolicy
from tests.world import Counter, World, run

PROMPT = Prompt(
    messages=(Message("user", "after 0?"),),
    reply_format=ReplyFormat(regex="[0-9]+"),
    episode="e",
    item="i",
    seat="odd",
    turn=0,
)


PLACE = CallPlace(run_id="1", episode_id="e", attempt=0, turn=0, ask_hash="h")


def outcome_of(
    errors: list[CallError], policy: RetryPolicy | None = None
) -> tuple[World, Completion | CallError, float]:
    """Returns what became of a call whose first tries met these errors: the world, its completion or error,
    and when it ended."""

    async def scenario() -> tuple[World, Completion | CallError, float]:
        world = World(policy=policy)
        left = list(errors)
        route = world.add(
            backend=Counter(world.clock, trouble=lambda prompt, number: left.pop(0) if left else None)
        )
        met: list[Completion | CallError] = []
        async with world.timers_running():
            try:
                met.append(
                    await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
                )
            except CallError as error:
                met.append(error)
        return world, met[0], world.clock.now()

    return run(scenario)


class Answering:
    """Answers every call with this completion."""

    def __init__(self, completion: Completion) -> None:
        self.completion = completion

    async def complete(self, prompt: Prompt) -> Completion:
        return self.completion


def called(completion: Completion, prices: Prices | None = None) -> World:
    """Returns the world after one call that was answered so."""

    async def scenario() -> World:
        world = World()
        route = world.add(backend=Answering(completion))
        route = replace(route, method=replace(route.method, prices=prices))
        async with world.timers_running():
            await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return world

    return run(scenario)
