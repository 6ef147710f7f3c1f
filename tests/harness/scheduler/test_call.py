"""One call: its row, its cost, its budget."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import anyio
import pytest

from harness.core.errors import BudgetSpent
from harness.core.vocabulary import Completion, Pace, Prices
from harness.limits.gate import GateLimits
from harness.scheduler.call import CallPlace, Route
from harness.scheduler.spending import Allowance, Scope, Spending, SpendingBudget
from tests.harness.scheduler.calls import PLACE, PROMPT, Answering, called, outcome_of
from tests.world import World, run


def test_a_call_that_succeeds_at_once_leaves_one_row() -> None:
    """The row holds the answer and how long it took."""
    world, met, _ = outcome_of([])
    (row,) = world.rows.calls
    assert isinstance(met, Completion)
    assert (row.reply, row.error_class, row.try_number, row.latency_s, row.queue_s) == (
        " 1\n",
        None,
        0,
        1.0,
        0.0,
    )
    assert (row.prompt_tokens, row.completion_tokens, row.finish_reason, row.http_status) == (
        3,
        1,
        "stop",
        200,
    )


def test_each_column_holds_what_it_is_named_after() -> None:
    """Rows are made by position: what came back, each part unlike all others, is found under its own name."""
    came = Completion(
        text="reply", finish_reason="length", prompt_tokens=31, completion_tokens=17, served_model="served", request_id="request",
        http_status=201, reasoning="thoughts", reasoning_tokens=7, cached_tokens=5, upstream="upstream", system_fingerprint="print",
        cost_usd=0.25, held_s=2.0, pace=Pace(ttft_s=0.1, chunks=4, gap_s_median=0.2, gap_s_p95=0.3, gap_s_max=0.4),
    )  # fmt: skip

    async def scenario() -> World:
        world = World()
        route = world.add(backend=Answering(came))
        place = CallPlace(run_id="run", episode_id="episode", attempt=2, turn=9, ask_hash="hash")
        async with world.timers_running():
            await world.caller().call(route, PROMPT, place, remainder=1.0, chance=lambda: Random(1))
        return world

    world = run(scenario)
    (row,) = world.rows.calls
    told = came._asdict() | {
        "reply": came.text,
        "episode_id": "episode",
        "attempt": 2,
        "turn": 9,
        "run_id": "run",
        "ask_hash": "hash",
    }
    told |= {
        name: getattr(came.pace, name)
        for name in ("ttft_s", "chunks", "gap_s_median", "gap_s_p95", "gap_s_max")
    }
    told |= {
        "try_number": 0,
        "error_class": None,
        "error_text": None,
        "queue_s": 2.0,
        "quota_s": 2.0,
        "rest_s": 0.0,
        "latency_s": -2.0,
    }
    found = row._asdict()
    assert found.pop("method") == next(iter(world.routes))
    assert found.pop("sent_at") > 0
    assert found == {name: told[name] for name in found}


@pytest.mark.parametrize(
    ("prompt_tokens", "completion_tokens", "expected"), [(30, 10, 10.0), (None, 10, 77.0), (30, None, 77.0)]
)
def test_only_whole_usage_is_a_cost(
    prompt_tokens: int | None, completion_tokens: int | None, expected: float
) -> None:
    """The gate learns from tokens of both sides; a provider that counts one side teaches nothing."""
    world = called(Completion(text="1", prompt_tokens=prompt_tokens, completion_tokens=completion_tokens))
    estimates = world.routes["m/a"].gate.estimates
    assert estimates.expect(PROMPT.kind, characters=0, tokens_max=77).output_tokens == expected


USAGE = Completion(text="1", prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=500_000)


@pytest.mark.parametrize(
    ("completion", "known", "cost_usd"),
    [
        (USAGE, True, 2.5),
        (USAGE, False, None),
        (USAGE._replace(prompt_tokens=None), True, None),
        (USAGE._replace(cost_usd=0.125), True, 2.5),
        (USAGE._replace(cost_usd=0.125), False, 0.125),
    ],
)
def test_the_cost_is_that_of_the_prices_or_the_providers(
    completion: Completion, known: bool, cost_usd: float | None
) -> None:
    """Prices of the sweep win, cached tokens at their own; without prices the provider's figure counts."""
    prices = Prices(input=2.0, output=10.0, cached=1.0) if known else None
    (row,) = called(completion, prices).rows.calls
    assert row.cost_usd == cost_usd


