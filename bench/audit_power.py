"""Measures whether `audit --plan` keeps its word: differences that it says are found in 80 % of audits, and
the range that it gives from a pilot.

    python -m bench.audit_power [--audits 1000] [--pilots 100] [--only known|pilots] [--setting 0 2]

Every setting plans once, then plays fresh audits with the planned difference and counts how many the audit's
own joint test rejects. Its Monte Carlo error with 1,000 audits is .013, that of the plan about as much."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.audit.scores.arrays import FloatArray
from harness.audit.scores.detection import simulate_detection, with_pilot_range
from harness.audit.scores.power import (
    PlannedGame,
    PowerEstimate,
    Spread,
    estimate_power,
    measured,
    measured_again,
)
from harness.audit.scores.sign_flips import sign_flip_test
from harness.core.seeds import derive_seed
from tests.harness.audit.simulator import from_games, game_of

DRAWS = 2_999  # the p of fewer draws is too large by less than .001
MARGINS = {"points": 3.0, "played": 5.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A sweep with known components: variances in points squared and percent squared."""

    name: str
    games: int
    items: int
    repeats: int
    methods: int = 1
    chance: float = 700.0
    response: float = 0.0
    chance_played: float = 0.0


SETTINGS = (
    Setting(name="60 items x 7 games", games=7, items=60, repeats=1),
    Setting(name="60 x 7, R 3", games=7, items=60, repeats=3),
    Setting(name="60 x 7, R 3, response", games=7, items=60, repeats=3, response=150.0),
    Setting(name="60 x 7, aborts", games=7, items=60, repeats=1, chance_played=900.0),
    Setting(name="60 x 7, four methods", games=7, items=60, repeats=1, methods=4),
    Setting(name="40 x 3", games=3, items=40, repeats=1),
    Setting(name="12 x 2", games=2, items=12, repeats=2),
)

PILOT_SETTINGS = (0, 2, 5)


def planned(setting: Setting, spread: Spread | None = None) -> PowerEstimate:
    known = Spread(
        chance=setting.chance,
        items=setting.response,
        chance_played=setting.chance_played,
        items_played=0.0,
    )
    games = [
        PlannedGame(game=f"g{place}", items=setting.items, spread=spread or known, source="bench")
        for place in range(setting.games)
    ]
    return estimate_power(
        games, repeats=setting.repeats, methods=setting.methods, margins=MARGINS, alpha=0.05
    )


def rejected(setting: Setting, shifts: Sequence[float], audits: int, seed: int) -> float:
    """Returns the share of fresh audits that the joint test rejects at the first step of Holm.

    Repeats, responses and aborts are drawn apart, as an audit averages them; draws of signs are fresh for
    every 25 audits."""
    rng = np.random.default_rng(derive_seed(seed, "bench power", setting.name, *map(str, shifts)))
    found = []
    for start in range(0, audits, 25):
        count = min(25, audits - start)
        points = [shift + differences(rng, setting, count) for shift in shifts]
        endpoints = [points]
        if setting.chance_played:
            deviation = (2 * setting.chance_played / setting.repeats) ** 0.5
            endpoints.append([deviation * rng.normal(size=values.shape) for values in points])
        shared = [np.ones_like(values, dtype=np.bool_) for values in points]
        names = [f"g{place}" for place in range(setting.games)]
        alpha = 0.05 / setting.methods
        found.append(sign_flip_test(endpoints, shared, names, start + seed, DRAWS).joint <= alpha)
    return float(np.concatenate(found).mean())


def differences(rng: np.random.Generator, setting: Setting, audits: int) -> FloatArray:
    """Returns item differences between two equal methods, (audits, items)."""
    shape = (audits, setting.items)
    response = (2 * setting.response) ** 0.5 * rng.normal(size=shape)
    chance = setting.chance**0.5 * rng.normal(size=(2, setting.repeats, *shape)).mean(axis=1)
    return np.asarray(response + chance[1] - chance[0])


def known_components(audits: int, seed: int, settings: Sequence[Setting]) -> None:
    print(f"\n### Differences that are said to be found in .80 ({audits} audits a row)\n")
    print("| setting | in every game: points | found | in one game: points | found |")
    print("|---|---|---|---|---|")
    for setting in settings:
        power = simulate_detection(planned(setting), seed=derive_seed(seed, setting.name) % 2**32)
        found, single = power.endpoints[0].found, power.single
        assert found is not None, setting.name
        assert single is not None, setting.name
        everywhere = rejected(setting, [found] * setting.games, audits, seed)
        alone = rejected(setting, [single] + [0.0] * (setting.games - 1), audits, seed)
        print(f"| {setting.name} | {found:.2f} | {everywhere:.3f} | {single:.2f} | {alone:.3f} |", flush=True)


