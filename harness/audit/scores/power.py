"""What an audit will be able to show, before anything is played.

Knows items, repeats and the spread of scores, guessed or measured; nothing of stores. Keeps: a guess is named
as one; a margin that no number of repeats confirms is named. Does not promise: a verdict; forecasts hold for
truly equal methods, four times in five."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import ABORTED, FloatArray, ScoreArray
from harness.audit.scores.intervals import Strata, hidden_bound
from harness.audit.scores.sample_size import POWER, reach

REPEATS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Variances of one item's result in one game, in points squared and percent squared.

    chance  between plays of one item through one method;  items  an item's own response to a method
    *_played  the same for being played at all"""

    chance: float
    items: float
    chance_played: float
    items_played: float

    def of(self, endpoint: str) -> tuple[float, float]:
        return (self.chance, self.items) if endpoint == "points" else (self.chance_played, self.items_played)


def _guess(chance: float, played: float) -> Spread:
    return Spread(chance=chance, items=0.0, chance_played=played, items_played=0.0)


# From 20,000 simulated items a game, as tests/harness/audit/simulator.py plays them: the larger variance of a
# strong and a middling model. Greedy: nine in ten plays of an item repeat one and the same draw. Games that
# are not listed take the largest of these.
GREEDY = {
    "imagegame": _guess(110, 276),
    "privateshared": _guess(170, 322),
    "referencegame": _guess(303, 0),
    "taboo": _guess(215, 143),
    "wordle": _guess(33, 242),
    "wordle_withclue": _guess(105, 197),
    "wordle_withcritic": _guess(132, 270),
}
FRESH = {
    "imagegame": _guess(470, 1391),
    "privateshared": _guess(780, 1736),
    "referencegame": _guess(1567, 0),
    "taboo": _guess(1043, 715),
    "wordle": _guess(183, 1240),
    "wordle_withclue": _guess(537, 1016),
    "wordle_withcritic": _guess(658, 1430),
}


def guessed(game: str, *, greedy: bool) -> Spread:
    """Returns the spread to expect of a game that was never played."""
    known = GREEDY if greedy else FRESH
    largest = _guess(
        max(spread.chance for spread in known.values()),
        max(spread.chance_played for spread in known.values()),
    )
    return known.get(game, largest)


def measured(scores: ScoreArray) -> dict[str, Spread]:
    """Returns the spread in episodes already played: chance from repeats, response from the differences
    between methods beyond it.

    returns  games that two methods or two repeats of one have played; with one repeat all spread counts as
             chance"""
    found = {}
    for game in scores.games:
        points = _split(game.points)
        played = _split(np.where(game.finished, 100.0 * (game.outcome != ABORTED), np.nan))
        if points is not None and played is not None:
            found[game.game] = Spread(
                chance=points[0], items=points[1], chance_played=played[0], items_played=played[1]
            )
    return found


