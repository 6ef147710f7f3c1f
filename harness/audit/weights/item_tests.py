"""Computes tests and intervals that compare two samples of items; their figures are pooled over tokens.

The tokens of an item are not independent draws, so permutations and bootstraps move whole items. Knows sums
and counts by item, not what they count.
Keeps: the difference of means is divided by its standard error in every draw, so that samples with longer and
shorter items keep the test's size. Where both samples have the same items, these are alike, and the test is
conservative.
Source: studentised permutation, Janssen (1997), Statistics & Probability Letters 36."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import FloatArray

DRAWS = 1_999
_SMALL = 1e-12
_AT_ONCE = 200  # draws: bounds memory

Statistic = Callable[[FloatArray, FloatArray], FloatArray]
"""A function that compares two samples in every draw.

It takes the sums of the first sample and the sums of the second sample, both (draws, columns). It returns
(draws,): a value is large if the two samples of that draw differ."""


def moments(sample: FloatArray) -> FloatArray:
    """Returns (items, 5) of sums and counts by item, (items, 2): both, their squares and their product."""
    total, count = sample.T
    return np.stack([total, count, total * total, total * count, count * count], axis=1)


def mean_excess(first: FloatArray, second: FloatArray) -> FloatArray:
    """Returns how many standard errors larger the mean of the second is; columns are sums of `moments`."""
    (one, one_variance), (other, other_variance) = _mean_with_variance(first), _mean_with_variance(second)
    difference = np.round(other - one, 12)
    error = np.sqrt(one_variance + other_variance)
    return np.where(error > 0, difference / np.maximum(error, _SMALL), np.sign(difference) / _SMALL)


def mean_distance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Returns the same without its sign."""
    return np.abs(mean_excess(first, second))


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
    """Returns the difference of means, second minus first, in each bootstrap draw of items, sorted.

    first, second  (items, 2): a sum and its count"""
    drawn = [_mean(_resampled(sample, rng, draws)) for sample in (first, second)]
    return np.sort(drawn[1] - drawn[0])


def rate_high(count: float, tokens: float, alpha: float) -> float:
    """Returns the upper bound of a rate, from the number of cases among these tokens.

    source  Clopper & Pearson (1934)"""
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


def _mean_with_variance(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns a mean by token and its variance over items (the ratio estimator: Cochran 1977, ch. 6)."""
    count, mean = np.maximum(sums[:, 1], 1.0), _mean(sums)
    residual = sums[:, 2] - 2 * mean * sums[:, 3] + mean**2 * sums[:, 4]
    return mean, np.maximum(residual, 0.0) / count**2


def _mean(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1.0))
