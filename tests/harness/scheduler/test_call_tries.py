"""The tries of a call: which errors are tried again, after what pauses, until when."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import anyio
import pytest

from harness.config.sweep import RetryPart
from harness.core.errors import (
    CallError,
    ContextExceeded,
    Garbled,
    RateLimited,
    TimedOut,
    Unavailable,
)
from harness.core.vocabulary import Completion
from harness.scheduler.call import RetryPolicy
from tests.harness.scheduler.calls import PLACE, PROMPT, outcome_of
from tests.world import Counter, World, run


def test_transient_errors_are_tried_again_and_each_try_is_a_row() -> None:
    """Two failures and a success are three rows, numbered, with their classes."""
    world, met, _ = outcome_of([Unavailable("busy", status=503), RateLimited("slow down", status=429)])
    assert isinstance(met, Completion)
    assert [(row.try_number, row.error_class, row.http_status) for row in world.rows.calls] == [
        (0, "Unavailable", 503),
        (1, "RateLimited", 429),
        (2, None, 200),
    ]


def test_retry_after_is_a_floor() -> None:
    """A pause is never shorter than the provider asks, even beyond our own ceiling."""
    _, _, ended = outcome_of(
        [RateLimited("slow down", status=429, retry_after_s=100.0)], RetryPolicy(wait_max_s=2.0)
    )
    assert ended >= 102.0  # two calls of a second each, and the pause


def test_a_call_that_rests_holds_no_place() -> None:
    """While one call waits for its next try, another passes a window of one."""

    passed_at = []

    async def scenario() -> None:
        world = World(policy=RetryPolicy(wait_first_s=100.0, wait_max_s=100.0))
        backend = Counter(
            world.clock, trouble=lambda prompt, number: Garbled("cut off") if number == 1 else None
        )
        route = world.add(backend=backend, window=1)
        async with anyio.create_task_group() as tasks:

            async def first() -> None:
                await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))

            tasks.start_soon(first)
            await anyio.sleep(2)
            await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(2))
            passed_at.append(world.clock.now())

    run(scenario)
    assert passed_at == [3.0]


async def call_beside_others(
    errors: list[CallError], policy: RetryPolicy
) -> tuple[World, Completion | CallError, float]:
    """As outcome_of, but another call is served every second all the while."""
    world = World(policy=policy)
    left = list(errors)
    route = world.add(
        backend=Counter(
            world.clock,
            latency_s=0.1,
            trouble=lambda prompt, number: left.pop(0) if prompt.turn == 0 and left else None,
        )
    )
    met: list[Completion | CallError] = []
    async with world.timers_running(), anyio.create_task_group() as tasks:

        async def others() -> None:
            while True:
                other = PROMPT._replace(turn=1)
                await world.caller().call(route, other, PLACE, remainder=1.0, chance=lambda: Random(2))
                await world.clock.sleep(0.9)

        tasks.start_soon(others)
        try:
            met.append(
                await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
            )
        except CallError as error:
            met.append(error)
        tasks.cancel_scope.cancel()
    return world, met[0], world.clock.now()


def test_tries_end_where_others_are_served() -> None:
    """After tries_max failed tries, each with another call served since the one before, the call ends with
    the last error."""
    policy = RetryPolicy(tries_max=4, wait_first_s=4.0)
    world, met, _ = run(lambda: call_beside_others([Unavailable("busy", status=503)] * 100, policy))
    assert isinstance(met, Unavailable)
    tries = sum(row.error_class is not None for row in world.rows.calls)
    assert 4 <= tries <= 7  # a quick retry may come before another call was served


def test_more_tries_where_many_calls_fail() -> None:
    """So many that by chance they are as rare as six where a tenth fails; one try stays one."""
    policy = RetryPolicy()
    assert [policy.tries_at(usual) for usual in (0.0, 0.01, 0.1, 0.2, 0.5, 1.0)] == [6, 6, 6, 8, 19, 19]
    assert all(0.2 ** RetryPolicy(tries_max=tries).tries_at(0.2) <= 5 * 0.1**tries for tries in range(1, 10))
    assert RetryPolicy(tries_max=1).tries_at(0.2) == 1


def test_the_deadline_ends_tries() -> None:
    """No try begins after the deadline, however many are left."""
    policy = RetryPolicy(tries_max=1_000, deadline_s=100.0)
    _, met, ended = run(lambda: call_beside_others([Unavailable("busy", status=503)] * 1_000, policy))
    assert isinstance(met, Unavailable)
    assert 60.0 <= ended <= 101.0


def test_a_garbled_answer_always_counts() -> None:
    """It was served, so it says nothing of other calls: the tries end although no other call is served."""
    world, met, _ = outcome_of([Garbled("cut off")] * 10, RetryPolicy(tries_max=4))
    assert isinstance(met, Garbled)
    assert len(world.rows.calls) == 4


@pytest.mark.parametrize(
    "error", [Unavailable("busy", status=503), RateLimited("slow down", status=429), TimedOut("silence")]
)
def test_an_outage_spends_no_tries(error: CallError) -> None:
    """A call waits for an outage to end with few requests, though it may be tried twice only and for a
    minute."""
    policy = RetryPolicy(tries_max=2, deadline_s=60.0)

    async def scenario() -> tuple[World, Completion, float]:
        world = World(policy=policy)
        backend = Counter(
            world.clock, trouble=lambda prompt, number: error if world.clock.now() < 400.0 else None
        )
        route = world.add(backend=backend)
        async with world.timers_running():
            met = await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return world, met, world.clock.now()

    world, _, ended = run(scenario)
    assert ended <= 400.0 + 62.0
    assert len(world.rows.calls) <= 45


def test_final_errors_are_not_tried_again() -> None:
    """The same answer tomorrow: one row."""
    world, met, _ = outcome_of([ContextExceeded("too long", status=400)])
    assert isinstance(met, ContextExceeded)
    assert len(world.rows.calls) == 1
    assert world.routes["m/a"].gate.closed is None


def test_the_policy_is_that_of_a_sweep_file_which_says_nothing() -> None:
    """The limits have the same values in both places."""
    said, made = RetryPart(), RetryPolicy()
    assert (made.tries_max, made.deadline_s, made.wait_max_s) == (
        said.tries_max,
        said.deadline_s,
        said.wait_max_s,
    )
    assert made.wait_first_s == 0.5


def test_pauses_are_drawn_below_a_bound_that_doubles() -> None:
    """Half a second, one, two ... up to the longest, each a random share of it."""
    world, _, _ = outcome_of([Garbled("cut off")] * 6, RetryPolicy(tries_max=7, wait_max_s=6.0))
    rows, chance = world.rows.calls, Random(1)
    pauses = [later.sent_at - row.sent_at - row.latency_s for row, later in pairwise(rows)]
    assert pauses == pytest.approx([chance.uniform(0.0, bound) for bound in (0.5, 1.0, 2.0, 4.0, 6.0, 6.0)])


@pytest.mark.parametrize(("deadline_s", "tries"), [(1.05, 1), (1.07, 2)])
def test_no_try_begins_after_the_deadline(deadline_s: float, tries: int) -> None:
    """The first try fails after a second and the pause after it is 0.067 s, late in a run."""

    async def scenario() -> World:
        world = World(policy=RetryPolicy(deadline_s=deadline_s))
        await world.clock.sleep(1_000.0)
        route = world.add(backend=Counter(world.clock, trouble=lambda prompt, number: Garbled("cut off")))
        with pytest.raises(Garbled):
            await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return world

    assert len(run(scenario).rows.calls) == tries
