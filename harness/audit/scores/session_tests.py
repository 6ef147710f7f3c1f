"""The differences from one session, or batch, of plays to the next: does a verdict hold for the access
method, or for these runs only?

Knows the score array and which session each repeat belongs to. Keeps: a session is the sampling unit here,
however many items and repeats it has; fewer than three sessions do not show how much sessions differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import FloatArray, ScoreArray

# two leave one degree of freedom, at which a t-interval is twelve times as wide as its error
SESSIONS_MIN = 3
# Two methods that merely meet at the ends of their plays were not at work at the same time.
OVERLAP_MIN = 0.1


def differences_by(
    scores: ScoreArray,
    reference: str,
    methods: Sequence[str],
    endpoint: str,
    labels: Sequence[int],
) -> FloatArray:
    """Returns the macro difference within each label, (contrasts, labels), from episodes that both finished.

    endpoint  "points" or "played"
    labels    the session, or batch, of each repeat
    returns   NaN for a label without such episodes"""
    a, b = scores.index(reference), [scores.index(method) for method in methods]
    names, label = np.unique(np.array(labels), return_inverse=True)
    member = np.eye(len(names))[label]
    weighted, games = np.zeros((len(b), len(names))), np.zeros((len(b), len(names)))
    for game in scores.games:
        values = game.points if endpoint == "points" else 100 * game.played
        difference = values[b] - values[a][None]
        both = np.isfinite(difference)
        count = both.sum(axis=1) @ member
        weighted += np.nan_to_num(difference).sum(axis=1) @ member / np.maximum(count, 1)
        games += count > 0
    return np.where(games > 0, weighted / np.maximum(games, 1), np.nan)


def difference_p(points: FloatArray, played: FloatArray) -> float | None:
    """Returns p of "the mean difference over sessions is 0": t on both endpoints, the smaller p doubled.

    points, played  (sessions,)
    returns         None below three sessions"""
    if len(points) < SESSIONS_MIN or not np.isfinite(points).all():
        return None
    return min(1.0, 2 * min(_one_sample_p(points), _one_sample_p(played)))


def sessions_equivalence_p(
    points: FloatArray, played: FloatArray, *, margin: float, margin_played: float
) -> float | None:
    """Returns p of "the mean over sessions lies at or beyond a margin on some endpoint": two one-sided
    t-tests each.

    points, played  (sessions,)
    returns         None below three sessions
    source          the largest p of all needs no adjustment: Berger (1982), Technometrics 24"""
    if len(points) < SESSIONS_MIN or not np.isfinite(points).all():
        return None
    return max(_two_one_sided_p(points, margin), _two_one_sided_p(played, margin_played))


def overlap(scores: ScoreArray, reference: str, method: str) -> float | None:
    """Returns the share of either's plays that started while the other played, the smaller of both; None if
    unknown."""
    if not scores.times:
        return None
    a, b = (scores.times[scores.index(name)] for name in (reference, method))
    if not len(a) or not len(b):
        return None
    shares = [
        float(((own[:, 0] >= other[:, 0].min()) & (own[:, 0] <= other[:, 1].max())).mean())
        for own, other in ((a, b), (b, a))
    ]
    return min(shares)


def _one_sample_p(values: FloatArray) -> float:
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-9:
        return 1.0 if abs(mean) <= 1e-9 else 0.0
    return float(2 * stats.t.sf(abs(mean) / spread * np.sqrt(len(values)), len(values) - 1))


def _two_one_sided_p(values: FloatArray, margin: float) -> float:
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-9:
        return 0.0 if abs(mean) < margin else 1.0
    return float(stats.t.cdf((abs(mean) - margin) / spread * np.sqrt(len(values)), len(values) - 1))
