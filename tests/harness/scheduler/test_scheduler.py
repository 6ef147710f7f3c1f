"""Many episodes: full gates, bounded memory, independence."""

from __future__ import annotations

from collections.abc import Iterator

from harness.core.errors import AccountRefused, ModelUnknown, Rejected
from harness.core.vocabulary import EpisodePlan
from harness.limits.gate import GateLimits
from harness.scheduler.scheduler import ExpectedTurns
from tests.world import GAMES, Counter, World, plan, run


def plans(count: int, method: str = "m/a", goal: int | None = 4) -> Iterator[EpisodePlan]:
    return (plan(number, goal=goal, method=method) for number in range(count))


def test_the_window_is_kept_full_and_every_episode_ends_once() -> None:
    """60 episodes of 4 one-second turns through a window of 8: no slot idles, so it takes 30 s and a short
    tail."""

    async def scenario() -> tuple[World, Counter, float]:
        world = World()
        backend = Counter(world.clock)
        world.add(backend=backend, window=8)
        await world.scheduler({"m/a": plans(60)}).play_all()
        return world, backend, world.clock.now()

    world, backend, took_s = run(scenario)
    ids = [row.episode_id for row in world.rows.episodes]
    assert len(ids) == len(set(ids)) == 60
    assert backend.in_flight_max == 8
    assert 30.0 <= took_s <= 33.0


def test_live_episodes_are_bounded_by_the_gate_not_by_the_sweep() -> None:
    """Only those episodes are ever made that keep a window of 8 full, and a quarter of it in waiting."""

    async def scenario() -> int:
        world = World()
        world.add(window=8, backend=Counter(world.clock))
        most = 0

        def watched() -> Iterator[EpisodePlan]:
            nonlocal most
            for made in plans(500):
                most = max(most, scheduler.tallies["m/a"].live)
                yield made

        scheduler = world.scheduler({"m/a": watched()})
        await scheduler.play_all()
        return most

    assert run(scenario) <= 8 + 2


def test_a_closed_gate_leaves_the_rest_of_the_plan_pending() -> None:
    """The planned episodes that were not played are counted, and have no rows."""

    async def scenario() -> tuple[int, int]:
        world = World()
        refused = AccountRefused("no credit", status=402)
        world.add(
            backend=Counter(world.clock, trouble=lambda prompt, number: refused if number == 100 else None)
        )
        scheduler = world.scheduler({"m/a": plans(10_000)})
        await scheduler.play_all()
        return scheduler.tallies["m/a"].finished, scheduler.tallies["m/a"].pending

    finished, pending = run(scenario)
    assert finished > 20
    assert finished + pending == 10_000


def test_a_dead_provider_does_not_hold_up_another() -> None:
    """One method's account is refused at once; the other's sweep takes as long as alone, but for a turn:
    things that happen in the same moment happen in random order."""

    async def scenario(with_dead: bool) -> tuple[World, float, int]:
        world = World()
        world.add("m/a", backend=Counter(world.clock), window=8)
        lanes = {"m/a": plans(40)}
        if with_dead:
            refused = AccountRefused("no credit", status=402)
            world.add(
                "m/b",
                backend=Counter(world.clock, latency_s=0.1, trouble=lambda prompt, number: refused),
                window=8,
            )
            lanes["m/b"] = plans(40, "m/b")
        scheduler = world.scheduler(lanes)
        await scheduler.play_all()
        pending = scheduler.tallies["m/b"].pending if with_dead else 0
        return world, world.clock.now(), pending

    _, alone_s, _ = run(lambda: scenario(False))
    world, beside_s, pending = run(lambda: scenario(True))
    assert abs(beside_s - alone_s) <= 1.0
    assert pending == 40
    assert {row.method for row in world.rows.episodes} == {"m/a"}


