"""Computes how many repeats or items would settle an open verdict, and how many calls that takes.

Knows the variance of paired differences and a margin. Keeps: a margin that no number of repeats confirms is
named. Does not promise: a verdict; a forecast holds for methods that are truly equal, four times in five."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, inf, isfinite, log1p, log2, sqrt

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import FloatArray
from harness.audit.scores.intervals import LEVELS, Strata, hidden_bound, total

Aim = Callable[[Strata, float, float], float]  # moments, margin, alpha -> the standard error wanted
POWER = 0.8
FACTOR_MAX = 1e6
MARGIN_MAX = 100.0  # the scale of points and of percent: a wider margin confirms nothing
NULL_DRAWS = 20_000  # of the largest statistic: its .95 quantile is within .02


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLevel:
    """The variance of a macro difference in two parts.

    chance  is multiplied by 1/R with R repeats;  items  does not shrink with R: items respond differently to
            the method"""

    chance: float
    items: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One endpoint of one contrast, as far as it was measured.

    parts   its per-game moments, one contrast
    noise   None with one repeat
    margin  in the endpoint's unit"""

    parts: Strata
    noise: NoiseLevel | None
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSizePlan:
    """The design that would settle the margin, in total and for both methods together; exactly one of repeats
    and items is given.

    repeats          in total, on the same items; None: repeats alone do not suffice, or one repeat does not
                     show it
    items            in total, at the present number of repeats; None when repeats suffice
    factor           items needed over items present
    margins_smallest the smallest margin of each endpoint that repeats alone can confirm on these items, at
                     most MARGIN_MAX; None where unknown
    calls, cost_usd  None where not counted"""

    repeats: int | None
    items: int | None
    factor: float
    episodes: int
    margins_smallest: tuple[float | None, ...]
    calls: int | None
    cost_usd: float | None


def noise_of(
    reference: Sequence[FloatArray], method: Sequence[FloatArray], parts: Strata
) -> NoiseLevel | None:
    """Splits the variance of a paired macro difference.

    reference, method  for each game (items, repeats), NaN where missing
    parts              moments of the item differences of the same two methods
    returns            None when no item has two repeats finished by both
    source             the two-way model of variance.py for two methods: the variance of an item's difference
                       is interaction + chance / R"""
    chance = items = 0.0
    known = False
    for g, (a, b) in enumerate(zip(reference, method, strict=True)):
        both = np.isfinite(a) & np.isfinite(b)
        repeats = both.sum(axis=1)
        several = repeats >= 2
        n, weight, variance = parts.n[0, g], parts.weight[0, g], parts.variance[0, g]
        if n == 0:
            continue
        within = 0.0
        if several.any():
            known = True
            within = float((_within(a, both)[several] + _within(b, both)[several]).mean())
        shared = repeats > 0
        chance += weight**2 * within / n
        items += weight**2 * (variance - within * float((1 / repeats[shared]).mean())) / n
    return NoiseLevel(chance=float(chance), items=max(0.0, float(items))) if known else None


