"""Budgets: kept, and every method stopped at the same place."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from harness.core.errors import AccountRefused, BudgetSpent
from harness.core.vocabulary import Completion, EpisodePlan, Prompt
from harness.scheduler.scheduler import Scheduler
from harness.scheduler.spending import Allowance, LaneProgress, Scope, Spending, SpendingBudget
from tests.world import Counter, World, plan, run

METHODS = ("m/quick", "m/slow")


def plans(name: str, count: int, goal: int | None) -> Iterator[EpisodePlan]:
    return (plan(number, goal=goal, method=name) for number in range(count))


class TenTokens(Counter):
    """Every call takes ten tokens."""

    async def complete(self, prompt: Prompt) -> Completion:
        return (await super().complete(prompt))._replace(prompt_tokens=7, completion_tokens=3)


def budget(
    world: World, allowance: Allowance, payers: tuple[str, ...], episodes: int, spent: dict[str, Spending]
) -> SpendingBudget:
    return SpendingBudget(
        [Scope(name="the sweep", allowance=allowance, payers=frozenset(payers), lanes=frozenset(METHODS))],
        lanes={
            name: LaneProgress(methods=(name,), planned=episodes, begun=0, turns_typical=4)
            for name in METHODS
        },
        spent=spent,
        gates={name: world.routes[name].gate for name in METHODS},
        clock=world.clock,
    )


def play(
    allowance: Allowance,
    *,
    payers: tuple[str, ...] = METHODS,
    episodes: int = 100,
    goal: int | None = None,
    spent: dict[str, Spending] | None = None,
    slow_s: float = 4.0,
) -> tuple[World, Scheduler]:
    """Two methods of one model, one of them four times as slow, both with the same items, on one budget."""

    async def scenario() -> tuple[World, Scheduler]:
        world = World()
        for name, latency_s in zip(METHODS, (1.0, slow_s), strict=True):
            world.add(name, backend=TenTokens(world.clock, latency_s=latency_s), window=8)
        world.budget = budget(world, allowance, payers, episodes, spent or {})
        scheduler = world.scheduler({name: plans(name, episodes, goal) for name in METHODS})
        await scheduler.play_all()
        return world, scheduler

    return run(scenario)


def finished(world: World) -> dict[str, set[str]]:
    return {name: {row.instance for row in world.rows.episodes if row.method == name} for name in METHODS}


@pytest.mark.parametrize(
    "allowance",
    [
        Allowance(calls=400),
        Allowance(tokens=4_000),
        Allowance(calls=400, tokens=4_400),
        Allowance(cost_usd=1e-9, tokens=4_000),
    ],
)
def test_a_budget_is_kept_used_and_stops_both_methods_at_the_same_items(allowance: Allowance) -> None:
    """Half of what the sweep would take: not exceeded, nine tenths used, and although one method is four
    times as quick both have played the same items, but for two; every episode begun was played to its end."""
    world, scheduler = play(allowance)
    assert 360 <= len(world.rows.calls) <= 400
    played = finished(world)
    assert len(played["m/quick"] ^ played["m/slow"]) <= 2
    for name, tally in scheduler.tallies.items():
        assert isinstance(tally.closing, BudgetSpent)
        assert tally.finished + tally.pending == 100
        assert tally.finished == len(played[name])
    assert {row.status for row in world.rows.episodes} == {"finished"}


def test_a_budget_that_is_not_reached_changes_nothing() -> None:
    """More than it takes: both plays end, as quickly as without a budget."""
    with_budget, _ = play(Allowance(calls=10_000, tokens=10**6, wall_s=10**6))
    without, _ = play(Allowance())
    assert len(with_budget.rows.episodes) == len(without.rows.episodes) == 200
    assert max(row.finished_at for row in with_budget.rows.episodes) <= 1.01 * max(
        row.finished_at for row in without.rows.episodes
    )


def test_one_method_s_budget_stops_those_it_is_compared_with() -> None:
    """Only the slow method's calls are paid for: the quick one stops with it, for what it played beyond
    nobody could compare."""
    world, _ = play(Allowance(calls=200), payers=("m/slow",))
    played = finished(world)
    assert len([row for row in world.rows.calls if row.method == "m/slow"]) <= 200
    assert len(played["m/quick"] ^ played["m/slow"]) <= 2
    assert len(played["m/slow"]) >= 44


def test_time_is_a_budget() -> None:
    """100 s are over: calls in flight come home, nothing more is sent, and the quick method did not run
    ahead."""
    world, scheduler = play(Allowance(wall_s=100.0), episodes=1_000, goal=4)
    assert (
        max(row.sent_at + row.latency_s for row in world.rows.calls)
        - min(row.sent_at for row in world.rows.calls)
        <= 104.0
    )
    played = finished(world)
    assert len(played["m/slow"]) >= 0.8 * 100 / 4 / 4 * 8
    assert len(played["m/quick"] - played["m/slow"]) <= 12
    assert all(isinstance(tally.closing, BudgetSpent) for tally in scheduler.tallies.values())


def test_what_earlier_runs_spent_counts() -> None:
    """A resumed sweep does not get its budget twice."""
    world, _ = play(
        Allowance(calls=400), spent={"m/quick": Spending(calls=150), "m/slow": Spending(calls=150)}
    )
    assert 60 <= len(world.rows.calls) <= 100


def test_a_budget_too_small_for_its_first_episodes_is_kept_all_the_same() -> None:
    """Ten calls: calls beyond those in flight are not made, episodes stay pending, and the reason says so."""
    world, scheduler = play(Allowance(calls=10), goal=30)
    assert len(world.rows.calls) <= 10 + len(METHODS)
    assert world.rows.episodes == []
    assert "the sweep has spent its budget: 10 of 10 calls" in str(scheduler.tallies["m/quick"].closing)


def test_a_method_that_ends_early_leaves_its_share_to_the_others() -> None:
    """The slow method's key is refused: the quick one goes on with what that leaves."""

    async def scenario() -> dict[str, int]:
        world = World()
        world.add("m/quick", backend=Counter(world.clock))
        refused = AccountRefused("no credit", status=402)
        world.add(
            "m/slow",
            backend=Counter(world.clock, trouble=lambda prompt, number: refused if number == 20 else None),
        )
        world.budget = budget(world, Allowance(calls=240), METHODS, 100, {})
        scheduler = world.scheduler({name: plans(name, 100, 4) for name in METHODS})
        await scheduler.play_all()
        return {name: tally.finished for name, tally in scheduler.tallies.items()}

    ends = run(scenario)
    assert ends["m/slow"] <= 5
    assert 50 <= ends["m/quick"] <= 55


