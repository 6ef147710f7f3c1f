"""Tests and intervals over items: figures of two samples of items, pooled over their tokens.

An item is a set of replies, so its tokens are no independent draws: labels are exchanged, and items drawn, as
wholes. Knows sums and counts by item, not of what.
Keeps: exact p-values, (1 + count) / (draws + 1). Where both samples have the same items, these are alike, and
the test is conservative."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import FloatArray

DRAWS = 1_999
_AT_ONCE = 200  # draws: bounds memory

Statistic = Callable[[FloatArray, FloatArray], FloatArray]
"""(sums of the first sample, of the second), each (draws, columns) -> (draws,): large where they differ."""


def ratio_excess(first: FloatArray, second: FloatArray) -> FloatArray:
    """Returns how much larger the mean of the second is: columns are a sum and its count."""
    return np.asarray(_mean(second) - _mean(first))


def ratio_distance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Returns the absolute difference of both means."""
    return np.abs(ratio_excess(first, second))


def histogram_distance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Returns the squared distance between the shares of two histograms."""
    shares = [one / np.maximum(one.sum(axis=1, keepdims=True), 1.0) for one in (first, second)]
    return np.asarray(((shares[0] - shares[1]) ** 2).sum(axis=1))


def permutation_p(
    first: FloatArray, second: FloatArray, statistic: Statistic, rng: np.random.Generator, draws: int = DRAWS
) -> float:
    """Returns the p-value of one source, by exchanging the labels of items.

    first, second  (items, columns) of the two samples"""
    values = np.concatenate([first, second])
    total = values.sum(axis=0)
    observed = float(statistic(first.sum(axis=0)[None], second.sum(axis=0)[None])[0])
    reached = 0
    for start in range(0, draws, _AT_ONCE):
        many = min(_AT_ONCE, draws - start)
        chosen = rng.random((many, len(values))).argsort(axis=1) < len(second)
        sums = chosen.astype(np.float64) @ values
        reached += int((statistic(total - sums, sums) >= observed - 1e-12).sum())
    return (1 + reached) / (draws + 1)


def bootstrap_excess(
    first: FloatArray, second: FloatArray, rng: np.random.Generator, draws: int = DRAWS
) -> FloatArray:
    """Returns how much larger the mean of the second is, in so many draws of items, sorted."""
    drawn = [_resampled(sample, rng, draws) for sample in (first, second)]
    return np.sort(ratio_excess(drawn[0], drawn[1]))


def rate_high(count: float, tokens: float, alpha: float) -> float:
    """Returns the upper bound of a rate of which so many cases were seen (Clopper & Pearson 1934)."""
    return 1.0 if count >= tokens else float(stats.beta.ppf(1 - alpha, count + 1, tokens - count))


def _resampled(sample: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    items = len(sample)
    sums = np.zeros((draws, sample.shape[1]))
    for start in range(0, draws, _AT_ONCE):
        many = min(_AT_ONCE, draws - start)
        times = np.zeros((many, items))
        chosen = rng.integers(items, size=(many, items))
        np.add.at(times, (np.arange(many)[:, None], chosen), 1.0)
        sums[start : start + many] = times @ sample
    return sums


def _mean(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1.0))
