"""Measures how much one day's replies differ from those of earlier days, and what is ordinary between days.

Knows replies as vectors, by day and ask; nothing of texts, stores or sentences. Keeps: without a change, and
if days vary independently and about as a half-normal distribution does, a difference passes a level more
rarely than the level says once two weeks are known, and about as often before. Does not promise this for days
of which a few are far from all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray

# Days differ by small amounts often and by large ones rarely. Apart from sampling noise their strength is
# taken as half-normal, whose skewness this is.
SKEWNESS = 1.0
# A variance of the days of one kind counts beside the pooled one as if that were known from so many days: a
# baseline of two weeks has four weekend days, whose own variance is a poor estimate.
POOLED_DAYS = 8
# The quantile is never that of more degrees of freedom, which is what two weeks give: the tails of real days
# are longer than normal ones, and a change worth an alarm is far outside them.
FREEDOM_MAX = 12
# Days that vary skewedly, and weekends that vary otherwise than other days, make the spread of few days less
# certain than their number says. So many degrees less halve the false alarms of the second week, as measured
# by bench.drift.
FREEDOM_LOST = 3
TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Replies as vectors, whose inner product is the similarity of two replies.

    mean    (days, asks, places) mean vector of a day's replies to an ask
    count   (days, asks)
    square  (days, asks) squared length of the mean vectors"""

    mean: FloatArray
    count: IntArray
    square: FloatArray

    def of_days(self, days: BoolArray) -> Panel:
        return Panel(mean=self.mean[days], count=self.count[days], square=self.square[days])


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Variation between earlier days of one kind, weekend or not, in shares of their mean similarity.

    mean      (asks,) mean similarity to other days, not a share; NaN of an ask without two days
    days      how many they are
    variance  of a day's mean over asks
    noise     (asks,) variance of one ask's similarity from day to day; NaN likewise"""

    mean: FloatArray
    days: int
    variance: float
    noise: FloatArray

    def noise_of_mean(self, asks: BoolArray) -> float:
        """Returns the sampling noise of a day on which these are answered, as a variance.

        Asks vary independently within a day; one without two days is taken to be as noisy as the others."""
        known = self.noise[asks & ~np.isnan(self.noise)]
        return float(known.mean()) / int(asks.sum()) if len(known) else 0.0


class EarlierDays:
    """Keeps the earlier days of one kind, weekend or not, as sums: one more day costs time linear in their
    number."""

    def __init__(self, panel: Panel) -> None:
        """panel  days of this kind, in order; the first of them is today."""
        self._panel = panel
        self._start = self._today = 0
        self._sums = np.zeros(panel.mean.shape[1:])
        self._replies = np.zeros(panel.count.shape[1], dtype=np.int64)
        self._to_sums = np.zeros(panel.count.shape)

    def __len__(self) -> int:
        return self._today - self._start

    @property
    def answered(self) -> BoolArray:
        """Returns the asks with a reply today and on an earlier day, (asks,)."""
        return np.asarray((self._replies > 0) & (self._panel.count[self._today] > 0))

    @property
    def _days(self) -> slice:
        return slice(self._start, self._today)

    def add_today(self) -> None:
        """Makes today an earlier day, and the next day today."""
        mean, count = self._panel.mean, self._panel.count
        weighted = mean[self._today] * count[self._today][:, None]
        self._to_sums[self._days] += np.einsum("dak,ak->da", mean[self._days], weighted)
        self._sums += weighted
        self._replies += count[self._today]
        self._to_sums[self._today] = np.einsum("ak,ak->a", mean[self._today], self._sums)
        self._today += 1

    def forget(self) -> None:
        """Leaves out all earlier days."""
        self._start = self._today
        self._sums[:] = 0
        self._replies[:] = 0

    def to_others(self) -> tuple[FloatArray, BoolArray]:
        """Returns each earlier day's mean similarity to the other ones, by ask, and where both have replies;
        (days, asks)."""
        count = self._panel.count[self._days]
        others = self._replies - count
        own = count * self._panel.square[self._days]
        similarity = (self._to_sums[self._days] - own) / np.maximum(others, 1)
        return similarity, (count > 0) & (others > 0)

    def variation(self) -> Variation:
        """Measures how similar each earlier day is to the others."""
        similarity, shared = self.to_others()
        count = shared.sum(axis=0)
        mean = np.where(count > 0, _mean_where(similarity, shared, axis=0), np.nan)
        by_day = _mean_where(similarity, shared, axis=1)[shared.any(axis=1)]
        level = float(by_day.mean()) if len(by_day) else 0.0
        if len(by_day) < 2 or level < TINY:
            return Variation(mean=mean, days=len(by_day), variance=0.0, noise=np.full(len(count), np.nan))
        squares = np.where(shared, (similarity - mean) ** 2, 0.0).sum(axis=0)
        noise = np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan) / level**2
        return Variation(
            mean=mean, days=len(by_day), variance=float(by_day.var(ddof=1)) / level**2, noise=noise
        )

    def of_today(self) -> FloatArray:
        """Returns today's mean similarity to the earlier days, (asks,)."""
        to_sums = np.einsum("ak,ak->a", self._panel.mean[self._today], self._sums)
        return np.asarray(to_sums / np.maximum(self._replies, 1))