def pilot_ranges(pilots: int, seed: int, settings: Sequence[Setting]) -> None:
    """The truth of a range is what the same plan says with the known components."""
    print(f"\n### Ranges from pilots ({pilots} pilots a row; share that holds the truth; .80 is promised)\n")
    print("| setting | pilot repeats | every game | one game | repeats | median range of repeats | truth |")
    print("|---|---|---|---|---|---|---|")
    for setting in settings:
        truth = simulate_detection(planned(setting), seed=1)
        for repeats in (2, 3, 5):
            rng = np.random.default_rng(derive_seed(seed, "pilots", setting.name, str(repeats)))
            rows = [pilot_row(rng, setting, repeats, truth, place) for place in range(pilots)]
            shares = [np.mean([row[column] for row in rows]) for column in range(3)]
            low, high = (np.median([row[column] for row in rows]) for column in (3, 4))
            cells = " | ".join(f"{share:.2f}" for share in shares)
            print(
                f"| {setting.name} | {repeats} | {cells} | {low:.0f} to {high:.0f} | {truth.needed} |",
                flush=True,
            )


def pilot_row(
    rng: np.random.Generator, setting: Setting, repeats: int, truth: PowerEstimate, seed: int
) -> tuple[float, float, float, float, float]:
    """Returns whether each range of one pilot holds the truth, and the range of repeats."""
    games = []
    for place in range(setting.games):
        response = setting.response**0.5 * rng.normal(size=(2, setting.items, 1))
        chance = setting.chance**0.5 * rng.normal(size=(2, setting.items, repeats))
        games.append(game_of(f"g{place}", np.clip(50 + (response + chance) / 8, 0, 100)))
    pilot = from_games(games, repeats)
    spreads = {name: scaled(spread, 64) for name, spread in measured(pilot).items()}
    power = planned(setting)
    known = tuple(
        PlannedGame(game=g.game, items=g.items, spread=spreads[g.game], source="p") for g in power.games
    )
    power = estimate_power(known, repeats=setting.repeats, methods=1, margins=MARGINS, alpha=0.05)
    power = detection_of(power, truth)
    again = [
        {name: scaled(spread, 64) for name, spread in one.items()}
        for one in measured_again(pilot, seed=seed, resamples=100)
    ]
    pilot_range = with_pilot_range(power, again, MARGINS).pilot
    assert pilot_range is not None
    low, high = (np.inf if value is None else float(value) for value in pilot_range.repeats)
    return (
        holds(pilot_range.found, truth.endpoints[0].found),
        holds(pilot_range.single, truth.single),
        holds(pilot_range.repeats, truth.needed),
        low,
        high,
    )


def detection_of(power: PowerEstimate, truth: PowerEstimate) -> PowerEstimate:
    """Returns the pilot's estimate with the detection of the truth in proportion to its standard errors: a
    simulation with the same games and items gives the same, and takes a thousand times as long."""
    points, *others = power.endpoints
    known = truth.endpoints[0]
    by_error = sorted(power.games, key=lambda one: one.variance("points", power.repeats))
    game = by_error[len(by_error) // 2]
    ratio = (game.variance("points", power.repeats) / truth.games[0].variance("points", power.repeats)) ** 0.5
    assert known.found is not None
    assert truth.single is not None
    return replace(
        power,
        endpoints=(replace(points, found=known.found * points.se / known.se), *others),
        single=truth.single * ratio,
        single_game=game.game,
    )


def scaled(spread: Spread, factor: float) -> Spread:
    """Returns the variances times this factor: pilots use an eighth of the scale, so that no score is cut."""
    return Spread(
        chance=factor * spread.chance,
        items=factor * spread.items,
        chance_played=spread.chance_played,
        items_played=spread.items_played,
    )


def holds(among: tuple[float | None, float | None], truth: float | None) -> bool:
    low, high = (np.inf if value is None else value for value in among)
    return bool(low <= (np.inf if truth is None else truth) <= high)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audits", type=int, default=1_000)
    parser.add_argument("--pilots", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("known", "pilots"))
    parser.add_argument(
        "--setting", type=int, nargs="*", help="numbers from 0; default: all, three for pilots"
    )
    arguments = parser.parse_args()
    if arguments.only != "pilots":
        chosen = arguments.setting or range(len(SETTINGS))
        known_components(arguments.audits, arguments.seed, [SETTINGS[i] for i in chosen])
    if arguments.only != "known":
        chosen = arguments.setting or PILOT_SETTINGS
        pilot_ranges(arguments.pilots, arguments.seed, [SETTINGS[i] for i in chosen])


if __name__ == "__main__":
    main()
