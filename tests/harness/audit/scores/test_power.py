"""Forecasts made before anything is played, held against what simulated audits then find."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest

from harness.audit.scores.contrasts import pair
from harness.audit.scores.intervals import equivalence_p, strata
from harness.audit.scores.power import FRESH, PlannedGame, Spread, estimate_power, guessed, measured
from harness.audit.scores.sample_size import reach
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
    all counts as chance."""
    rng = np.random.default_rng(1)
    response = 10 * rng.normal(size=(3, 4000, 1))
    scores = np.clip(50 + response + 20 * rng.normal(size=(3, 4000, 4)) / 2, 0, 99)
    spread = measured(from_games([game_of("g", scores)], 4))["g"]
    assert spread.chance == pytest.approx(100, rel=0.05)
    assert spread.items == pytest.approx(100, rel=0.1)
    assert spread.chance_played == 0
    once = measured(from_games([game_of("g", scores[:, :, :1])], 1))["g"]
    assert once.chance == pytest.approx(200, rel=0.1)
    assert once.items == 0


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