def test_the_stop_share_of_a_money_budget_follows_what_calls_cost() -> None:
    """Calls of the second half of an episode cost ten times as much: the first estimate is too low, and the
    budget is kept and used."""

    class Dearer(Counter):
        """Costs 0.001 dollars for each of the first two turns of an episode, and 0.01 for each later one."""

        async def complete(self, prompt: Prompt) -> Completion:
            return (await super().complete(prompt))._replace(cost_usd=0.001 if prompt.turn < 2 else 0.01)

    async def scenario() -> tuple[World, Scheduler]:
        world = World()
        for name in METHODS:
            world.add(name, backend=Dearer(world.clock), window=8)
        world.budget = budget(world, Allowance(cost_usd=2.2), METHODS, 200, {})
        scheduler = world.scheduler({name: plans(name, 200, 4) for name in METHODS})
        await scheduler.play_all()
        return world, scheduler

    world, scheduler = run(scenario)
    spent = sum(row.cost_usd or 0.0 for row in world.rows.calls)
    assert 0.9 * 2.2 <= spent <= 2.2 + 1e-9
    assert {row.status for row in world.rows.episodes} == {"finished"}
    assert {tally.finished for tally in scheduler.tallies.values()} <= {48, 49, 50}


def lane(
    ended: int, turns: tuple[int, ...] = (), *, methods: tuple[str, ...] = ("m/a",), planned: int = 100
) -> LaneProgress:
    """A lane whose begun episodes have all ended, with these numbers of turns."""
    return LaneProgress(
        methods=methods,
        planned=planned,
        begun=ended,
        begun_now=ended,
        turns_typical=4,
        ended=ended,
        turns=float(sum(turns)),
        squares=float(sum(number**2 for number in turns)),
    )


