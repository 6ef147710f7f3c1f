"""Estimates how long episodes are, in turns, while many are still open.

Short episodes end first, so the mean over ended ones is too small. A life table counts an open episode for
the turns that it has survived: the hazard of turn k is the share of the episodes that reached turn k and
ended there (Kaplan & Meier 1958, J. Am. Stat. Assoc. 53:457). Where an access method has few plays, the
hazards of all methods in the game fill in, and before these the lengths that are expected. Pure: no time, no
rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

PRIOR_PLAYS = 4.0  # plays that the more general estimate counts as: few, so that real plays soon decide
HAZARD_UNKNOWN = 0.2  # while no play is known at all: some five turns
TAIL_TURNS = 40  # beyond the longest play: less than 1 in 5,000 plays goes further
OUTLIVED_TIMES = 1.5  # a play that is so much longer than any that ended says that those say nothing of it
OUTLIVED_REST = 19.0  # of its length: 95 of 100 such plays end within that


@dataclass(slots=True)
class LifeTable:
    """Counts by turn, from 1: `reached[k]` plays came to the end of turn k, `ended[k]` of them ended there.

    behind   the more general estimate; None for the most general one"""

    behind: LifeTable | None = None
    reached: list[int] = field(default_factory=lambda: [0])
    ended: list[int] = field(default_factory=lambda: [0])

    def reach(self, turn: int) -> None:
        """Counts a play that has come to the end of this turn."""
        while len(self.reached) <= turn:
            self.reached.append(0)
            self.ended.append(0)
        self.reached[turn] += 1
        if self.behind is not None:
            self.behind.reach(turn)

    def end(self, turn: int) -> None:
        """Counts that a play which reached this turn ended there."""
        if 0 < turn < len(self.ended):
            self.ended[turn] += 1
        if self.behind is not None:
            self.behind.end(turn)

    def add_play(self, turns: int) -> None:
        """Counts a whole play."""
        for turn in range(1, turns + 1):
            self.reach(turn)
        self.end(turns)

    @property
    def plays(self) -> int:
        """Returns how many plays have ended."""
        return sum(self.ended)

    @property
    def longest(self) -> int:
        """Returns the turns of the longest play that has ended, here or in the more general estimate."""
        here = next((turn for turn in range(len(self.ended) - 1, 0, -1) if self.ended[turn]), 0)
        return max(here, self.behind.longest) if self.behind is not None else here

    def hazards(self) -> list[float]:
        """Returns the share of the plays that end at each turn, from turn 1; the last one holds beyond it.

        Where few plays are known, the more general estimate fills in; the most general one takes the same
        hazard at every turn."""
        prior = self.behind.hazards() if self.behind is not None else [self._mean_hazard()]
        hazards = []
        for turn in range(1, max(len(self.reached), len(prior) + 1)):
            known = turn < len(self.reached)
            reached, ended = (self.reached[turn], self.ended[turn]) if known else (0, 0)
            expected = prior[min(turn, len(prior)) - 1]
            hazards.append((ended + PRIOR_PLAYS * expected) / (reached + PRIOR_PLAYS))
        return [*hazards, prior[-1]]

    def _mean_hazard(self) -> float:
        """Returns ends over turns: the maximum likelihood estimate of a hazard that does not change."""
        return (self.plays + HAZARD_UNKNOWN) / (sum(self.reached) + 1.0)


class Remainder:
    """The turns that a play still takes, by how many it has behind it.

    mean, variance   by turns behind it, from 0"""

    def __init__(self, hazards: Sequence[float]) -> None:
        self._hazards = [*hazards, *[hazards[-1]] * TAIL_TURNS]
        self.mean, squares = [1.0], [1.0]
        for hazard in reversed(self._hazards[:-1]):
            stays = 1.0 - hazard
            squares.append(1.0 + 2.0 * stays * self.mean[-1] + stays * squares[-1])
            self.mean.append(1.0 + stays * self.mean[-1])
        self.mean.reverse()
        squares.reverse()
        self.variance = [square - mean**2 for square, mean in zip(squares, self.mean, strict=True)]

    def age(self, turns: int) -> int:
        """Returns the place of a play with so many turns behind it."""
        return min(turns, len(self.mean) - 1)

    def survival(self, turns: int) -> list[float]:
        """Returns the probability that the play takes more than 0, 1, 2, ... further turns."""
        result, alive = [], 1.0
        for hazard in self._hazards[self.age(turns) :]:
            result.append(alive)
            alive *= 1.0 - hazard
        return result

    def survival_midway(self) -> list[float]:
        """Returns the same for a play that is met at a random moment: of a renewal process in equilibrium
        (Cox 1962, Renewal Theory, 5.2)."""
        fresh = self.survival(0)
        beyond = list(accumulate(reversed(fresh)))[::-1]
        return [value / beyond[0] for value in beyond]


def outlived_survival(turns: int, turns_max: int | None) -> list[float]:
    """Returns the probability that a play which has outlived all others takes more than 0, 1, 2, ... further
    turns.

    Nothing is known of such a play but its length so far. Met at a random moment of its life, it has more
    than k turns before it with probability turns / (turns + k): in the median as many as behind it (Gott
    1993, Nature 363:315).

    turns_max   turns after which it ends at the latest; None: not known"""
    rest = OUTLIVED_REST * turns if turns_max is None else turns_max - turns
    return [turns / (turns + further) for further in range(max(1, round(rest)))]


def longest(survivals: Sequence[tuple[float, Sequence[float]]]) -> list[float]:
    """Returns the distribution of the longest of some plays: at place k, the probability that none takes more
    than k turns.

    survivals   (number of plays, survival of each of them)"""
    size = max((len(survival) for _, survival in survivals), default=0)
    result = []
    for turns in range(size + 1):
        none_longer = 1.0
        for plays, survival in survivals:
            if turns < len(survival):
                none_longer *= max(0.0, 1.0 - survival[turns]) ** plays
        result.append(none_longer)
    return result


def quantile(distribution: Sequence[float], probability: float) -> float:
    """Returns the smallest number of turns that is not exceeded with this probability; 0 for no plays."""
    return float(
        next(
            (turns for turns, reached in enumerate(distribution) if reached >= probability),
            max(0, len(distribution) - 1),
        )
    )
