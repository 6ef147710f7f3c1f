"""Estimates what an audit will be able to show, before anything is played.

Knows items, repeats and the spread of scores, guessed or measured; nothing of stores. Keeps: a guess is named
as one; a margin that no number of repeats confirms is named. Does not promise: a verdict; forecasts hold for
truly equal methods, four times in five. detection.py adds which differences are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np

from harness.audit.scores.arrays import ABORTED, FloatArray, ScoreArray
from harness.audit.scores.intervals import Strata, hidden_bound
from harness.audit.scores.sample_size import differing_min, reach
from harness.core.seeds import derive_seed

REPEATS_MAX = 10_000
RESAMPLES = 200  # of a pilot's items, for the range of what rests on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Variances of one item's result in one game, in points squared and percent squared.

    chance  between plays of one item through one method
    items   an item's own response to a method; as estimated it may be negative, see `estimate_power`
    *_played  the same for being played at all
    apart   false where nothing was played twice: then `chance` has all of the variance"""

    chance: float
    items: float
    chance_played: float
    items_played: float
    apart: bool = True

    def of(self, endpoint: str) -> tuple[float, float]:
        return (self.chance, self.items) if endpoint == "points" else (self.chance_played, self.items_played)

    def taken_apart(self, alike: float) -> Spread:
        """Returns the spread with this share of the variance in the items, unless it was measured apart."""
        if self.apart:
            return self
        return Spread(
            chance=(1 - alike) * self.chance,
            items=self.items + alike * self.chance,
            chance_played=(1 - alike) * self.chance_played,
            items_played=self.items_played + alike * self.chance_played,
        )


def _guess(chance: float, played: float) -> Spread:
    return Spread(chance=chance, items=0.0, chance_played=played, items_played=0.0, apart=False)