def test_a_refused_key_closes_all_gates_of_its_account_and_no_other() -> None:
    """Two models behind one key, one behind another: no credit with the first ends both lanes of that key."""

    async def scenario() -> dict[str, str]:
        world = World()
        first, second = (world.gate(name, GateLimits(concurrency=4)) for name in ("m/a", "n/a"))
        broke = AccountRefused("no credit", status=402)
        trouble = Counter(world.clock, trouble=lambda prompt, number: broke if number == 30 else None)
        world.add_at(first, "m/a", backend=trouble, account=(first, second))
        world.add_at(second, "n/a", account=(first, second))
        world.add("o/a")
        scheduler = world.scheduler({name: plans(40, name) for name in ("m/a", "n/a", "o/a")})
        await scheduler.play_all()
        return {name: f"{tally.finished} {tally.closing}" for name, tally in scheduler.tallies.items()}

    ends = run(scenario)
    assert ends["o/a"] == "40 None"
    assert [ends[name].split(" ", 1)[1] for name in ("m/a", "n/a")] == ["no credit", "no credit"]
    assert [int(ends[name].split(" ", 1)[0]) < 40 for name in ("m/a", "n/a")] == [True, True]


def test_an_unknown_model_ends_its_own_lane_where_a_quota_is_shared() -> None:
    """Two models draw on one quota and one of them is not served: the other plays to its end through the same
    gate."""

    async def scenario() -> dict[str, tuple[int, int, bool]]:
        world = World()
        shared = world.gate("shared", GateLimits(concurrency=4))
        unknown = ModelUnknown("no such model", status=404)
        world.add_at(
            shared, "m/a", backend=Counter(world.clock, trouble=lambda prompt, number: unknown), alone=False
        )
        world.add_at(shared, "n/a", alone=False)
        scheduler = world.scheduler({name: plans(40, name) for name in ("m/a", "n/a")})
        await scheduler.play_all()
        return {
            name: (tally.finished, tally.pending, tally.closing is None)
            for name, tally in scheduler.tallies.items()
        }

    assert run(scenario) == {"m/a": (0, 40, False), "n/a": (40, 0, True)}


def test_long_episodes_do_not_make_a_tail() -> None:
    """Among turns that wait, the longest remainder goes first: a sweep of unequal episodes ends close to the
    bound."""

    async def scenario() -> float:
        world = World()
        world.add(window=10, backend=Counter(world.clock))
        unequal = (plan(number, goal=2 if number % 10 else 20) for number in range(100))
        await world.scheduler({"m/a": unequal}).play_all()
        return world.clock.now()

    bound_s = (90 * 2 + 10 * 20) / 10
    assert run(scenario) <= 1.35 * bound_s


def test_expected_turns_begin_with_the_games_own_number() -> None:
    """The mean of the episodes so far, with the game's own number as one more; each experiment by itself."""
    expected = ExpectedTurns(GAMES)
    typical = GAMES["count"].turns_typical
    assert expected("count", "all") == typical
    for turns in (10, 12):
        expected.learn("count", "all", turns)
    assert expected("count", "all") == (typical + 10 + 12) / 3
    assert expected("count", "other") == typical


def test_a_failed_episode_teaches_no_length() -> None:
    """An episode that failed after a few turns does not count as a short one."""

    async def scenario() -> float:
        world = World()
        world.add(
            backend=Counter(
                world.clock,
                trouble=lambda prompt, number: Rejected("no", status=400) if prompt.turn == 1 else None,
            )
        )
        scheduler = world.scheduler({"m/a": (plan(number, goal=6) for number in range(5))})
        await scheduler.play_all()
        assert scheduler.tallies["m/a"].finished == 0
        assert scheduler.tallies["m/a"].live == 0
        return scheduler._expected("count", "all")

    assert run(scenario) == GAMES["count"].turns_typical


def test_a_tally_sums_the_scores_of_finished_episodes() -> None:
    """Three episodes counted to their end have 100 each; one that miscounts has none."""

    async def scenario() -> tuple[float, int, int]:
        world = World()
        world.add(
            backend=Counter(world.clock, trouble=lambda prompt, number: "wrong" if number == 1 else None),
            window=1,
        )
        scheduler = world.scheduler({"m/a": plans(4)})
        await scheduler.play_all()
        tally = scheduler.tallies["m/a"]
        return tally.score_sum, tally.scored, tally.finished

    assert run(scenario) == (300.0, 3, 4)
