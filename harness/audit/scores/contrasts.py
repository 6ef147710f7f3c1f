"""Paired differences between access methods and a reference, item by item.

Knows the score array; nothing of chance or verdicts. A contrast is one method against the reference and the
first axis of every array. Keeps: an episode counts only where both methods finished the same repeat of the
same item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import ABSENT, BoolArray, FloatArray, GameScores, ScoreArray
from harness.core.errors import AuditError

ENDPOINTS = ("points", "played")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedGame:
    """One game of every contrast: means of each item over the repeats that both methods finished.

    All arrays are (contrasts, items), 0 where no repeat counts.

    points  in [0, 100]; played: in [0, 1]; `_a` is the reference, `_b` the method
    plays   how many repeats both finished"""

    game: str
    plays: FloatArray
    points_a: FloatArray
    points_b: FloatArray
    played_a: FloatArray
    played_b: FloatArray

    @property
    def shared(self) -> BoolArray:
        return np.asarray(self.plays > 0, dtype=np.bool_)

    def difference(self, endpoint: str) -> FloatArray:
        """Returns b - a of each item, in points or in percent of episodes played; equal means give exactly
        0."""
        if endpoint == "points":
            return np.round(self.points_b - self.points_a, 9)
        return np.round(100 * (self.played_b - self.played_a), 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A game's difference as two parts that add up to it, in points.

    form  from keeping the format of replies more or less often
    play  from playing better or worse when the format is kept"""

    form: float
    play: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Discordance:
    """Counts of items on which exactly one of two methods reached something; p of the exact McNemar test."""

    only_reference: int
    only_method: int
    p: float


def pair(scores: ScoreArray, reference: str, methods: tuple[str, ...]) -> tuple[PairedGame, ...]:
    """Pairs every method with the reference; a game that either never scored is left out of their contrast.

    raises  AuditError if a method shares no finished item with the reference"""
    a, b = scores.index(reference), [scores.index(method) for method in methods]
    games = tuple(_pair_game(game, a, b) for game in scores.games)
    shared = np.sum([game.shared.sum(axis=1) for game in games], axis=0)
    for method, count in zip(methods, shared, strict=True):
        if count == 0:
            raise AuditError(no_common_items(scores, reference, method))
    return games


def comparable(scores: ScoreArray, reference: str, method: str) -> bool:
    """Returns whether both finished a common item of a game that both have scores in."""
    a, b = scores.index(reference), scores.index(method)
    return any(_pair_game(game, a, [b]).shared.any() for game in scores.games)


def unscored_games(scores: ScoreArray, reference: str, method: str) -> tuple[tuple[str, str], ...]:
    """Returns (game, method) for each game in which one of the two finished plays but has no score, or has no
    play where the other has: such a game is left out of their comparison."""
    pairs = (scores.index(reference), reference), (scores.index(method), method)
    missing = []
    for game in scores.games:
        played = [bool((game.outcome[m] != ABSENT).any()) for m, _ in pairs]
        for (m, name), own in zip(pairs, played, strict=True):
            if any(played) and (not own or _never_scored(game)[m]):
                missing.append((game.game, name))
    return tuple(missing)


def _never_scored(game: GameScores) -> BoolArray:
    """Returns which methods finished plays of this game and have a score for none of them, (methods,)."""
    finished, scored = game.finished.any(axis=(1, 2)), game.scored.any(axis=(1, 2))
    return np.asarray(finished & ~scored, dtype=np.bool_)


def _pair_game(game: GameScores, a: int, b: list[int]) -> PairedGame:
    points, played, never_scored = game.points, game.played, _never_scored(game)
    both = game.finished[b] & game.finished[a] & ~(never_scored[b] | never_scored[a])[:, None, None]
    plays = both.sum(axis=2)
    count = np.maximum(plays, 1)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.where(both, values, 0.0).sum(axis=2) / count, dtype=np.float64)

    return PairedGame(
        game=game.game,
        plays=plays.astype(np.float64),
        points_a=mean(points[a][None]),
        points_b=mean(points[b]),
        played_a=mean(played[a][None]),
        played_b=mean(played[b]),
    )


def no_common_items(scores: ScoreArray, reference: str, method: str) -> str:
    """Returns the sentence for a method that cannot be compared with the reference."""
    index = scores.index(method)
    finished = sum(int(game.finished[index].sum()) for game in scores.games)
    failed = sum(int(game.failed[index].sum()) for game in scores.games)
    if finished == 0:
        return (
            f"{method} cannot be audited: none of its episodes finished ({failed} failed). "
            "Repair the access method or leave it out."
        )
    return (
        f"{method} cannot be compared with {reference}: there is no item (with the same content hash) that both finished. "
        "Play the same instances through both, or leave it out."
    )


def split(points_a: float, points_b: float, played_a: float, played_b: float) -> Split:
    """Splits points_b - points_a into a part by form and a part by play; played in [0, 1].

    A quality that is undefined because no episode was played is set to the other method's.
    source  Kitagawa (1955), J. Amer. Statist. Assoc. 50, symmetric form"""
    quality_a = points_a / played_a if played_a > 0 else None
    quality_b = points_b / played_b if played_b > 0 else None
    known_a = quality_a if quality_a is not None else (quality_b or 0.0)
    known_b = quality_b if quality_b is not None else (quality_a or 0.0)
    return Split(
        form=(played_b - played_a) * (known_a + known_b) / 2,
        play=(known_b - known_a) * (played_a + played_b) / 2,
    )


def discordance(reference: FloatArray, method: FloatArray) -> Discordance:
    """Returns McNemar's counts of two columns of 0 and 1, NaN where missing; p is 1 without discordant pairs.

    source  McNemar (1947), Psychometrika 12"""
    both = np.isfinite(reference) & np.isfinite(method)
    only_reference = int(((reference > method) & both).sum())
    only_method = int(((method > reference) & both).sum())
    discordant = only_reference + only_method
    p = float(stats.binomtest(only_method, discordant).pvalue) if discordant else 1.0
    return Discordance(only_reference=only_reference, only_method=only_method, p=p)
