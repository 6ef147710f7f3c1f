"""The estimated end of a run against the end, on virtual time; bench/eta.py has more sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench.eta import CASES, EtaCase, error_after_a_tenth, inside_share, moments
from harness.core.clock import LoopClock
from harness.core.errors import AccountRefused, CallError, Rejected
from harness.core.vocabulary import EpisodePlan
from harness.progress.life_table import LifeTable, Remainder, longest, quantile
from harness.progress.meters import Meters
from harness.progress.time_left import GatePace, TimeLeft, gate_time, last_of
from harness.progress.turns_left import EpisodeTurns, TurnsLeft
from harness.scheduler.episode import Beginning
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler, Tally
from tests.harness.store.test_store import CALL, EPISODE, TURN
from tests.world import GAMES, Counter, Rows, World, run, toy_instance
from tests.world import plan as world_plan

PACE = GatePace(
    window=8,
    turn_s=[1.0] * 50,
    a_second=None,
    quota_a_second=None,
    pause_s=0.0,
    ages_s=(),
    slow_s=3.0,
    turn_s_max=60.0,
)
SMALLER: Mapping[str, Mapping[str, int]] = {
    "long episodes": {"short": 80, "long": 10},
    "hung calls": {"short": 1000},
    "a quota": {"short": 100, "long": 4},
    "thirty methods": {"short": 15, "long": 2},
    "slow calls and errors": {"short": 150, "long": 12},
    "no end until a limit": {"short": 60, "long": 2},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_end_lies_in_the_interval(case: EtaCase) -> None:
    """At four of five moments at least, and the estimate is not far off after a tenth of the run."""
    found = moments(replace(case, episodes=SMALLER[case.name]), 0)
    assert inside_share(found) >= 0.8
    assert error_after_a_tenth(found) < 0.35


def test_open_episodes_count_for_the_turns_that_they_survived() -> None:
    """Nine plays ended after two turns, one is open after twenty: the mean over ended ones would be 2."""
    table = LifeTable()
    for _ in range(9):
        table.add_play(2)
    for turn in range(1, 21):
        table.reach(turn)
    fresh = Remainder(table.hazards())
    assert fresh.mean[0] > 2.5
    assert fresh.mean[20] > 2.0  # it has outlived all others, and may go on


def test_lengths_of_plays_are_those_that_were_seen() -> None:
    """Plays of always five turns: five at the start, two after three; the longest of many is five."""
    table = LifeTable()
    for _ in range(2_000):
        table.add_play(5)
    one = Remainder(table.hazards())
    assert one.mean[0] == pytest.approx(5.0, abs=0.05)
    assert one.mean[3] == pytest.approx(2.0, abs=0.05)
    assert quantile(longest([(10.0, one.survival(0))]), 0.5) == 5.0
    assert quantile([], 0.5) == 0.0


def left_of_one(turns: int, limit: int | None) -> TurnsLeft:
    """Returns what is left of an episode with so many turns behind it, in a game whose plays take eight."""
    episodes = EpisodeTurns({"m/a": {"count": 1}}, turn_limits={"count": limit})
    episodes.expect("count", [8] * 5)
    plan = EpisodePlan(instance=toy_instance(1), rules="plain", seating=("m/a",))
    assert list(episodes.following("m/a", iter([plan]))) == [plan]
    for number in range(turns):
        episodes.count(TURN._replace(episode_id=plan.episode_id, turn=number))
    return episodes.left("m/a", side_by_side=1)


@pytest.mark.parametrize("refusal", [Rejected("HTTP 400: no", status=400), AccountRefused("HTTP 401: no")])
@pytest.mark.parametrize("count", [2, 40])
def test_episodes_that_stay_pending_take_no_turns(refusal: CallError, count: int) -> None:
    """Every call is refused: two episodes stay pending one by one, of forty also those that never began."""

    async def scenario() -> tuple[Tally, TurnsLeft]:
        world = World()
        world.add(backend=Counter(world.clock, trouble=lambda prompt, number: refusal))
        turns = EpisodeTurns({"m/a": {"count": count}}, turn_limits={"count": None})
        plans = turns.following("m/a", (world_plan(number) for number in range(count)))
        scheduler = Scheduler(
            [Lane(name="m/a", plans=plans, gates=(world.gates["m/a"],), leave=turns.leave)],
            player=world.player(),
            expected=ExpectedTurns(GAMES),
            beginning=lambda plan: Beginning(),
        )
        await scheduler.play_all()
        return scheduler.tallies["m/a"], turns.left("m/a", side_by_side=1)

    tally, left = run(scenario)
    assert tally.pending == count
    assert left == TurnsLeft()


def test_a_play_that_outlives_all_others_takes_as_long_again() -> None:
    """In the median, with a wide interval; up to the limit of its game, if it has one. A play that is as
    ordinary ones has their rest."""
    ordinary = left_of_one(3, None)
    assert not ordinary.outlived
    assert 4.0 < ordinary.mean < 8.0
    for turns in (20, 200, 2_000):
        left = left_of_one(turns, None)
        (survival,) = left.outlived
        assert left.mean == turns
        assert quantile(longest([(1.0, survival)]), 0.5) == pytest.approx(turns, rel=0.02)
        assert quantile(longest([(1.0, survival)]), 0.95) > 10 * turns
    limited = left_of_one(200, 230)
    assert (limited.mean, len(limited.outlived[0]), limited.ending) == (30, 30, ())
    assert left_of_one(5, 6).mean == 1.0


def test_the_end_waits_for_a_play_that_outlives_all_others() -> None:
    """Also while most turns are those of others; a play alone takes its turns one after another."""
    others = TurnsLeft(mean=400.0, variance=0.0, ending=((1.0, [1.0]),), episodes=200)
    assert gate_time([others], PACE).value_s < 60
    long = replace(others, outlived=left_of_one(300, None).outlived)
    assert gate_time([long], PACE).value_s == pytest.approx(300, rel=0.02)


def test_the_time_of_a_game_counts() -> None:
    """A game that takes nine seconds between a reply and its next ask makes a turn of one second take ten,
    and while others are to begin, the open episodes are those that send calls."""
    turns = TurnsLeft(mean=10.0, variance=0.0, ending=((1.0, [1.0] * 10),), episodes=1)
    assert gate_time([turns], PACE).value_s == pytest.approx(10.0, abs=1.0)
    slow = replace(PACE, game_s=9.0)
    assert gate_time([turns], slow).value_s == pytest.approx(100.0, abs=10.0)
    assert slow.turns_a_second == 8.0
    assert replace(slow, playing=20).turns_a_second == 2.0
    assert replace(PACE, playing=20).turns_a_second == 8.0


def test_meters_measure_the_time_of_a_game() -> None:
    """From a reply to the moment at which the next turn of this episode is ready, its wait at the gate left
    out."""

    async def scenario() -> list[float]:
        clock = LoopClock()
        meters = Meters(Rows(), clock, scores={})
        await meters.put(CALL)
        await clock.sleep(5.0)
        await meters.put(CALL._replace(turn=1, latency_s=1.0, queue_s=1.5))
        await meters.put(EPISODE)
        await clock.sleep(5.0)
        await meters.put(CALL)  # another play of it
        return list(meters.traffic[CALL.method].game_s)

    assert run(scenario) == [pytest.approx(2.5)]


def test_meters_of_another_process_take_over_all_that_was_measured() -> None:
    """Calls that are told in parts count once; a turn lasts as long as all its tries, also when a part was
    told between them; the time of a game comes with them."""

    async def scenario() -> Meters:
        clock = LoopClock()
        worker, coordinator = Meters(Rows(), clock, scores={}), Meters(Rows(), clock, scores={})
        failed = CALL._replace(error_class="TimedOut", error_text="late", reply=None, latency_s=7.0)
        for call in (failed, CALL._replace(latency_s=2.0), CALL._replace(turn=1, latency_s=1.0, queue_s=0.5)):
            await worker.put(call)
            coordinator.add_traffic(worker.take_traffic())
            assert worker.take_traffic() == {}
            await clock.sleep(5.0)
        return coordinator

    traffic = run(scenario).traffic[CALL.method]
    assert (traffic.calls, traffic.errors, traffic.answered) == (3, 1, 2)
    assert list(traffic.turn_s) == [9.0, 1.0]
    assert list(traffic.game_s) == [pytest.approx(3.5)]


def test_a_gate_that_waits_for_its_quota_ends_later() -> None:
    """A pause is added; a quota decides where it is slower than the window."""
    turns = TurnsLeft(mean=600.0, variance=0.0, ending=((1.0, [1.0]),), episodes=300)
    pace = replace(PACE, window=10)
    assert gate_time([turns], pace).value_s == pytest.approx(61.0, abs=2.0)
    assert gate_time([turns], replace(pace, quota_a_second=2.0)).value_s == pytest.approx(301.0, abs=2.0)
    paused = gate_time([turns], replace(pace, pause_s=40.0))
    assert paused.value_s == pytest.approx(101.0, abs=2.0)
    assert paused.low_s < paused.value_s < paused.high_s


def test_the_last_of_many_parts_ends_later_than_each() -> None:
    """The median of the latest of ten equal parts lies above the median of one, within its interval."""
    part = TimeLeft(value_s=100.0, low_s=80.0, high_s=125.0)
    assert last_of([part]) == part
    assert 105.0 < last_of([part] * 10).value_s < 125.0
    assert last_of([]).value_s == 0.0