# From 20,000 simulated items a game, as tests/harness/audit/simulator.py plays them: the larger variance of a
# strong and a middling model, of one play of an item. Greedy: nine in ten methods play an item by one and the
# same draw. Games that are not listed take the largest of these.
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

    returns  games that two methods or two repeats of one have played; with one repeat chance and response
             are not told apart"""
    found = {}
    for game in scores.games:
        points = _split(game.points)
        played = _split(np.where(game.finished, 100.0 * (game.outcome != ABORTED), np.nan))
        if points is not None and played is not None:
            found[game.game] = Spread(
                chance=points[0],
                items=points[1],
                chance_played=played[0],
                items_played=played[1],
                apart=bool((game.finished.sum(axis=2) >= 2).any()),
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
    return within, (float(np.mean(spreads)) - within * float(np.mean(noise))) / 2


def measured_again(scores: ScoreArray, *, seed: int, resamples: int = RESAMPLES) -> list[dict[str, Spread]]:
    """Returns what `measured` gives for pilots whose items are drawn from this one's with replacement: the
    bootstrap over items, within games."""
    rng = np.random.default_rng(derive_seed(seed, "pilot"))
    found = []
    for _ in range(resamples):
        games = []
        for game in scores.games:
            drawn = rng.integers(0, len(game.items), size=len(game.items))
            games.append(
                replace(
                    game,
                    items=tuple(game.items[i] for i in drawn.tolist()),
                    outcome=game.outcome[:, drawn],
                    score=game.score[:, drawn],
                )
            )
        found.append(measured(replace(scores, games=tuple(games))))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGame:
    """One game of a sweep; source: "guessed", or the store that it was measured in."""

    game: str
    items: int
    spread: Spread
    source: str

    def variance(self, endpoint: str, repeats: int) -> float:
        """Returns the variance of an item's difference between two methods with so many repeats."""
        chance, items = self.spread.of(endpoint)
        return 2 * (items + chance / repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPower:
    """One endpoint of one contrast, in its own unit.

    se        standard error of the difference
    found     the smallest difference, equal in all games, that four audits in five find; None where it was
              not simulated or is above 100
    provable  the smallest margin within which truly equal methods are called EQUIVALENT, four times in five
    floor     no margin below this can be confirmed: the hidden bound of games that show no spread at all
    repeats   in total, that settle the margin; None: no number of repeats does
    factor    items needed over items planned; 1 where repeats do it"""

    endpoint: str
    margin: float
    se: float
    found: float | None
    provable: float
    floor: float
    repeats: int | None
    factor: float

    @property
    def enough(self) -> bool:
        return max(self.provable, self.floor) <= self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotRange:
    """The 90 % ranges of what a pilot says, over pilots of other items. None in a pair: above 100, or more
    than any number of repeats."""

    found: tuple[float | None, float | None]
    single: tuple[float | None, float | None]
    repeats: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerEstimate:
    """The estimated power of a sweep's audit of one model.

    methods   held against the reference; repeats: planned
    single    the smallest difference in points, in one game alone, that four audits in five find; None as
              for `found`;  single_game  that game: the one with the middle standard error
    pilot     how far the figures depend on the pilot's items; None for guessed spreads
    needed    repeats that settle both endpoints; None where only more items do, factor times as many"""

    games: tuple[PlannedGame, ...]
    methods: int
    repeats: int
    alpha: float
    endpoints: tuple[EndpointPower, ...]
    single: float | None = None
    single_game: str = ""
    pilot: PilotRange | None = None

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
    """Returns what repeats prove of truly equal methods. detection.py adds which differences are found.

    repeats  planned; methods: compared with the reference
    margins  endpoint -> margin, "points" and "played"
    source   variance of a stratified mean of paired differences: (2 response + 2 chance / R) / n, weighted;
             Holm's first step. Estimated responses are cut at 0 in their sum over games, not game by game:
             that would add up the noise of the estimates"""
    games = _without_negative(games)
    endpoints = tuple(
        _endpoint(games, endpoint, repeats, margin, alpha / max(1, methods))
        for endpoint, margin in margins.items()
    )
    return PowerEstimate(
        games=tuple(games), methods=methods, repeats=repeats, alpha=alpha, endpoints=endpoints
    )


def _without_negative(games: Sequence[PlannedGame]) -> list[PlannedGame]:
    """Returns the games with responses of at least 0 whose sum is that of the estimates, cut at 0."""
    points = _shares([(game.spread.items, game.items) for game in games])
    played = _shares([(game.spread.items_played, game.items) for game in games])
    return [
        replace(game, spread=replace(game.spread, items=one, items_played=other))
        for game, one, other in zip(games, points, played, strict=True)
    ]


def _shares(responses: Sequence[tuple[float, int]]) -> list[float]:
    """Returns the (response, items) of each game as responses of at least 0 with the same sum over items."""
    whole = sum(response / items for response, items in responses)
    positive = sum(max(0.0, response) / items for response, items in responses)
    factor = max(0.0, whole) / positive if positive > 0 else 0.0
    return [max(0.0, response) * factor for response, _ in responses]


def _endpoint(
    games: Sequence[PlannedGame], endpoint: str, repeats: int, margin: float, alpha: float
) -> EndpointPower:
    weight = 1 / len(games)
    chance = sum(2 * game.spread.of(endpoint)[0] * weight**2 / game.items for game in games)
    items = sum(2 * game.spread.of(endpoint)[1] * weight**2 / game.items for game in games)
    se = sqrt(items + chance / repeats)
    floor = _floor(games, endpoint, alpha, 1.0)
    want = margin / reach(alpha)
    total, testable = sum(game.items for game in games), differing_min(alpha)
    needed = _repeats(chance, want**2 - items) if floor <= margin and total >= testable else None
    return EndpointPower(
        endpoint=endpoint,
        margin=margin,
        se=se,
        found=None,
        provable=reach(alpha) * se,
        floor=floor,
        repeats=needed,
        factor=1.0
        if needed is not None
        else max(
            testable / total, _factor(games, endpoint, (items + chance / repeats) / want**2, margin, alpha)
        ),
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
