"""One call: tries, pauses, rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import anyio
import pytest

from harness.config.sweep import RetryPart
from harness.core.errors import (
    AccountRefused,
    AllRefused,
    BudgetSpent,
    CallError,
    ConnectFailed,
    ContextExceeded,
    Garbled,
    GateClosing,
    ModelUnknown,
    NotServed,
    RateLimited,
    Rejected,
    TimedOut,
    Unavailable,
)
from harness.core.vocabulary import Completion, Message, Pace, Prices, Prompt, ReplyFormat
from harness.limits.gate import GateLimits
from harness.scheduler.call import CallPlace, RetryPolicy, Route, _result_of_failure
from harness.scheduler.spending import Allowance, Scope, Spending, SpendingBudget
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


@pytest.mark.parametrize(
    "error",
    [RateLimited("per day", status=429), Unavailable("busy", status=503), ConnectFailed("refused")],
)
def test_a_gate_at_which_no_call_is_served_closes_after_its_patience(error: CallError) -> None:
    """A quarter of an hour after the first refusal, not before; from the fifth minute on one call a minute at
    most is spent on it."""
    world, met, ended = outcome_of([error] * 1_000)
    assert isinstance(met, NotServed)
    assert "no call was served for 15 minutes" in str(met)
    assert str(error) in str(met)
    assert 900.0 <= ended <= 902.0
    sent = [row.sent_at - world.rows.calls[0].sent_at for row in world.rows.calls]
    assert sum(at_s >= 300.0 for at_s in sent) <= 11
    assert len(sent) <= 45


def test_a_pause_longer_than_the_patience_closes_the_gate_at_once() -> None:
    """The reason names how long, until when and why; the call is left pending after one request."""
    world, met, ended = outcome_of([RateLimited("per day", status=429, retry_after_s=18_000.0)])
    assert isinstance(met, NotServed)
    assert "asks for a pause of 18000 s, until " in str(met)
    assert "HTTP 429" in str(met)
    assert ended < 2.0
    assert len(world.rows.calls) == 1


def test_a_longer_pause_of_an_outage_closes_the_gate_too() -> None:
    """Maintenance for an hour, said with a 503, is no affair of one call."""
    _, met, ended = outcome_of([Unavailable("maintenance", status=503, retry_after_s=3_600.0)])
    assert isinstance(met, NotServed)
    assert ended < 2.0


def test_a_shorter_pause_is_waited_for() -> None:
    """Fourteen minutes, longer than the call's deadline: it is answered after that, at the second try."""
    world, met, ended = outcome_of([RateLimited("later", status=429, retry_after_s=840.0)])
    assert isinstance(met, Completion)
    assert 841.0 <= ended <= 845.0
    assert len(world.rows.calls) == 2


def test_an_infinite_pause_is_silence() -> None:
    """It is no moment to wait for: the gate probes as if nothing had been asked, and goes on when it is
    served."""
    world, met, ended = outcome_of([RateLimited("never", status=429, retry_after_s=float("inf"))] * 3)
    assert isinstance(met, Completion)
    assert ended < 30.0
    assert len(world.rows.calls) == 4


def test_final_errors_are_not_tried_again() -> None:
    """The same answer tomorrow: one row."""
    world, met, _ = outcome_of([ContextExceeded("too long", status=400)])
    assert isinstance(met, ContextExceeded)
    assert len(world.rows.calls) == 1
    assert world.routes["m/a"].gate.closed is None


@pytest.mark.parametrize("error", [AccountRefused("no credit", status=429)])
def test_what_concerns_the_account_closes_the_gate(error: GateClosing) -> None:
    """A refused account closes its gate at once, with the provider's words."""
    world, met, _ = outcome_of([error])
    assert isinstance(met, AccountRefused)
    assert len(world.rows.calls) == 1
    (event,) = world.rows.gate_events
    assert (event.kind, event.detail) == ("closed", "no credit")


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


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (RateLimited("slow down", status=429), "limited", "HTTP 429"),
        (Unavailable("busy", status=503), "unserved", "HTTP 503"),
        (TimedOut("silence"), "unserved", "timeouts"),
        (Garbled("cut off"), "other", "broken responses"),
    ],
)
def test_a_failure_says_what_it_means_for_limits(error: CallError, kind: str, cause: str) -> None:
    """Too fast, not served, or nothing; its cause is the status, or in words where there is none."""
    found = _result_of_failure(error)
    assert (found.kind, found.cause, found.error) == (kind, cause, str(error))


@pytest.mark.parametrize("error", [ModelUnknown("no such model"), AllRefused("all refused")])
def test_a_method_that_has_its_gate_to_itself_closes_it(error: GateClosing) -> None:
    """A route is alone at its gate unless it is said otherwise; a gate that is shared stays open."""

    async def scenario() -> list[bool]:
        world = World()
        closed = []
        for shared in (False, True):
            made = world.add()
            route = (
                replace(made, alone=False, sole=False)
                if shared
                else Route(method=made.method, gate=made.gate, backend=made.backend)
            )
            route.close(error, key_works=False)
            closed.append(made.gate.closed is not None)
        return closed

    assert run(scenario) == [True, False]


def test_the_reason_of_a_closed_method_names_the_refusal_that_it_rests_on() -> None:
    """A single refusal has no other cause."""

    async def scenario() -> list[type | None]:
        world = World()
        route = world.add(
            backend=Counter(world.clock, trouble=lambda *_: Rejected("HTTP 400: no", status=400))
        )
        causes, caller = list[type | None](), world.caller()
        for _ in range(5):
            with pytest.raises(CallError) as caught:
                await caller.call(route, PROMPT, PLACE, remainder=1.0, chance=lambda: Random(1))
            causes.append(type(caught.value.__cause__) if caught.value.__cause__ else None)
        return causes

    assert run(scenario) == [None] * 4 + [Rejected]


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