def test_the_times_of_a_row_are_those_of_its_call() -> None:
    """Late in a run a call waits a second for the place of another; its row says so, and when it was sent."""

    async def scenario() -> tuple[World, float]:
        world = World()
        await world.clock.sleep(1_000.0)
        route, began_at = world.add(window=1), world.clock.wall()

        async def one_call() -> None:
            await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(one_call)
        return world, began_at

    world, began_at = run(scenario)
    assert [(row.queue_s, row.latency_s, row.sent_at - began_at) for row in world.rows.calls] == [
        (0.0, 1.0, 0.0),
        (1.0, 1.0, 1.0),
    ]


def test_a_request_that_was_held_was_sent_later() -> None:
    """The rate limiter of its host let it pass after two seconds."""

    async def scenario() -> float:
        world = World()
        began_at = world.clock.wall()
        route = world.add(backend=Answering(Completion(text="1", held_s=2.0)))
        await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return world.rows.calls[0].sent_at - began_at

    assert run(scenario) == 2.0


@pytest.mark.parametrize(("of_method", "waited_s"), [(None, 100.0), (50, 50.0)])
def test_a_call_is_expected_to_use_the_tokens_that_it_may(of_method: int | None, waited_s: float) -> None:
    """Those of the method, if it has a limit of its own, else those of the format: 100. At 60 a minute the
    next call waits until about as many seconds have passed."""

    async def scenario() -> float:
        world = World()
        route = world.add(
            backend=Answering(Completion(text="1")), limits=GateLimits(concurrency=2, output_tokens=60.0)
        )
        sampling = replace(route.method.sampling, tokens_max=of_method)
        route = replace(route, method=replace(route.method, sampling=sampling))
        async with world.timers_running():
            for _ in range(2):
                await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return world.rows.calls[1].queue_s

    assert run(scenario) == pytest.approx(waited_s, rel=0.01)


def test_a_call_is_one_request() -> None:
    """At 60 requests a minute calls of a second each follow each other without a pause worth mentioning."""

    async def scenario() -> list[float]:
        world = World()
        route = world.add(limits=GateLimits(concurrency=2, requests=60.0))
        async with world.timers_running():
            for _ in range(3):
                await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return [row.queue_s for row in world.rows.calls]

    assert run(scenario) == pytest.approx([0.0, 0.0, 0.0], abs=0.05)


def test_a_call_without_usage_costs_a_call_and_no_more() -> None:
    """Neither tokens nor money are counted that no one reported."""

    async def scenario() -> Spending:
        world = World()
        route = world.add(backend=Answering(Completion(text="1")))
        scope = Scope(
            name="the sweep",
            allowance=Allowance(calls=9),
            payers=frozenset({"m/a"}),
            lanes=frozenset(),
        )
        world.budget = SpendingBudget(
            [scope], lanes={}, spent={}, gates={"m/a": route.gate}, clock=world.clock
        )
        await world.caller().call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
        return world.budget._accounts[0].total

    assert run(scenario) == Spending(calls=1, tokens=0, cost_usd=0.0)


@pytest.mark.parametrize(("waits", "ended_s"), [(False, 0.5), (True, 1.0)])
def test_a_spent_budget_ends_a_call_at_a_gate_that_others_use(waits: bool, ended_s: float) -> None:
    """Another method has the only place of the gate for a second. If the budget is spent before a call asks
    for a place, the call ends at once; if it is spent while the call waits, it ends when it gets the
    place."""

    async def scenario() -> tuple[str, float, int]:
        world = World()
        shared = world.gate("shared", GateLimits(concurrency=1))
        route, other = world.add_at(shared, "m/a"), world.add_at(shared, "m/b")
        caller = world.caller()

        async def call(route: Route) -> None:
            await caller.call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))

        async def spend(after_s: float) -> None:
            await world.clock.sleep(after_s)
            caller.budget.exhausted["m/a"] = "m/a has spent its budget"

        async with world.timers_running(), anyio.create_task_group() as tasks:
            tasks.start_soon(call, other)
            tasks.start_soon(spend, 0.75 if waits else 0.25)
            await world.clock.sleep(0.5)
            with pytest.raises(BudgetSpent) as caught:
                await call(route)
            left_s = world.clock.now()
        return str(caught.value), left_s, len(world.rows.calls)

    assert run(scenario) == ("m/a has spent its budget", ended_s, 1)