def _split(values: FloatArray) -> tuple[float, float] | None:
    """Returns (chance, response) of (methods, items, repeats), NaN where missing; None where nothing was
    played twice.

    Response is half the variance of an item's difference between two methods, mean over pairs, minus the part
    that chance explains."""
    count = np.isfinite(values).sum(axis=2)
    mean = np.nansum(values, axis=2) / np.maximum(count, 1)
    square = np.nansum((values - mean[:, :, None]) ** 2, axis=2)
    several = count >= 2
    within = float(square[several].sum() / (count[several] - 1).sum()) if several.any() else None
    spreads, noise = [], []
    for a in range(len(values)):
        for b in range(a + 1, len(values)):
            both = (count[a] > 0) & (count[b] > 0)
            if both.sum() >= 2:
                spreads.append(float((mean[b] - mean[a])[both].var(ddof=1)))
                noise.append(float((1 / count[a][both] + 1 / count[b][both]).mean()))
    if within is None:
        return (max(0.0, float(np.mean(spreads)) / 2), 0.0) if spreads else None
    if not spreads:
        return within, 0.0
    return within, max(0.0, (float(np.mean(spreads)) - within * float(np.mean(noise))) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGame:
    """One game of a sweep; source: "guessed", or the store that it was measured in."""

    game: str
    items: int
    spread: Spread
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPower:
    """One endpoint of one contrast, in its own unit.

    found     the smallest difference that four audits in five find
    provable  the smallest margin within which truly equal methods are called EQUIVALENT, four times in five
    floor     no margin below this can be confirmed: the hidden bound of games that show no spread at all
    repeats   in total, that settle the margin; None: no number of repeats does
    factor    items needed over items planned; 1 where repeats do it"""

    endpoint: str
    margin: float
    se: float
    found: float
    provable: float
    floor: float
    repeats: int | None
    factor: float

    @property
    def enough(self) -> bool:
        return max(self.provable, self.floor) <= self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerEstimate:
    """What a sweep's audit of one model will be able to show.

    methods   held against the reference; repeats: planned
    needed    repeats that settle both endpoints; None where only more items do, factor times as many"""

    games: tuple[PlannedGame, ...]
    methods: int
    repeats: int
    alpha: float
    endpoints: tuple[EndpointPower, ...]

    @property
    def enough(self) -> bool:
        return all(endpoint.enough for endpoint in self.endpoints)

    @property
    def needed(self) -> int | None:
        repeats = [endpoint.repeats for endpoint in self.endpoints]
        return None if None in repeats else max(count for count in repeats if count is not None)

    @property
    def factor(self) -> float:
        return max(endpoint.factor for endpoint in self.endpoints)


def estimate_power(
    games: Sequence[PlannedGame], *, repeats: int, methods: int, margins: Mapping[str, float], alpha: float
) -> PowerEstimate:
    """Returns the forecast for these games.

    repeats  planned; methods: compared with the reference
    margins  endpoint -> margin, "points" and "played"
    source   variance of a stratified mean of paired differences: (2 response + 2 chance / R) / n, weighted;
             Holm's first step"""
    endpoints = tuple(
        _endpoint(games, endpoint, repeats, margin, alpha / max(1, methods))
        for endpoint, margin in margins.items()
    )
    return PowerEstimate(
        games=tuple(games), methods=methods, repeats=repeats, alpha=alpha, endpoints=endpoints
    )


def _endpoint(
    games: Sequence[PlannedGame], endpoint: str, repeats: int, margin: float, alpha: float
) -> EndpointPower:
    weight = 1 / len(games)
    chance = sum(2 * game.spread.of(endpoint)[0] * weight**2 / game.items for game in games)
    items = sum(2 * game.spread.of(endpoint)[1] * weight**2 / game.items for game in games)
    se = sqrt(items + chance / repeats)
    floor = _floor(games, endpoint, alpha, 1.0)
    want = margin / reach(alpha)
    needed = _repeats(chance, want**2 - items) if floor <= margin else None
    return EndpointPower(
        endpoint=endpoint,
        margin=margin,
        se=se,
        found=float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(POWER)) * se,
        provable=reach(alpha) * se,
        floor=floor,
        repeats=needed,
        factor=1.0
        if needed is not None
        else _factor(games, endpoint, (items + chance / repeats) / want**2, margin, alpha),
    )


def _repeats(chance: float, room: float) -> int | None:
    if room <= 0:
        return None if chance > 0 or room < 0 else 1
    count = max(1, ceil(chance / room))
    return count if count <= REPEATS_MAX else None


def _floor(games: Sequence[PlannedGame], endpoint: str, alpha: float, factor: float) -> float:
    """Returns the hidden bound of the games without any spread, whose items will all have equal
    differences."""
    n = np.array([[game.items * factor for game in games]])
    spread = np.array([[sum(game.spread.of(endpoint)) for game in games]])
    expected = Strata(
        n=n,
        mean=np.zeros_like(n),
        variance=spread,
        third=np.zeros_like(n),
        weight=np.full_like(n, 1 / len(games)),
    )
    return float(hidden_bound(expected, np.array([alpha]))[0, 0])


def _factor(
    games: Sequence[PlannedGame], endpoint: str, by_error: float, margin: float, alpha: float
) -> float:
    """Returns by bisection the factor on the number of items that settles the margin, by error and by hidden
    bound."""
    low, high = max(1.0, by_error), 1e6
    if _floor(games, endpoint, alpha, low) <= margin:
        return low
    for _ in range(60):
        middle = sqrt(low * high)
        low, high = (low, middle) if _floor(games, endpoint, alpha, middle) <= margin else (middle, high)
    return high
