"""Forecasts made before anything is played, held against what simulated audits then find."""

from __future__ import annotations

from math import ceil, log

import numpy as np
import pytest

from harness.audit.scores.contrasts import pair
from harness.audit.scores.detection import simulate_detection, with_pilot_range
from harness.audit.scores.intervals import equivalence_p, strata
from harness.audit.scores.power import (
    FRESH,
    PlannedGame,
    PowerEstimate,
    Spread,
    estimate_power,
    guessed,
    measured,
    measured_again,
)
from harness.audit.scores.sample_size import reach
from harness.audit.scores.sign_flips import joint_rejections, sign_flip_test
from tests.harness.audit.simulator import CLEAN, GAMES, ITEMS, from_games, game_of, simulate

MARGINS = {"points": 3.0, "played": 5.0}


def _games(spread: Spread, *items: int) -> list[PlannedGame]:
    return [
        PlannedGame(game=f"g{place}", items=n, spread=spread, source="guessed")
        for place, n in enumerate(items)
    ]


def _plain(chance: float, items: float = 0.0) -> Spread:
    return Spread(chance=chance, items=items, chance_played=0.0, items_played=0.0)


def test_the_formula() -> None:
    """Two games of 200 items, chance 400: with 2 repeats the variance is 2 (400 / 2) / 200 / 4 x 2, and
    enough repeats bring it down."""
    points, played = estimate_power(
        _games(_plain(400.0), 200, 200), repeats=2, methods=1, margins=MARGINS, alpha=0.05
    ).endpoints
    assert points.se == pytest.approx(1.0)
    assert points.provable == pytest.approx(reach(0.05))
    assert points.repeats == 2
    assert played.se == 0
    assert played.repeats == 1


def test_what_repeats_cannot_buy() -> None:
    """Items that respond to the method put a floor under the error: more items are asked for, and so many as
    bring it down."""
    told = estimate_power(
        _games(_plain(10.0, 900.0), 40, 40), repeats=5, methods=1, margins=MARGINS, alpha=0.05
    )
    assert told.needed is None
    assert not told.enough
    many = estimate_power(
        _games(_plain(10.0, 900.0), *[ceil(40 * told.factor)] * 2),
        repeats=5,
        methods=1,
        margins=MARGINS,
        alpha=0.05,
    )
    assert many.enough


def test_few_items_prove_nothing_small() -> None:
    """Ten items a game, though every play were alike: a difference may hide, and no number of repeats
    helps."""
    told = estimate_power(_games(_plain(0.0), 10, 10), repeats=3, methods=1, margins=MARGINS, alpha=0.05)
    assert told.endpoints[0].floor > 10
    assert told.needed is None
    assert told.factor > 3


def test_the_items_that_rule_out_a_hidden_difference() -> None:
    """One game without any spread: n equal items bound a difference by 100 (1 - .05^(1/n)) points, which is 3
    at n = log .05 / log .97, 98.4."""
    told = estimate_power(_games(_plain(0.0), 10), repeats=3, methods=1, margins=MARGINS, alpha=0.05)
    assert told.endpoints[0].floor == pytest.approx(100 * (1 - 0.05**0.1))
    assert told.factor == pytest.approx(log(0.05) / log(0.97) / 10)


def test_more_methods_cost_more() -> None:
    """Holm's first step divides alpha: the same sweep proves less of each of eight methods than of one."""
    one, eight = (
        estimate_power(_games(_plain(400.0), 200, 200), repeats=2, methods=k, margins=MARGINS, alpha=0.05)
        for k in (1, 8)
    )
    assert eight.endpoints[0].provable > one.endpoints[0].provable
    assert (eight.needed or 0) > (one.needed or 0)


def test_spread_is_measured_as_planted() -> None:
    """Chance 20 squared and response 10 squared come back from 4,000 items of three methods; from one repeat
    all counts as chance, of which a share can be given to the items."""
    rng = np.random.default_rng(1)
    response = 10 * rng.normal(size=(3, 4000, 1))
    scores = np.clip(50 + response + 20 * rng.normal(size=(3, 4000, 4)) / 2, 0, 99)
    spread = measured(from_games([game_of("g", scores)], 4))["g"]
    assert spread.chance == pytest.approx(100, rel=0.05)
    assert spread.items == pytest.approx(100, rel=0.1)
    assert spread.chance_played == 0
    assert spread.taken_apart(1.0) == spread
    once = measured(from_games([game_of("g", scores[:, :, :1])], 1))["g"]
    assert once.chance == pytest.approx(200, rel=0.1)
    assert once.items == 0
    half = once.taken_apart(0.5)
    assert half.chance == half.items == once.chance / 2


def test_guesses_are_the_simulators() -> None:
    """A middling model at fresh chance spreads about as the table says; an unknown game takes the worst."""
    found = measured(
        simulate("mid", [CLEAN, CLEAN], np.random.default_rng(2), repeats=2, greedy=False, items=[3000] * 7)
    )
    for game in ("imagegame", "taboo", "referencegame"):
        assert found[game].chance + found[game].items == pytest.approx(FRESH[game].chance, rel=0.12)
    assert guessed("chess", greedy=False).chance == max(one.chance for one in FRESH.values())


