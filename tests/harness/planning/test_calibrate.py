"""A trial before a plan: how many episodes it begins, and whether the truth is in the plan's interval."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import fmean, variance

import pytest

from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.commands.arguments import load
from harness.config.episode_plans import session_episodes, trial_order
from harness.config.sweep import Seating
from harness.core.event_loop import run_async
from harness.core.vocabulary import EpisodePlan
from harness.planning.calibrate import Trial, degrees_of_turns, play_trial, resampled
from harness.planning.episode_lengths import StoredPlay, TurnLength
from harness.planning.plan_sweep import plan_sweep, span
from harness.running.run_sweep import run_sweep
from tests.bots import rows
from tests.command import lightbulb

SWEEP = """
name = "t"
repeats = 2
[games.taboo]
items = 40
[games.wordle]
items = 10
[models.m.methods]
a = { bots = { skill = 0.7, latency_s = 0.05 }, concurrency = 4 }
b = { bots = { skill = 0.7, latency_s = 0.02 }, concurrency = 4 }
"""


def sweep(folder: Path) -> Path:
    path = folder / "t.toml"
    path.write_text(SWEEP)
    return path


def trial_of(path: Path, trial_s: float) -> Trial:
    context = RunContext(source=path, store=path.with_name("trial.duckdb"), environ={}, notify=print)
    return run_async(lambda: play_trial(load(path), context, trial_s=trial_s))


def test_the_truth_is_in_the_interval_of_a_trial(tmp_path: Path) -> None:
    """A second of each method, of a sweep that takes several: the measured time is in the interval, near the
    forecast, and the trial has ended every play that it began."""
    path = sweep(tmp_path)
    trial = trial_of(path, 1.0)
    ((begun, ended),) = rows(
        trial.store, "SELECT count(*), count(*) FILTER (status = 'finished') FROM episodes"
    )
    assert begun == ended
    assert int(str(begun)) < 100
    plan = plan_sweep(load(path), source=path, trial=trial)
    assert plan.trial_s is not None
    assert {method.lengths["method"] for method in plan.methods} == {1.0}
    context = RunContext(source=path, store=tmp_path / "t.duckdb", environ={}, notify=print)
    assert run_async(lambda: run_sweep(load(path), context)).finished == 300
    ((took_s,),) = rows(context.store, "SELECT max(finished_at) - min(started_at) FROM episodes")
    truth_s = float(str(took_s))
    assert 0.6 * truth_s < plan.wall.value < 1.6 * truth_s
    assert plan.wall.low < plan.wall.value < plan.wall.high
    calls = rows(context.store, "SELECT count(*) FROM calls")[0][0]
    assert plan.calls_span is not None
    assert plan.calls_span.low < plan.calls_span.value < plan.calls_span.high
    assert plan.calls_span.value == pytest.approx(float(str(calls)), rel=0.5)


def order_of_a_trial(folder: Path, *, lane_number: int) -> list[EpisodePlan]:
    path = sweep(folder)
    spec = load(path)
    sets = game_sets(spec, path)
    plans = session_episodes(Seating(("m/a",)), sets, session=0, repeats=[0], seed=0, stored=())
    return trial_order(plans, sets, lane_number=lane_number)


def test_every_beginning_of_a_trial_has_all_games(tmp_path: Path) -> None:
    """The first episodes are one of each game. A play of taboo has 4 turns and one of wordle 6, so that of 40
    and 10 items the first 21 are 16.5 and 4.5, rounded up at the beginning of a share."""
    games = [plan.instance.game for plan in order_of_a_trial(tmp_path, lane_number=0)]
    assert set(games[:2]) == {"taboo", "wordle"}
    assert Counter(games) == {"taboo": 40, "wordle": 10}
    assert Counter(games[:21]) == {"taboo": 16, "wordle": 5}


def test_the_lanes_of_a_trial_begin_with_other_items(tmp_path: Path) -> None:
    """Three lanes that play a quarter each show three quarters of the items, and the whole order has all."""
    orders = [order_of_a_trial(tmp_path, lane_number=number) for number in range(3)]
    shown = {plan.item for order in orders for plan in order[:12]}
    assert len(shown) >= 34
    assert len({frozenset(plan.item for plan in order) for order in orders}) == 1


DEAD = """
name = "t"
repeats = 2
[games.taboo]
items = 10
[games.wordle]
items = 1
[models.m.methods]
a = { bots = { skill = 0.7, latency_s = 0.05 }, concurrency = 4 }
b = { base_url = "http://127.0.0.1:9/v1" }
c = { bots = { skill = 0.7, latency_s = 0.05 }, concurrency = 4, budget = { calls = 9 } }
"""


def test_a_plan_names_what_its_trial_does_not_show(tmp_path: Path) -> None:
    """Nobody listens at one method's address: the plan says that its lengths and speed were not measured. It
    also names a method whose budget ended its trial, and a game with one item."""
    path = sweep(tmp_path)
    path.write_text(DEAD)
    warnings = plan_sweep(load(path), source=path, trial=trial_of(path, 1.0), seeds=2).warnings
    assert warnings[:3] == (
        "no episode of m/b ended in the trial, so the lengths and speeds of this method were not measured",
        "the trial of m/c stopped before its episodes ended, so long ones are missing and the forecast can be too "
        "short: m/c has spent its budget: 9 of 9 calls",
        "m: the trial played only one item of wordle, so the intervals do not allow for other lengths",
    )


def plays(method: str, *turns: int) -> list[StoredPlay]:
    """Plays of one game with so many turns each."""
    turn = TurnLength(seat="a", prompt_tokens=10, reply_tokens=5)
    return [
        StoredPlay(method=method, model="m", game="g", experiment="", item=str(number), turns=(turn,) * many)
        for number, many in enumerate(turns)
    ]


def test_a_game_with_few_plays_borrows_those_of_its_model() -> None:
    """One play of a game says nothing of its spread: the plays of the model's other methods join it. One item
    less is drawn than there are."""
    own = [replace(play, item="9") for play in plays("m/a", 1)]
    drawn = resampled([*own, *plays("m/b", 1, 2, 3, 4)], Random(0))
    assert Counter(found.method for found in drawn) == {"m/a": 4, "m/b": 3}
    assert len({len(found.turns) for found in drawn if found.method == "m/a"}) > 1


def test_methods_with_few_plays_share_one_sample() -> None:
    """Two methods with one play each, of two items, are uncertain together, not each for itself."""
    both = [*plays("m/a", 10), *(replace(play, item="1") for play in plays("m/b", 20))]
    for seed in range(20):
        drawn = resampled(both, Random(seed))
        assert len({len(found.turns) for found in drawn}) == 1


def test_plays_of_one_item_are_drawn_together() -> None:
    """Two methods that play the same two items alike know as little of the game as one of them."""
    one, both = plays("m/a", 10, 20), [*plays("m/a", 10, 20), *plays("m/b", 10, 20)]
    means = {
        len(known): [
            fmean(len(found.turns) for found in resampled(known, Random(seed)) if found.method == "m/a")
            for seed in range(2000)
        ]
        for known in (one, both)
    }
    assert variance(means[4]) == pytest.approx(variance(means[2]), rel=0.1)
    assert degrees_of_turns(both, {("m/a", "g"): 50, ("m/b", "g"): 50}) == pytest.approx(1.0)


def test_the_mean_of_a_sample_varies_as_that_of_another_trial() -> None:
    """The mean of two plays with 10 and 20 turns has a variance of 25: half the unbiased variance of 50."""
    means = [
        fmean(len(found.turns) for found in resampled(plays("m/a", 10, 20), Random(seed)))
        for seed in range(4000)
    ]
    assert variance(means) == pytest.approx(25.0, rel=0.05)
    assert fmean(means) == pytest.approx(15.0, rel=0.02)


def test_degrees_of_freedom_are_those_of_the_game_that_is_least_known() -> None:
    """Two plays with different lengths leave one; where all plays are alike, nothing is uncertain; a game
    that the sweep plays often counts more."""
    seen = plays("m/a", 10, 20)
    other = [replace(play, game="h") for play in plays("m/a", *range(1, 12))]
    assert degrees_of_turns(seen, {("m/a", "g"): 50}) == pytest.approx(1.0)
    assert degrees_of_turns(plays("m/a", 3, 3, 3), {("m/a", "g"): 50}) == float("inf")
    assert degrees_of_turns([*seen, *other], {("m/a", "g"): 1, ("m/a", "h"): 500}) == pytest.approx(
        10.0, rel=0.01
    )


def test_the_interval_of_calls_is_as_wide_as_lengths_are_unknown() -> None:
    """With one degree of freedom, ten values make an interval of more than twice the width."""
    values = [float(value) for value in range(10)]
    known, unknown = span(values), span(values, degrees=1.0)
    assert known.value == unknown.value
    assert unknown.high - unknown.value > 2.0 * (known.high - known.value)


def test_calibrate_excludes_stores(tmp_path: Path) -> None:
    """A plan rests on a trial or on stores."""
    ended = lightbulb("plan", sweep(tmp_path), "--calibrate", "--from", tmp_path / "s.duckdb")
    assert ended.returncode == 2
    assert "--calibrate measures what --from reads from a store" in ended.stderr
