"""Paired differences between access methods and a reference, item by item.

Knows the score array; nothing of chance or verdicts. A contrast is one method against the reference and the
first axis of every array. Keeps: an episode counts only where both methods finished the same repeat of the
same item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray, GameScores, ScoreArray
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
    """Pairs every method with the reference.

    raises  AuditError if a method shares no finished item with the reference"""
    a, b = scores.index(reference), [scores.index(method) for method in methods]
    games = tuple(_pair_game(game, a, b) for game in scores.games)
    shared = np.sum([game.shared.sum(axis=1) for game in games], axis=0)
    for method, index, count in zip(methods, b, shared, strict=True):
        if count == 0:
            raise AuditError(_no_common_items(scores, reference, method, index))
    return games


def _pair_game(game: GameScores, a: int, b: list[int]) -> PairedGame:
    points, played = game.points, game.played
    both = game.finished[b] & game.finished[a]
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


def _no_common_items(scores: ScoreArray, reference: str, method: str, index: int) -> str:
    finished = sum(int(game.finished[index].sum()) for game in scores.games)
    failed = sum(int(game.failed[index].sum()) for game in scores.games)
    if finished == 0:
        return (
            f"{method} cannot be audited: none of its episodes finished ({failed} failed). "
            "Repair the access method or leave it out."
        )
    return (
        f"{method} cannot be compared with {reference}: both finished no common item, by its content hash. "
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


def batch_differences(
    scores: ScoreArray, reference: str, methods: tuple[str, ...], endpoint: str
) -> FloatArray:
    """Returns the macro difference in each batch, (contrasts, batches), from episodes that both finished.

    endpoint  "points" or "played"
    returns   NaN for a batch without such episodes"""
    a, b = scores.index(reference), [scores.index(method) for method in methods]
    labels, batch = np.unique(np.array(scores.batches), return_inverse=True)
    member = np.eye(len(labels))[batch]
    weighted, games = np.zeros((len(b), len(labels))), np.zeros((len(b), len(labels)))
    for game in scores.games:
        values = game.points if endpoint == "points" else 100 * game.played
        difference = values[b] - values[a][None]
        both = np.isfinite(difference)
        count = both.sum(axis=1) @ member
        weighted += np.nan_to_num(difference).sum(axis=1) @ member / np.maximum(count, 1)
        games += count > 0
    return np.where(games > 0, weighted / np.maximum(games, 1), np.nan)


def batch_p(points: FloatArray, played: FloatArray) -> float | None:
    """Returns p of "the mean difference over batches is 0": t over batches on both endpoints, the smaller p
    doubled.

    points, played  (batches,)
    returns         None below three batches: so few do not show how much batches differ"""
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    return min(1.0, 2 * min(_one_sample_p(points), _one_sample_p(played)))


def _one_sample_p(values: FloatArray) -> float:
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-9:
        return 1.0 if abs(mean) <= 1e-9 else 0.0
    return float(2 * stats.t.sf(abs(mean) / spread * np.sqrt(len(values)), len(values) - 1))