@pytest.mark.parametrize(("repeats", "greedy", "margin"), [(1, True, 3.0), (3, False, 3.0)])
def test_forecasts_come_true(repeats: int, greedy: bool, margin: float) -> None:
    """With the repeats that a pilot of three asks for, at least 65 % of 40 audits of one model twice prove it
    within the margin, and with half of them clearly fewer."""
    rng = np.random.default_rng(3)
    spreads = measured(simulate("strong", [CLEAN, CLEAN, CLEAN], rng, repeats=3, greedy=greedy))
    games = [
        PlannedGame(game=game, items=n, spread=spreads[game], source="pilot")
        for game, n in zip(GAMES, ITEMS, strict=True)
    ]
    (points,) = estimate_power(
        games, repeats=repeats, methods=1, margins={"points": margin}, alpha=0.05
    ).endpoints
    assert points.repeats is not None
    proved = 0
    for _ in range(40):
        pairs = pair(
            simulate("strong", [CLEAN, CLEAN], rng, repeats=points.repeats, greedy=greedy), "m0", ("m1",)
        )
        proved += bool(
            equivalence_p(
                strata([one.difference("points") for one in pairs], [one.shared for one in pairs]), margin
            )[0]
            <= 0.05
        )
    assert proved >= 26


def _small(items: int = 20, games: int = 2, chance: float = 400.0) -> PowerEstimate:
    planned = _games(_plain(chance), *[items] * games)
    return estimate_power(planned, repeats=1, methods=1, margins=MARGINS, alpha=0.05)


def _found_share(shifts: list[float], chance: float, items: int, seed: int, audits: int = 400) -> float:
    """Returns the share of fresh audits that the joint test rejects, with normal differences."""
    rng = np.random.default_rng(seed)
    points = [shift + (2 * chance) ** 0.5 * rng.normal(size=(audits, items)) for shift in shifts]
    shared = [np.ones_like(values, dtype=np.bool_) for values in points]
    names = [f"g{place}" for place in range(len(shifts))]
    return float(joint_rejections([points], shared, names, seed, draws=499, alpha=0.05).mean())


def test_what_is_found_is_found_four_times_in_five() -> None:
    """Fresh audits with the difference that is named, in all games and in one, reject in about .8."""
    power = simulate_detection(_small(), seed=1, audits=600)
    found, single = power.endpoints[0].found, power.single
    assert found is not None
    assert single is not None
    assert single > found
    assert 0.73 <= _found_share([found, found], 400.0, 20, seed=2) <= 0.87
    assert 0.73 <= _found_share([single, 0.0], 400.0, 20, seed=3) <= 0.87


def test_too_few_items_find_nothing() -> None:
    """One game of five items has no p below .0625: no difference is found, and no repeats settle a margin."""
    power = simulate_detection(_small(items=5, games=1, chance=0.01), seed=1, audits=100)
    assert power.endpoints[0].found is None
    assert power.single is None
    assert power.needed is None
    assert power.factor >= 6 / 5


def test_the_quick_joint_test_decides_as_the_joint_test() -> None:
    """999 draws decide as 9,999 draws do for 95 % of 200 contrasts with differences from none to large, and
    reject as many; five items, which allow no p below .0625, are never rejected."""
    rng = np.random.default_rng(4)
    size = np.linspace(0, 1, 200)[:, None]
    games = [rng.normal(size=(200, items)) + size for items in (12, 30)]
    endpoints = [games, [np.zeros_like(games[0]), rng.normal(size=games[1].shape)]]
    shared = [np.ones_like(values, dtype=np.bool_) for values in games]
    joint = sign_flip_test(endpoints, shared, ["a", "b"], 5).joint
    for alpha in (0.01, 0.05):
        quick = joint_rejections(endpoints, shared, ["a", "b"], 6, draws=999, alpha=alpha)
        assert (quick == (joint <= alpha)).mean() >= 0.95
        assert abs(float(quick.mean() - (joint <= alpha).mean())) <= 0.03
    five = [[np.full((3, 5), -100.0)]]
    assert not joint_rejections(five, [np.full((3, 5), True)], ["a"], 6, draws=999, alpha=0.05).any()


def test_a_pilot_gives_a_range() -> None:
    """The range over resampled pilots holds the figures of the pilot itself, and has a width."""
    pilot = simulate("strong", [CLEAN, CLEAN], np.random.default_rng(8), repeats=2, greedy=False)
    spreads = measured(pilot)
    games = [PlannedGame(game=game, items=60, spread=spreads[game], source="pilot") for game in GAMES[:2]]
    power = estimate_power(games, repeats=3, methods=1, margins=MARGINS, alpha=0.05)
    power = simulate_detection(power, seed=1, audits=200)
    ranged = with_pilot_range(power, measured_again(pilot, seed=1, resamples=60), MARGINS)
    assert ranged.pilot is not None
    low, high = ranged.pilot.found
    found = power.endpoints[0].found
    assert low is not None
    assert high is not None
    assert found is not None
    assert low < found < high
    fewest, most = ranged.pilot.repeats
    assert power.needed is not None
    assert fewest is not None
    assert fewest <= power.needed <= (most or power.needed)
