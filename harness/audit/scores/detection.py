"""Finds the difference that an audit detects in four of five cases, by simulating the audits themselves.

Knows the variances of a planned audit; nothing of stores. Each simulated audit is the joint sign-flip test of
drawn item differences, once with the same shift in every game and once with a shift in one game alone.
Keeps: a range where the variances come from a pilot. Does not promise: the shape of real scores. Differences
are normal and those of the two endpoints independent; in a game whose plays all came out alike, a shift is a
share of items that lose everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf, sqrt

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray
from harness.audit.scores.intervals import POINTS_MAX
from harness.audit.scores.power import PilotRange, PowerEstimate, Spread, estimate_power
from harness.audit.scores.sample_size import MARGIN_MAX, POWER, differing_min
from harness.audit.scores.sign_flips import joint_rejections
from harness.core.seeds import derive_seed

AUDITS = 2_000  # simulated for each power: its standard error at .8 is .009
FLIPS = 999  # draws of each simulated test; a test of 9,999 has less than .01 more power
CHUNK = 50  # simulated audits with the same draws of signs, and whose statistics are held at once
STEPS = 8  # at most, of the search for a power of .8; three are usual
COARSE = 8  # the search takes so many times fewer audits than its last step
NEAR = 0.2  # standard errors from the wanted shift at which the last step is taken
RARE_VARIANCE = 500.0  # of 100 points lost by one item in twenty: the scale of the search where none is known
RANGE = (0.03, 0.97)  # quantiles over resamples; such ranges held the truth in 85 to 95 % of pilots


def simulate_detection(power: PowerEstimate, *, seed: int, audits: int = AUDITS) -> PowerEstimate:
    """Returns the estimate with the smallest differences that four audits in five find, by simulated audits.

    Each audit is the joint sign-flip test of normal item differences with the games' variances. The
    difference is the same in all games (`found`), or in one game alone (`single`)."""
    by_error = sorted(power.games, key=lambda game: game.variance("points", power.repeats) / game.items)
    middle = by_error[len(by_error) // 2]  # the largest of several estimates is too large on average
    everywhere = [1.0] * len(power.games)
    alone = [float(game is middle) for game in power.games]
    found = _found(power, everywhere, seed=seed, audits=audits)
    points, *others = power.endpoints
    # The other endpoint is not simulated: its test has the same number of comparisons.
    ratio = None if found is None or points.se == 0 else found / points.se
    return replace(
        power,
        endpoints=(
            replace(points, found=found),
            *(
                replace(one, found=None if ratio is None else min(MARGIN_MAX, ratio * one.se))
                for one in others
            ),
        ),
        single=_found(power, alone, seed=seed, audits=audits),
        single_game=middle.game,
    )


def with_pilot_range(
    power: PowerEstimate, pilots: Sequence[Mapping[str, Spread]], margins: Mapping[str, float]
) -> PowerEstimate:
    """Returns the estimate with its ranges over pilots.

    power    with its detection simulated
    pilots   spreads of resampled pilots; a game that one lacks keeps its spread
    margins  of the estimate"""
    found, single, repeats = [], [], []
    base = power.endpoints[0]
    game_se = sqrt(_single_variance(power))
    for pilot in pilots:
        games = [replace(game, spread=pilot.get(game.game, game.spread)) for game in power.games]
        again = estimate_power(
            games, repeats=power.repeats, methods=power.methods, margins=margins, alpha=power.alpha
        )
        found.append(_scaled(base.found, again.endpoints[0].se, base.se))
        single_se = sqrt(_single_variance(replace(power, games=again.games)))
        single.append(_scaled(power.single, single_se, game_se))
        repeats.append(inf if again.needed is None else again.needed)
    return replace(
        power,
        pilot=PilotRange(
            found=_range(found),
            single=_range(single),
            repeats=_whole(np.quantile(repeats, RANGE, method="nearest")),
        ),
    )


def _found(power: PowerEstimate, pattern: Sequence[float], *, seed: int, audits: int) -> float | None:
    """Returns the shift times this pattern over games that is found with a power of POWER; None above 100."""
    alpha = power.alpha / max(1, power.methods)
    if sum(game.items for game in power.games) < differing_min(alpha):
        return None
    noise = _noise(power, seed, audits)
    goal = float(stats.norm.ppf(POWER))

    def score_at(shift: float, count: int) -> float:
        """Returns by how many standard errors the shift exceeds the wanted one, from so many audits."""
        part = [[values[:count] for values in endpoint] for endpoint in noise]
        share = float(_rejected(power, part, [shift * one for one in pattern], alpha, seed).mean())
        return float(stats.norm.ppf(min(max(share, 0.5 / count), 1 - 0.5 / count))) - goal

    weights = [one / sum(pattern) for one in pattern]
    se = sqrt(
        sum(
            weight**2 * (game.variance("points", power.repeats) or RARE_VARIANCE) / game.items
            for game, weight in zip(power.games, weights, strict=True)
        )
    )
    comparisons = len(noise) * (1 + len(power.games))
    start = float(stats.norm.ppf(1 - alpha / 2 / comparisons)) + goal
    return _root(score_at, max(start * se, 1e-6), max(se, 1e-6), audits)


def _root(score_at: Callable[[float, int], float], start: float, se: float, audits: int) -> float | None:
    """Finds where an increasing function crosses 0; None above MARGIN_MAX.

    A few steps with few audits come near, one step with all of them ends the search. Close to the root the
    function is a straight line that rises by about 1 in one `se`."""
    low, high, shift = 0.0, inf, min(start, MARGIN_MAX)
    for _ in range(STEPS):
        score = score_at(shift, audits // COARSE)
        if score < 0 and shift >= MARGIN_MAX:
            return None
        low, high = (shift, high) if score < 0 else (low, shift)
        if abs(score) <= NEAR:
            break
        step = min(MARGIN_MAX, shift - score * se)
        shift = step if low < step < high else (low + min(high, MARGIN_MAX)) / 2
    return min(MARGIN_MAX, max(0.0, shift - score_at(shift, audits) * se))


def _noise(power: PowerEstimate, seed: int, audits: int) -> list[list[FloatArray]]:
    """Draws what a shift is added to, [endpoint][game]: (audits, items).

    Normal differences; uniform numbers where the points of a game have no variance. An endpoint after the
    first without any variance has no tests, and is left out."""
    rng = np.random.default_rng(derive_seed(seed, "power"))
    endpoints = []
    for place, endpoint in enumerate(power.endpoints):
        variances = [game.variance(endpoint.endpoint, power.repeats) for game in power.games]
        if place == 0 or any(variances):
            endpoints.append(
                [
                    _drawn(rng, variance, place == 0, audits, game.items)
                    for game, variance in zip(power.games, variances, strict=True)
                ]
            )
    return endpoints


def _drawn(rng: np.random.Generator, variance: float, shifted: bool, audits: int, items: int) -> FloatArray:
    """Draws in pairs of opposite sign: the share that a shift rejects then varies less."""
    half = ((audits + 1) // 2, items)
    if variance == 0 and shifted:
        uniform = rng.random(size=half)
        pairs = np.stack([uniform, 1 - uniform], axis=1)
    else:
        normal = sqrt(variance) * rng.normal(size=half)
        pairs = np.stack([normal, -normal], axis=1)
    return pairs.reshape(-1, items)[:audits]


def _rejected(
    power: PowerEstimate,
    noise: Sequence[Sequence[FloatArray]],
    shifts: Sequence[float],
    alpha: float,
    seed: int,
) -> BoolArray:
    """Returns which audits the joint test rejects with these shifts of points in each game, (audits,)."""
    points = [
        values + shift if game.variance("points", power.repeats) > 0 else _rare(values, shift)
        for game, values, shift in zip(power.games, noise[0], shifts, strict=True)
    ]
    endpoints = [points, *noise[1:]]
    names = [game.game for game in power.games]
    rejected = []
    for start in range(0, len(points[0]), CHUNK):
        rows = slice(start, start + CHUNK)
        parts = [[np.round(values[rows], 9) for values in endpoint] for endpoint in endpoints]
        shared = [np.ones_like(values, dtype=np.bool_) for values in parts[0]]
        flips = derive_seed(seed, "power flips", start)
        rejected.append(joint_rejections(parts, shared, names, flips, draws=FLIPS, alpha=alpha))
    return np.concatenate(rejected)


def _rare(uniform: FloatArray, shift: float) -> FloatArray:
    """Returns differences of 0 or POINTS_MAX with this mean."""
    return np.where(uniform < shift / POINTS_MAX, POINTS_MAX, 0.0)


def _single_variance(power: PowerEstimate) -> float:
    game = next(game for game in power.games if game.game == power.single_game)
    return game.variance("points", power.repeats) / game.items


def _scaled(found: float | None, se: float, base: float) -> float:
    return inf if found is None else found * se / base if base > 0 else found


def _range(values: Sequence[float]) -> tuple[float | None, float | None]:
    low, high = np.quantile(values, RANGE, method="nearest")
    return (None if low > MARGIN_MAX else float(low), None if high > MARGIN_MAX else float(high))


def _whole(values: FloatArray) -> tuple[int | None, int | None]:
    low, high = values.tolist()
    return (None if low == inf else int(low), None if high == inf else int(high))
