"""Intervals and equivalence tests for weighted sums of per-game means, and intervals for shares.

Knows numbers only: a stratum is a game, a unit an item, a row of an array one contrast. Keeps: a game whose
differences are all equal has an unknown variance, not none, so every claim of equivalence allows for the
hidden bound: how far that game may still move the mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray

POINTS_MAX = 100.0
# Probabilities of observing none of the hidden items over which bounds are maximised, in steps of 1.2 %.
LEVELS = np.geomspace(1e-6, 1.0, 1201)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """The moments of the differences that inference needs, each array (contrasts, games).

    n         items in the game that both methods of the contrast finished
    mean      of the differences, 0 where n = 0
    variance  their sample variance; with one item the largest possible, POINTS_MAX squared
    third     their unbiased third central moment, 0 below three items
    weight    of the game: equal over games with items, summing to 1"""

    n: FloatArray
    mean: FloatArray
    variance: FloatArray
    third: FloatArray
    weight: FloatArray

    def only(self, contrast: int) -> Strata:
        """Returns the moments of one contrast, (1, games)."""
        row = slice(contrast, contrast + 1)
        return Strata(
            n=self.n[row],
            mean=self.mean[row],
            variance=self.variance[row],
            third=self.third[row],
            weight=self.weight[row],
        )

    def grown(self, factor: float) -> Strata:
        """Returns the same moments for `factor` times as many items."""
        return Strata(
            n=self.n * factor, mean=self.mean, variance=self.variance, third=self.third, weight=self.weight
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A weighted sum of per-game means, each array (contrasts,).

    se    its standard error; 0 when all differences within every game are equal
    df    Welch-Satterthwaite degrees of freedom, infinite when se is 0
    skew  third moment of the estimate over se cubed"""

    estimate: FloatArray
    se: FloatArray
    df: FloatArray
    skew: FloatArray


def strata(values: Sequence[FloatArray], shared: Sequence[BoolArray]) -> Strata:
    """Returns the moments of each game.

    values  for each game (contrasts, items), 0 where not shared
    shared  for each game (contrasts, items)"""
    n = np.stack([mask.sum(axis=1) for mask in shared], axis=1).astype(np.float64)
    count = np.maximum(n, 1)
    mean = np.stack([x.sum(axis=1) for x in values], axis=1) / count
    centred = [
        np.where(mask, x - mean[:, g, None], 0.0)
        for g, (x, mask) in enumerate(zip(values, shared, strict=True))
    ]
    square = np.stack([(x**2).sum(axis=1) for x in centred], axis=1)
    cube = np.stack([(x**3).sum(axis=1) for x in centred], axis=1)
    variance = np.where(n > 1, square / np.maximum(n - 1, 1), POINTS_MAX**2)
    variance[variance <= 1e-12 * (1 + mean**2)] = 0.0
    third = np.where(n > 2, count * cube / np.maximum((n - 1) * (n - 2), 1), 0.0)
    return Strata(n=n, mean=mean, variance=variance, third=third, weight=equal_weights(n))


