"""Limits what an audit may conclude while a sweep is unfinished: the level, and the bounds.

Knows how far each method's plays have ended; nothing of stores. Keeps: only whole look blocks are compared,
at the levels of the interim analyses; without one there are bounds only, which hold whatever the open plays
will score (Lan & DeMets 1983, Biometrika 70; Horowitz & Manski 2000, J. Amer. Statist. Assoc. 95)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.audit.scores.evidence import Level
from harness.audit.scores.interim import spending
from harness.audit.scores.intervals import POINTS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodProgress:
    """The progress of one method's planned plays.

    complete  nothing more is to be played
    shares    of the planned plays at the end of each look block (or session), rising to 1; empty: not known
    whole     how many of these, from the first on, have ended
    planned   plays of each game;  ended: those with an outcome;  points: the sum of their scores"""

    complete: bool
    shares: tuple[float, ...]
    whole: int
    planned: Mapping[str, int]
    ended: Mapping[str, int]
    points: Mapping[str, float]

    @property
    def not_ended(self) -> int:
        """Returns how many planned plays have no outcome."""
        return sum(max(0, planned - self.ended.get(game, 0)) for game, planned in self.planned.items())


def level_of(
    reference: MethodProgress | None, method: MethodProgress | None, *, alpha: float
) -> Level | None:
    """Returns the levels at which two methods may be compared now; None if no look block has ended for both.

    reference, method   None: without a plan, as imported methods are; they count as complete"""
    unfinished = [one for one in (reference, method) if one is not None and not one.complete]
    if not unfinished:
        return Level(difference=alpha, equivalence=alpha, interval=alpha)
    number, shares = min(one.whole for one in unfinished), unfinished[0].shares
    if number == 0:
        return None
    spent = spending(shares, alpha)
    return Level(
        difference=spent.difference[number - 1],
        equivalence=spent.equivalence[number - 1],
        interval=spent.repeated[number - 1],
        number=number,
        of=len(shares),
        share=shares[number - 1],
    )


def difference_bounds(reference: MethodProgress, method: MethodProgress) -> tuple[float, float]:
    """Returns the bounds of the difference in mean score with every play that has not ended at 0 and at
    100."""
    games = [game for game, planned in reference.planned.items() if planned and method.planned.get(game)]
    low = high = 0.0
    for game in games:
        (low_a, high_a), (low_b, high_b) = _mean_bounds(reference, game), _mean_bounds(method, game)
        low += (low_b - high_a) / len(games)
        high += (high_b - low_a) / len(games)
    return max(-POINTS_MAX, low), min(POINTS_MAX, high)


def _mean_bounds(progress: MethodProgress, game: str) -> tuple[float, float]:
    planned, points = progress.planned[game], progress.points.get(game, 0.0)
    missing = max(0, planned - progress.ended.get(game, 0))
    return points / planned, (points + POINTS_MAX * missing) / planned