def test_the_variance_of_turns_is_that_of_the_ended_episodes() -> None:
    """Before two have ended the square of the typical number stands for it."""
    assert lane(0).variance == lane(1, (9,)).variance == 16.0
    assert lane(2, (2, 4)).variance == 1.0
    assert lane(3, (5, 5, 5)).variance == 0.0


def test_a_lane_at_a_share_of_its_plan() -> None:
    """Episodes of earlier runs count for the share and not for this run; a lane that ended begins no more."""
    progress = LaneProgress(methods=("m/a",), planned=10, begun=2, begun_now=1, turns_typical=4)
    assert [progress.episodes_at(share) for share in (0.0, 0.1, 0.2, 0.5, 1.0)] == [1, 1, 1, 4, 9]
    progress.feeding = False
    assert progress.episodes_at(1.0) == 1


def budget_of_calls(world: World, progress: LaneProgress, calls: int) -> SpendingBudget:
    """Returns a budget of one lane, whose turns so far are paid for."""
    for name in progress.methods:
        world.add(name)
    scope = Scope(
        name="the sweep",
        allowance=Allowance(calls=calls),
        payers=frozenset(progress.methods),
        lanes=frozenset({"lane"}),
    )
    made = SpendingBudget(
        [scope],
        lanes={"lane": progress},
        spent={},
        gates={name: world.routes[name].gate for name in progress.methods},
        clock=world.clock,
    )
    for name in progress.methods:
        for _ in range(int(progress.turns) // len(progress.methods)):
            made.begin_call(name)
    return made


@pytest.mark.parametrize("methods", [("m/a",), ("m/a", "m/b")])
def test_a_budget_reaches_as_far_as_its_episodes_cost(methods: tuple[str, ...]) -> None:
    """Episodes of exactly four turns: 100 calls are 25 of them, whether one method makes the calls or two."""

    progress = lane(10, (4,) * 10, methods=methods)

    async def scenario() -> None:
        made = budget_of_calls(World(), progress, 100)
        while True:
            await made.wait_until_affordable("lane")
            made.begin("lane")
            for number in range(4):
                made.begin_call(methods[number % len(methods)])
            made.end("lane", turns=4, seconds=1.0)

    with pytest.raises(
        BudgetSpent, match=r"sweep is enough for 25 % of each method's episodes \(spent: 100 of 100 calls\)"
    ):
        run(scenario)
    assert progress.begun == 25


@pytest.mark.parametrize(
    ("methods", "calls", "share"),
    [(("m/a",), 99, 0.22), (("m/a", "m/b"), 99, 0.23), (("m/a", "m/b"), 97, 0.22)],
)
def test_the_spread_of_lengths_is_a_reserve(methods: tuple[str, ...], calls: int, share: float) -> None:
    """Ten episodes of two or six turns, one begun: a standard deviation of what is ahead is kept back.

    With e episodes these are 4 e calls and the deviation 2 sqrt(e - 10), or sqrt(2 (e - 10)) for two methods;
    99 calls are enough for 22 episodes, or for 23; 97 are enough for 22."""

    async def scenario() -> float:
        progress = lane(10, (2, 6) * 5, methods=methods)
        made = budget_of_calls(World(), progress, calls)
        progress.begun_now = progress.ended + 1
        await made.wait_until_affordable("lane")
        return made._accounts[0].stop_share

    assert run(scenario) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize(("planned", "begun"), [(10, 1), (300, 3)])
def test_the_first_episodes_teach_what_one_costs(planned: int, begun: int) -> None:
    """Until an episode has ended, no more than a hundredth of the plan is begun, one at least."""

    async def scenario() -> int:
        progress = lane(0, planned=planned)
        made = budget_of_calls(World(), progress, 9_999)
        with anyio.move_on_after(5):
            while True:
                await made.wait_until_affordable("lane")
                made.begin("lane")
        return progress.begun_now

    assert run(scenario) == begun


def test_a_lane_begins_without_a_history() -> None:
    """It may begin episodes; nothing was begun, ended or spent in this run."""
    made = LaneProgress(methods=("m/a",), planned=9, begun=2, turns_typical=4)
    assert (made.begun_now, made.ended, made.turns, made.squares, made.seconds) == (0, 0, 0.0, 0.0, 0.0)
    assert made.feeding
    assert Spending() == Spending(calls=0, tokens=0, cost_usd=0.0)


async def budget_over(
    allowance: Allowance,
    lanes: dict[str, LaneProgress],
    *,
    spent: dict[str, Spending] | None = None,
    payers: tuple[str, ...] = ("m/a", "m/b"),
    begin_s: float = 1_000.0,
    used_s: float = 0.0,
) -> tuple[World, SpendingBudget]:
    """Returns a budget of two methods that begins at this time, and its world."""
    world = World()
    await world.clock.sleep(begin_s)
    for name in ("m/a", "m/b"):
        world.add(name)
    scope = Scope(name="the sweep", allowance=allowance, payers=frozenset(payers), lanes=frozenset(lanes))
    gates = {name: route.gate for name, route in world.routes.items()}
    return world, SpendingBudget(
        [scope], lanes=lanes, spent=spent or {}, gates=gates, clock=world.clock, used_s=used_s
    )


@pytest.mark.parametrize(
    ("allowance", "words"),
    [
        (Allowance(calls=3), "3 of 3 calls"),
        (Allowance(tokens=1_500), "1,500 of 1,500 tokens"),
        (Allowance(cost_usd=1.5), "1.50 of 1.50 USD"),
    ],
)
def test_a_budget_is_spent_when_all_of_it_is_spent(allowance: Allowance, words: str) -> None:
    """Three calls of 500 tokens and half a dollar: after the third the payer may make no more calls and its
    gate is closed. Another method's calls do not count and it goes on."""

    async def scenario() -> tuple[list[bool], str]:
        world, made = await budget_over(allowance, {}, payers=("m/a",))
        ends = []
        for _ in range(3):
            for name in ("m/b", "m/a"):
                made.begin_call(name)
                made.end_call(name, tokens=500, cost_usd=0.5)
                made.may_call("m/b")
            ends.append(world.routes["m/a"].gate.closed is not None)
        with pytest.raises(BudgetSpent) as caught:
            made.may_call("m/a")
        assert world.routes["m/b"].gate.closed is None
        assert made._spent["m/b"] == Spending(calls=3, tokens=1_500, cost_usd=1.5)
        return ends, str(caught.value)

    assert run(scenario) == ([False, False, True], f"the sweep has spent its budget: {words}")


def test_what_the_payers_spent_in_earlier_runs_is_part_of_the_total() -> None:
    """And what others spent is not."""

    async def scenario() -> tuple[Spending, str]:
        spent = {"m/a": Spending(calls=2, tokens=7, cost_usd=0.5), "m/b": Spending(calls=9)}
        allowance = Allowance(calls=5_000, tokens=9, wall_s=90.0)
        _, made = await budget_over(allowance, {}, spent=spent, payers=("m/a",))
        return made._accounts[0].total, made._accounts[0].describe_all()

    assert run(scenario) == (
        Spending(calls=2, tokens=7, cost_usd=0.5),
        "2 of 5,000 calls, 7 of 9 tokens, 90 s",
    )


def test_the_time_of_a_run_is_over_after_its_seconds() -> None:
    """Then no method may call."""

    async def scenario() -> tuple[float, str]:
        world, made = await budget_over(Allowance(wall_s=90.0), {})
        await made.watch_clock()
        with pytest.raises(BudgetSpent) as caught:
            made.may_call("m/a")
        return world.clock.now(), str(caught.value)

    assert run(scenario) == (1_090.0, "the sweep has used its 90 seconds of this run")


def test_seconds_that_a_run_used_before_count() -> None:
    """A run that plays on after a worker's death has the rest of its time. The pace of a lane is that of this
    part."""

    async def scenario() -> tuple[float, float, float]:
        lane = LaneProgress(methods=("m/a",), planned=100, begun=12, turns_typical=4, begun_now=12, ended=10)
        world, made = await budget_over(Allowance(wall_s=90.0), {"m/a": lane}, used_s=60.0)
        share = made._reached_in_time(made._accounts[0].scope, 1_010.0)
        await made.watch_clock()
        assert "m/a" in made.exhausted
        return round(share, 9), world.clock.now(), made.used_s

    assert run(scenario) == ((12 + 20) / 100, 1_030.0, 90.0)


def test_the_turns_of_an_episode_are_all_turns_over_the_number_that_ended() -> None:
    """The typical number counts as one more episode. A method's calls are shared among its lanes by the
    episodes that they began."""

    async def scenario() -> list[float]:
        lanes = {
            "a": LaneProgress(methods=("m/a",), planned=9, begun=1, turns_typical=4, begun_now=1),
            "ab": LaneProgress(
                methods=("m/a", "m/b"), planned=9, begun=3, turns_typical=4, begun_now=3, ended=1
            ),
            "none": LaneProgress(methods=("m/b",), planned=9, begun=3, turns_typical=4),
        }
        _, made = await budget_over(Allowance(calls=999), lanes)
        for _ in range(8):
            made.begin_call("m/a")
        for _ in range(5):
            made.begin_call("m/b")
        return [made._episode_turns(lane) for lane in lanes.values()]

    assert run(scenario) == [(8 * 1 / 4 + 4) / 1, (8 * 3 / 4 + 5 * 3 / 3 + 4) / 2, 4.0]


def test_the_price_of_a_call_is_the_methods_own_once_it_has_made_one() -> None:
    """Before that it is the mean of all methods, and before any call 0."""

    async def scenario() -> list[float]:
        _, made = await budget_over(Allowance(calls=999), {})
        prices = [made._price("m/a", "tokens")]
        made.begin_call("m/b")
        made.end_call("m/b", tokens=7, cost_usd=0.25)
        prices += [made._price("m/a", "tokens"), made._price("m/a", "cost_usd")]
        for tokens in (10, 30):
            made.begin_call("m/a")
            made.end_call("m/a", tokens=tokens, cost_usd=0.0)
        return [*prices, made._price("m/a", "tokens"), made._price("m/b", "tokens")]

    assert run(scenario) == [0.0, 7.0, 0.25, 20.0, 7.0]


@pytest.mark.parametrize(
    ("limit", "tokens", "share", "fits"),
    [
        (88 + 2 * 12**0.5 + 0.001, 0, 0.22, True),
        (88 + 2 * 12**0.5 - 0.001, 0, 0.22, False),
        (40.0, 0, 0.0, True),  # all that was begun has ended and is paid for
        (39.0, 0, 0.0, False),
        (40.0, 0, 0.1, True),
        (10 * (88 + 2 * 12**0.5) + 0.01, 10, 0.22, True),
        (10 * (88 + 2 * 12**0.5) - 0.01, 10, 0.22, False),
    ],
)
def test_a_share_fits_if_its_calls_and_a_standard_deviation_do(
    limit: float, tokens: int, share: float, fits: bool
) -> None:
    """Ten of a hundred episodes ended after two or six turns: 22 are 88 calls, and twelve of them are ahead
    with a deviation of two turns each. With ten tokens a call all is ten times as much."""

    async def scenario() -> bool:
        allowance = Allowance(tokens=limit) if tokens else Allowance(calls=limit)
        _, made = await budget_over(allowance, {"lane": lane(10, (2, 6) * 5)}, payers=("m/a",))
        for _ in range(40):
            made.begin_call("m/a")
            made.end_call("m/a", tokens=tokens, cost_usd=0.0)
        return made._fits(made._accounts[0], share)

    assert run(scenario) is fits


def test_the_share_that_is_reached_in_time_is_that_of_the_slowest_lane() -> None:
    """40 of 100 s are over: a lane that ended ten episodes of 2 s each ends 58 * 10 / 40 more. A lane without
    an end yet, or one that begins no more, says nothing."""

    def timed(begun: int, ended: int, *, seconds: float = 0.0, feeding: bool = True) -> LaneProgress:
        made = LaneProgress(
            methods=("m/a",), planned=100, begun=begun, turns_typical=4, begun_now=begun, ended=ended
        )
        made.seconds, made.feeding = seconds, feeding
        return made

    async def scenario(wall_s: float | None, now_s: float, **lanes: LaneProgress) -> float:
        _, made = await budget_over(Allowance(wall_s=wall_s), lanes)
        return made._reached_in_time(made._accounts[0].scope, now_s)

    quick, slow = timed(12, 10, seconds=20.0), timed(2, 5, seconds=10.0)
    silent = {"new": timed(0, 0), "left": timed(1, 1, seconds=1.0, feeding=False)}
    for wall_s, now_s, lanes, share in (
        (None, 1_040.0, {"quick": quick}, 1.0),
        (100.0, 1_040.0, {"quick": quick}, (12 + 14.5) / 100),
        (100.0, 1_040.0, {"quick": quick, **silent}, (12 + 14.5) / 100),
        (100.0, 1_040.0, {"quick": quick, "slow": slow}, (2 + 7.25) / 100),
        (100.0, 1_040.0, silent, 1.0),
        (100.0, 1_099.5, {"quick": quick}, 0.12),  # time is up before another one ends
        (1_000_000.0, 1_040.0, {"quick": quick}, 1.0),
        (100.0, 1_000.5, {"quick": timed(0, 1)}, 1.0),
    ):
        assert run(lambda: scenario(wall_s, now_s, **lanes)) == pytest.approx(share)  # noqa: B023


def test_a_stop_share_is_computed_again_after_a_second() -> None:
    """While an episode is live; ten more calls than expected lower it."""

    async def scenario() -> list[float]:
        progress, shares = lane(10, (4,) * 10), []
        world, made = await budget_over(Allowance(calls=100), {"lane": progress}, payers=("m/a",))
        for _ in range(40):
            made.begin_call("m/a")
        made.begin("lane")
        for slept_s in (0.0, 0.5, 0.5):
            await world.clock.sleep(slept_s)
            await made.wait_until_affordable("lane")
            shares.append(made._accounts[0].stop_share)
            for _ in range(0 if slept_s else 10):
                made.begin_call("m/a")
        return shares

    first, second, third = run(scenario)
    assert first == second
    assert third < first


def test_the_last_episode_may_be_begun_where_the_budget_suffices_for_all() -> None:
    """And where it does not, the reason says how far it reaches."""

    async def scenario(calls: int) -> int:
        progress = lane(0, planned=10)
        _, made = await budget_over(Allowance(calls=calls), {"lane": progress}, payers=("m/a",))
        while progress.begun < 10:
            await made.wait_until_affordable("lane")
            made.begin("lane")
            for _ in range(4):
                made.begin_call("m/a")
            made.end("lane", turns=4, seconds=1.0)
        return progress.begun

    assert run(lambda: scenario(40)) == 10
    with pytest.raises(
        BudgetSpent,
        match=r"of the sweep is enough for 90 % of each method's episodes \(spent: 36 of 39 calls\)",
    ):
        run(lambda: scenario(39))


def test_a_lane_that_leaves_begins_no_more() -> None:
    """The others get what it does not use, unless it waits for the budget or the budget ended it."""

    async def scenario(spent: bool) -> list[bool]:
        lanes = {"one": lane(3, (4,) * 3), "two": lane(3, (4,) * 3)}
        _, made = await budget_over(Allowance(calls=20), lanes, payers=("m/a",))
        for _ in range(20 if spent else 10):
            made.begin_call("m/a")
        made.leave("one")
        return [progress.feeding for progress in lanes.values()]

    assert run(lambda: scenario(False)) == [False, True]
    assert run(lambda: scenario(True)) == [True, True]


def test_an_episode_that_ends_is_part_of_the_lanes_sums() -> None:
    """Two of two and four turns: a variance of one, and the seconds of both."""

    async def scenario() -> LaneProgress:
        progress = LaneProgress(methods=("m/a",), planned=9, begun=0, turns_typical=4)
        _, made = await budget_over(Allowance(calls=99), {"lane": progress})
        for turns in (2, 4):
            made.begin("lane")
            made.end("lane", turns=turns, seconds=1.5)
        return progress

    ended = run(scenario)
    assert (ended.begun, ended.begun_now, ended.ended, ended.turns, ended.seconds) == (2, 2, 2, 6.0, 3.0)
    assert ended.variance == 1.0