def equal_weights(n: FloatArray) -> FloatArray:
    """Returns 1/G for each of a contrast's G games that have items, 0 for the others."""
    present = n > 0
    return np.asarray(present / np.maximum(present.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def total(parts: Strata) -> Total:
    """Returns the stratified estimate with its error.

    source  variance of a stratified mean; degrees of freedom by Satterthwaite (1946), Welch (1947)"""
    count = np.maximum(parts.n, 1)
    share = parts.weight**2 * parts.variance / count
    variance = share.sum(axis=1)
    spread = (share**2 / np.maximum(parts.n - 1, 1)).sum(axis=1)
    known = variance > 0
    df = np.full(len(variance), np.inf)
    np.divide(variance**2, spread, out=df, where=known)
    se = np.sqrt(variance)
    skew = np.zeros(len(variance))
    np.divide((parts.weight**3 * parts.third / count**2).sum(axis=1), se**3, out=skew, where=known)
    return Total(estimate=(parts.weight * parts.mean).sum(axis=1), se=se, df=df, skew=skew)


def t_interval(whole: Total, level: float) -> tuple[FloatArray, FloatArray]:
    """Returns both ends of Student's interval at this level, (contrasts,) each."""
    reach = stats.t.ppf(0.5 + level / 2, whole.df) * whole.se
    return whole.estimate - reach, whole.estimate + reach


def equivalence_interval(parts: Strata, tail: float) -> tuple[FloatArray, FloatArray]:
    """Returns bounds that the truth exceeds with at most probability `tail` each, (contrasts,) each.

    They lie inside +-margin exactly when `equivalence_p` <= tail. They are the outer of Student's and of
    Hall's skewness-corrected bounds. Where a game's differences are all equal, an error needs two events:
    none of the hidden items is observed (probability L), and the bound of the rest fails (probability tail /
    L). The bound is the widest over all L.
    source  Hall (1992), On the removal of skewness by transformation, J. R. Statist. Soc. B 54"""
    whole = total(parts)
    hidden = hidden_bound(parts, LEVELS)
    low, high = whole.estimate.copy(), whole.estimate.copy()
    for contrast in range(len(low)):
        levels = LEVELS if hidden[contrast].any() else LEVELS[-1:]
        possible = levels > tail
        unseen = hidden[contrast, -len(levels) :][possible]
        t = stats.t.ppf(1 - tail / levels[possible], whole.df[contrast])
        se, skew = whole.se[contrast], np.full(len(t), whole.skew[contrast])
        low[contrast] -= (unseen + se * np.maximum(t, _unskewed(t, skew))).max()
        high[contrast] += (unseen + se * np.maximum(t, -_unskewed(-t, skew))).max()
    return low, high


def _unskewed(x: FloatArray, skew: FloatArray) -> FloatArray:
    """Returns Hall's inverse transformation: the studentised mean whose transform is x."""
    safe = np.where(np.abs(skew) < 1e-8, 1.0, skew)
    return np.where(np.abs(skew) < 1e-8, x, 3 / safe * (np.cbrt(1 + safe * (x - safe / 6)) - 1))


def _skewed(y: FloatArray, skew: FloatArray) -> FloatArray:
    """Returns Hall's transformation of a studentised mean: monotone, close to a normal score."""
    return y + skew * y**2 / 3 + skew**2 * y**3 / 27 + skew / 6


def equivalence_p(parts: Strata, margin: float) -> FloatArray:
    """Returns p of "the weighted sum lies at or beyond +-margin", (contrasts,).

    Two one-sided tests, each by the larger p of t and Hall's t. Where a game's differences are all equal, a
    difference at the margin may be partly hidden there: the p is then the probability of observing none of
    the hidden part times the p of the rest, for the hidden part that makes it largest.
    source  Schuirmann (1987), J. Pharmacokin. Biopharm. 15; Hall (1992)"""
    whole = total(parts)
    hidden = hidden_bound(parts, LEVELS)
    return np.array(
        [
            (LEVELS * _two_sided(whole, contrast, margin - hidden[contrast])).max()
            if hidden[contrast].any()
            else _two_sided(whole, contrast, np.array([margin]))[0]
            for contrast in range(len(whole.estimate))
        ]
    )


def _two_sided(whole: Total, contrast: int, room: FloatArray) -> FloatArray:
    """Returns the largest p of both sides and both kinds of t at these margins."""
    estimate, se, df, skew = (
        whole.estimate[contrast],
        whole.se[contrast],
        whole.df[contrast],
        whole.skew[contrast],
    )
    if se == 0:
        return np.where(np.abs(estimate) < room, 0.0, 1.0)
    below, above = (estimate - room) / se, (estimate + room) / se
    tails = [
        stats.t.cdf(below, df),
        stats.t.cdf(_skewed(below, skew), df),
        stats.t.sf(above, df),
        stats.t.sf(_skewed(above, skew), df),
    ]
    return np.asarray(np.max(tails, axis=0), dtype=np.float64)


def hidden_bound(parts: Strata, level: FloatArray) -> FloatArray:
    """Returns how far games whose differences are all equal may still move the weighted sum, (contrasts,
    levels).

    If a share pi_g of game g's items would have come out otherwise, n_g items show none of them with
    probability (1 - pi_g)^n_g. The bound is the largest sum of w_g (100 + |mean_g|) pi_g for which the
    product of these probabilities is at least the level: for one game 100 (1 - level^(1/n)) w, for several
    games less than the sum of their separate bounds, and as exact."""
    alike = (parts.variance == 0) & (parts.weight > 0)
    bound = np.zeros((len(parts.n), len(level)))
    for contrast in np.flatnonzero(alike.any(axis=1)):
        games = alike[contrast]
        reach = parts.weight[contrast, games] * (POINTS_MAX + np.abs(parts.mean[contrast, games]))
        bound[contrast] = _largest_hidden(parts.n[contrast, games], reach, level)
    return bound


def _largest_hidden(n: FloatArray, reach: FloatArray, level: FloatArray) -> FloatArray:
    """Maximises sum reach (1 - x) subject to sum n log x >= log level and 0 < x <= 1.

    The solution is x = min(1, lambda n / reach); games with the largest reach per item come first."""
    order = np.argsort(n / reach)
    n, reach = n[order], reach[order]
    offset = np.log(n / reach)
    log_lambda = (np.log(level)[:, None] - np.cumsum(n * offset)) / np.cumsum(n)
    used = np.maximum((log_lambda + offset < 0).sum(axis=1), 1) - 1
    chosen = np.take_along_axis(log_lambda, used[:, None], axis=1)
    x = np.exp(np.minimum(chosen + offset, 0.0))
    return np.asarray((reach * (1 - x)).sum(axis=1), dtype=np.float64)


def share_interval(hits: FloatArray, tries: FloatArray, alpha: float) -> tuple[float, float]:
    """Returns Wilson's interval for a share at the effective sample size; tries are clustered in units.

    hits, tries  (units,); with one try a unit this is Wilson's interval; a unit counts for at least one try
    source       Wilson (1927); effective size as in Dean & Pagano (2015), J. Survey Statist. Methodol. 3"""
    share = hits.sum() / tries.sum()
    units, spread = float((tries > 0).sum()), share * (1 - share)
    variance = ((hits - share * tries) ** 2).sum() / tries.sum() ** 2
    size = max(units, float(spread / variance)) if variance > 0 else units
    return _wilson(share, size, float(stats.norm.ppf(1 - alpha / 2)))


def mean_interval(mean: float, influence: FloatArray, alpha: float) -> tuple[float, float]:
    """Returns an interval for a mean or ratio in [0, 100] from its influence values, (units,).

    One unit does not show any spread: [0, 100]. If all values are equal, a share 1 - alpha^(1/n) of the units
    may still differ, and the interval allows for it.
    source  Wilson (1927) with Student's quantile, at the effective sample size: the number of scores of 0 and
            100 alone that would have the observed error. Student's own interval covers .85 to .94 for few
            units near a bound, this one .93 and more"""
    n = len(influence)
    if n < 2:
        return 0.0, POINTS_MAX
    variance = float((influence**2).sum() / (n - 1)) / n
    if variance <= 1e-12:
        hidden = 1 - alpha ** (1 / n)
        return mean * (1 - hidden), mean + (POINTS_MAX - mean) * hidden
    share = mean / POINTS_MAX
    size = share * (1 - share) * POINTS_MAX**2 / variance
    low, high = _wilson(share, size, float(stats.t.ppf(1 - alpha / 2, n - 1)))
    return POINTS_MAX * low, POINTS_MAX * high


def _wilson(share: float, size: float, quantile: float) -> tuple[float, float]:
    """Returns Wilson's interval for a share, within [0, 1].

    size  number of independent tries, more than 0"""
    square = quantile**2
    centre = (share + square / (2 * size)) / (1 + square / size)
    reach = np.sqrt(square * share * (1 - share) / size + square**2 / (4 * size**2)) / (1 + square / size)
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))