def _within(values: FloatArray, both: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> FloatArray:
    """Returns the sample variance over the repeats both methods finished, (items,); 0 below two."""
    count = both.sum(axis=1)
    mean = np.where(both, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    square = (np.where(both, values - mean[:, None], 0.0) ** 2).sum(axis=1)
    return np.asarray(square / np.maximum(count - 1, 1))


def reach(alpha: float) -> float:
    """Returns how many standard errors a margin must span so that truly equal methods are called EQUIVALENT
    in 80 % of audits."""
    return float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(1 - (1 - POWER) / 2))


def differing_min(alpha: float) -> int:
    """Returns how many items must differ for a sign-flip test to reject at alpha: its smallest two-sided p is
    2^(1 - m) with m items whose difference is not 0."""
    return ceil(1 + log2(1 / alpha))


def joint_critical(questions: Sequence[Question], alpha: float) -> float:
    """Returns how many standard errors the macro difference must be from 0 for the joint test to reject.

    The joint test takes the smallest p over endpoints x (1 + games). Simulates its largest standardised
    statistic with independent normal game means, which is the limit of the sign-flip distribution."""
    rng = np.random.default_rng(0)
    largest = np.zeros(NULL_DRAWS)
    for question in questions:
        parts = question.parts
        se = parts.weight[0] * np.sqrt(parts.variance[0] / np.maximum(parts.n[0], 1))
        if not (se > 0).any():
            continue
        games = rng.normal(size=(NULL_DRAWS, int((se > 0).sum())))
        macro = np.abs(games @ se[se > 0]) / sqrt(float((se**2).sum()))
        largest = np.maximum(largest, np.maximum(macro, np.abs(games).max(axis=1)))
    return max(float(np.quantile(largest, 1 - alpha)), float(stats.norm.ppf(1 - alpha / 2)))


def plan(
    questions: Sequence[Question],
    *,
    repeats: int,
    items: int,
    differing: int,
    alpha: float,
    calls: float | None,
    cost_usd: float | None,
) -> SampleSizePlan:
    """Returns what settles all these endpoints at once.

    repeats, items   present
    differing        items whose difference is not 0 on some endpoint
    alpha            after Holm
    calls, cost_usd  of one play of one item through both methods; None where not counted
    source           sample size of two one-sided tests at true difference 0; where that is already reached
                     and the verdict still open, at the observed difference: to confirm that it lies inside
                     the margin or that it exists, whichever is cheaper. No design is named whose smallest
                     sign-flip p exceeds alpha"""
    aims: list[Aim] = [_aim_at_none] * len(questions)
    if all(
        _error(question.parts) <= _aim_at_none(question.parts, question.margin, alpha)
        for question in questions
    ):
        aims = [partial(_aim_at_observed, critical=joint_critical(questions, alpha))] * len(questions)
    wanted = [
        aim(question.parts, question.margin, alpha) for aim, question in zip(aims, questions, strict=True)
    ]
    needed = max(_repeats_for(question, want) for question, want in zip(questions, wanted, strict=True))
    needed = max(needed, _repeats_until_testable(repeats, items, differing, alpha))
    if not any(question.noise is not None and question.noise.chance > 0 for question in questions):
        needed = inf  # the repeats of every item are equal: more of them add nothing
    smallest = tuple(_smallest_margin(question, alpha) for question in questions)
    if isfinite(needed):
        more = max(ceil(needed), repeats + 1)
        return _costed(more, None, 1.0, more * items, smallest, calls, cost_usd)
    factor = max(_factor_for(question, aim, alpha) for question, aim in zip(questions, aims, strict=True))
    testable = ceil(differing_min(alpha) * items / max(1, differing)) if differing else differing_min(alpha)
    grown = max(ceil(factor * items), testable, items + 1)
    return _costed(None, grown, grown / items, repeats * grown, smallest, calls, cost_usd)


def _error(parts: Strata) -> float:
    return float(total(parts).se[0])


def _aim_at_none(parts: Strata, margin: float, alpha: float) -> float:
    """Returns the standard error at which truly equal methods are called EQUIVALENT, hidden bound included;
    at most 0 if none suffices."""
    power = float(stats.norm.ppf(1 - (1 - POWER) / 2))
    if _hidden(parts, alpha) >= margin:
        return 0.0
    errors = stats.norm.ppf(1 - alpha / LEVELS[alpha < LEVELS]) + power
    room = margin - hidden_bound(parts, LEVELS[alpha < LEVELS])[0]
    return float((room[errors > 0] / errors[errors > 0]).min())


def _repeats_until_testable(repeats: int, items: int, differing: int, alpha: float) -> float:
    """Returns the repeats after which enough items differ for the sign-flip test to reject at alpha; infinite
    if they never do. An item that differs by chance does so with one probability in every set of repeats."""
    needed, share = differing_min(alpha), differing / items
    if items < needed:
        return inf
    if share in (0.0, 1.0) or differing >= needed:
        return 0.0
    return repeats * log1p(-needed / items) / log1p(-share) if needed < items else inf


def _aim_at_observed(parts: Strata, margin: float, alpha: float, *, critical: float) -> float:
    """Returns the standard error at which the observed difference would be confirmed, inside the margin or at
    all, in four audits of five.

    critical  standard errors at which the joint test rejects"""
    observed = abs(float(total(parts).estimate[0]))
    power = float(stats.norm.ppf(POWER))
    inside = (margin - _hidden(parts, alpha) - observed) / (float(stats.norm.ppf(1 - alpha)) + power)
    beyond = observed / (critical + power)
    return max(inside, beyond)


def _hidden(parts: Strata, alpha: float) -> float:
    return float(hidden_bound(parts, np.array([alpha]))[0, 0])


def _repeats_for(question: Question, error: float) -> float:
    """Returns the repeats that reduce the standard error to this; infinite if no number does or one repeat
    does not show it."""
    if question.noise is None or error <= 0:
        return inf
    left = error**2 - question.noise.items
    return question.noise.chance / left if left > 0 else inf


def _smallest_margin(question: Question, alpha: float) -> float | None:
    if question.noise is None:
        return None
    smallest = reach(alpha) * sqrt(question.noise.items) + _hidden(question.parts, alpha)
    return min(MARGIN_MAX, smallest)


def _factor_for(question: Question, aim: Aim, alpha: float) -> float:
    """Returns by bisection the factor on the number of items at which the standard error, and the hidden
    bound with it, suffices."""

    def enough(factor: float) -> bool:
        grown = question.parts.grown(factor)
        wanted = aim(grown, question.margin, alpha)
        return wanted > 0 and _error(grown) <= wanted

    low, high = 1.0, FACTOR_MAX
    if enough(low):
        return low
    for _ in range(50):
        middle = sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _costed(
    repeats: int | None,
    items: int | None,
    factor: float,
    plays: int,
    smallest: tuple[float | None, ...],
    calls: float | None,
    cost_usd: float | None,
) -> SampleSizePlan:
    return SampleSizePlan(
        repeats=repeats,
        items=items,
        factor=factor,
        episodes=2 * plays,
        margins_smallest=smallest,
        calls=None if calls is None else ceil(plays * calls),
        cost_usd=None if cost_usd is None else plays * cost_usd,
    )
