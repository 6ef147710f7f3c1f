"""Compares every pair of methods in every game: exploratory, no basis for a verdict.

Knows the score array. Keeps: of the differences that it marks, one in ten may be chance
(Benjamini-Hochberg)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import ScoreArray
from harness.audit.scores.sign_flips import single_p

FALSE_SHARE = 0.10  # of the marked pairs; usual in exploratory work, where a false lead costs a look
DRAWS = 1_999  # the smallest p is 1/2,000, below 0.10 over two hundred comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFinding:
    """Second minus first in one game, in points; p by sign flips; found: among the marked ones."""

    first: str
    second: str
    game: str
    items: int
    difference: float
    p: float
    found: bool


def compare_all_pairs(
    scores: ScoreArray, methods: Sequence[str], seed: int, draws: int = DRAWS
) -> tuple[PairFinding, ...]:
    """Returns every pair and game in which both methods finished an item.

    methods  the pairs are formed of these; seed: root of the random streams; draws: of the sign-flip test
    source   Benjamini & Hochberg (1995), J. R. Statist. Soc. B 57"""
    places = [scores.index(method) for method in methods]
    pairs = list(combinations(range(len(places)), 2))
    if not pairs:
        return ()
    first, second = (np.array([places[pair[k]] for pair in pairs]) for k in (0, 1))
    differences, shared = [], []
    for game in scores.games:
        both = game.finished[first] & game.finished[second]
        plays = both.sum(axis=2)
        sums = np.where(
            both, np.nan_to_num(game.points[second]) - np.nan_to_num(game.points[first]), 0.0
        ).sum(axis=2)
        differences.append(np.round(sums / np.maximum(plays, 1), 9))
        shared.append(plays > 0)
    p = single_p(differences, shared, [game.game for game in scores.games], seed, draws)
    items = np.stack([mask.sum(axis=1) for mask in shared], axis=1)
    mean = np.stack([values.sum(axis=1) for values in differences], axis=1) / np.maximum(items, 1)
    compared = items > 0
    found = np.zeros(p.shape, dtype=np.bool_)
    found[compared] = stats.false_discovery_control(p[compared]) <= FALSE_SHARE
    return tuple(
        PairFinding(
            first=scores.methods[first[k]],
            second=scores.methods[second[k]],
            game=game.game,
            items=int(items[k, g]),
            difference=float(mean[k, g]),
            p=float(p[k, g]),
            found=bool(found[k, g]),
        )
        for k in range(len(pairs))
        for g, game in enumerate(scores.games)
        if compared[k, g]
    )