def difference(usual: Variation, today: FloatArray, answered: BoolArray) -> float:
    """Returns how much less similar today's replies are to those of earlier days than these are to each
    other, on the asks in common, as a share.

    today  (asks,) mean similarity to the earlier days"""
    level = float(usual.mean[answered].mean())
    return 1 - float(today[answered].mean()) / level if level > TINY else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The distribution of an ordinary day's difference.

    spread    standard deviation from day to day, with the sampling noise of today's asks
    between   share of its variance that is variation between days, not sampling noise
    freedom   degrees of freedom of the spread, if days varied normally;  days  in the mean of earlier days"""

    spread: float
    between: float
    freedom: int
    days: int

    def p(self, difference: float, level: float) -> float:
        """Returns the p of one future day that differs so much, in this direction.

        level   the p of an alarm: the longer upper tail is right there
        source  prediction interval: Hahn & Meeker (1991), Statistical Intervals, 4.7; quantile under
                skewness: Cornish & Fisher (1938), first term"""
        if self.spread < TINY:
            return 1.0 if abs(difference) < TINY else 0.0
        tail = 1.0
        if difference > 0:
            normal = float(stats.norm.isf(level))
            tail += SKEWNESS * self.between**1.5 * (normal**2 - 1) / (6 * normal)
        reach = self.spread * tail * float(np.sqrt(1 + 1 / self.days))
        freedom = min(max(self.freedom - FREEDOM_LOST, 1), FREEDOM_MAX)
        return float(stats.t.sf(abs(difference) / reach, freedom))


def expectation(own: Variation, other: Variation, answered: BoolArray) -> Expectation:
    """Returns what is expected of an ordinary day.

    own       variation of the days of its kind;  other  of those of the other kind
    answered  (asks,) that are answered today
    source    a variance of few days, moderated by the pooled one: Smyth (2004), Stat. Appl. Genet. Mol. Biol.
              3(1):3"""
    kinds = [kind for kind in (own, other) if kind.days > 1]
    freedom = sum(kind.days - 1 for kind in kinds)
    pooled = sum((kind.days - 1) * kind.variance for kind in kinds) / max(freedom, 1)
    weight = (own.days - 1) / (own.days - 1 + POOLED_DAYS)
    variance = pooled + weight * max(own.variance - pooled, 0.0)
    between = max(variance - own.noise_of_mean(~np.isnan(own.mean)), 0.0)
    total = between + own.noise_of_mean(answered)
    return Expectation(
        spread=float(np.sqrt(total)),
        between=between / total if total > TINY**2 else 0.0,
        freedom=freedom,
        days=own.days,
    )


def _mean_where(values: FloatArray, shared: BoolArray, *, axis: int) -> FloatArray:
    return np.asarray((values * shared).sum(axis=axis) / np.maximum(shared.sum(axis=axis), 1))
