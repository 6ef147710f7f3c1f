"""The byte at which two replies to one prompt part: the hazard of parting, within a method and across two.

Replies that are equal to their end are censored there, so that short and long replies can be compared.
Knows lengths and partings; nothing of texts. Keeps: every prompt counts once; intervals resample items, whose
prompts stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray

RESAMPLES = 999
_AT_ONCE = 100  # resamples drawn together: bounds memory at some 10 MB for 3,000 items
CURVE_POINTS = 60
MARGIN_MATCH = 0.05  # how much rarer replies may be equal across methods than within them: 5 of 100 pairs
HALF = 0.5  # added to every count of partings, so that a hazard without a parting is small and not 0
FEW = 10  # items with a parting, below which resampling understates the interval of a rate


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Share of pairs of replies that are still equal after so many bytes, within the methods and across
    them."""

    position: int
    within: float
    across: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The divergence of replies within and across methods.

    hazard_*  chance to part at the next byte: two replies of the reference, of the method, one of each
    rho       hazard_across over the geometric mean of the two others: 1 means as different from each other as
              from themselves; None where the replies of one method never part
    low, high 1 - alpha interval of rho, over items
    error     standard error of log rho
    self_match   share of pairs of replies of one method that are equal, mean over prompts and the two methods
    excess    how much rarer replies are equal across than within, mean over prompts, with its 1 - 2 alpha
              interval
    p_equivalence  of "rho is at least its margin, or the excess at least 5 percent": the larger p of both
    curve     Kaplan-Meier"""

    prompts: int
    items: int
    hazard_reference: float
    hazard_method: float
    hazard_across: float
    rho: float | None
    low: float | None
    high: float | None
    error: float
    self_match: float
    excess: float
    excess_low: float
    excess_high: float
    p_equivalence: float
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs of replies to one prompt, (pairs,) each.

    prompt    which; kind: 0 both of the reference, 1 both of the method, 2 one of each
    common    bytes on which they agree from the start
    parted    False: they agree to the end"""

    prompt: IntArray
    kind: IntArray
    common: IntArray
    parted: BoolArray


def diverge(
    pairs: Pairs, item_of_prompt: IntArray, margin: float, alpha: float, rng: np.random.Generator
) -> Divergence:
    """Measures hazards and their ratio; every prompt must have pairs of all three kinds.

    item_of_prompt  (prompts,)
    margin          of rho
    source          hazard: partings over exposure, as of a geometric life; percentile bootstrap over items;
                    with few partings also Garwood's Poisson interval (1936), joined by MOVER (Zou & Donner
                    2008); curve: Kaplan & Meier (1958)"""
    prompts = len(item_of_prompt)
    cell = pairs.kind * prompts + pairs.prompt
    count = np.bincount(cell, minlength=3 * prompts)
    partings, exposure = (
        (np.bincount(cell, weights=values, minlength=3 * prompts) / np.maximum(count, 1)).reshape(3, prompts)
        for values in (pairs.parted.astype(np.float64), (pairs.common + pairs.parted).astype(np.float64))
    )
    items, item = np.unique(item_of_prompt, return_inverse=True)
    both = np.concatenate([partings, exposure])
    of_item = np.stack([np.bincount(item, weights=row, minlength=len(items)) for row in both]).astype(
        np.float64
    )
    drawn = np.log(_ratio(_resampled(of_item, rng)))
    hazard = _hazards(of_item.sum(axis=1)[None])[0]
    with_parting = (of_item[:3] > 0).sum(axis=1)
    rho = float(_ratio(of_item.sum(axis=1)[None])[0])
    low, high = _interval(rho, drawn, with_parting, alpha)
    shown = bool(with_parting[:2].all())
    excess = np.bincount(item, weights=partings[2] - partings[:2].mean(axis=0)) / np.bincount(item)
    reach = (
        float(stats.t.ppf(1 - alpha, len(items) - 1) * excess.std(ddof=1) / np.sqrt(len(items)))
        if len(items) > 1
        else 1.0
    )
    # Where no reply of either method ever parts, the excess alone bounds the difference.
    p_ratio = (
        float((1 + (drawn >= np.log(margin)).sum()) / (RESAMPLES + 1)) if with_parting[:2].any() else 0.0
    )
    return Divergence(
        prompts=prompts,
        items=len(items),
        hazard_reference=float(hazard[0]),
        hazard_method=float(hazard[1]),
        hazard_across=float(hazard[2]),
        rho=rho if shown else None,
        low=low if shown else None,
        high=high if shown else None,
        error=float(drawn.std(ddof=1)),
        self_match=1 - float(partings[:2].mean()),
        excess=float(excess.mean()),
        excess_low=float(excess.mean()) - reach,
        excess_high=float(excess.mean()) + reach,
        p_equivalence=max(p_ratio, _p_excess(excess)),
        curve=_curve(pairs, cell, count),
    )


def _interval(rho: float, drawn: FloatArray, with_parting: IntArray, alpha: float) -> tuple[float, float]:
    """Returns the 1 - alpha interval of rho; it holds the Poisson interval too where few items have a
    parting.

    drawn         (resamples,) of log rho
    with_parting  (3,) items with a parting, by kind of pair"""
    low, high = np.exp(np.quantile(drawn, [alpha / 2, 1 - alpha / 2]))
    if with_parting.min() < FEW:
        count = np.maximum(with_parting, 1)
        below = np.log(count / (stats.chi2.ppf(alpha / 2, 2 * count) / 2))
        above = np.log(stats.chi2.ppf(1 - alpha / 2, 2 * count + 2) / 2 / count)
        weight = np.array([0.5, 0.5, 1.0])
        low = min(low, rho * np.exp(-np.hypot(below[2], np.hypot(*(weight[:2] * above[:2])))))
        high = max(high, rho * np.exp(np.hypot(above[2], np.hypot(*(weight[:2] * below[:2])))))
    return min(float(low), rho), max(float(high), rho)


def _resampled(of_item: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Returns sums over items drawn with replacement, (resamples, rows)."""
    items = of_item.shape[1]
    sums = np.empty((RESAMPLES, len(of_item)))
    for start in range(0, RESAMPLES, _AT_ONCE):
        many = min(_AT_ONCE, RESAMPLES - start)
        drawn = rng.integers(items, size=(many, items)) + items * np.arange(many)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=many * items).reshape(many, items)
        sums[start : start + many] = times.astype(np.float64) @ of_item.T
    return sums


def _hazards(sums: FloatArray) -> FloatArray:
    """Returns hazards, (draws, 3), from (draws, 3 partings + 3 exposures)."""
    return np.asarray((sums[:, :3] + HALF) / (sums[:, 3:] + 1))


def _ratio(sums: FloatArray) -> FloatArray:
    hazard = _hazards(sums)
    return np.asarray(hazard[:, 2] / np.sqrt(hazard[:, 0] * hazard[:, 1]))


def _p_excess(excess: FloatArray) -> float:
    """Returns the p of "replies are equal at least 5 percent rarer across": Student's t over items.

    Where the excess of few items is not 0, t is not valid: p is then at least the binomial chance that no
    more items are answered otherwise than have an excess, if one in twenty of all are."""
    if excess.mean() >= MARGIN_MATCH:
        return 1.0
    varying = int((np.abs(excess) > 1e-12).sum())
    above = int((excess > 1e-12).sum())
    p_few = float(stats.binom.cdf(above, len(excess), MARGIN_MATCH)) if varying < FEW else 0.0
    error = float(excess.std(ddof=1)) / np.sqrt(len(excess)) if len(excess) > 1 else 0.0
    if error < 1e-12:
        return p_few
    return max(p_few, float(stats.t.cdf((float(excess.mean()) - MARGIN_MATCH) / error, len(excess) - 1)))


def items_to_confirm(alpha: float) -> int:
    """Returns the items, all with equal replies, that rule out an excess of MARGIN_MATCH."""
    return int(np.ceil(np.log(alpha) / np.log(1 - MARGIN_MATCH)))


def _curve(pairs: Pairs, cell: IntArray, count: IntArray) -> tuple[CurvePoint, ...]:
    weight = 1 / count[cell]
    last = int(pairs.common.max(initial=0))
    positions = np.unique(np.linspace(0, last, CURVE_POINTS).astype(np.int64))
    within, across = (
        _survival(pairs, weight, chosen, last)[positions] for chosen in (pairs.kind < 2, pairs.kind == 2)
    )
    return tuple(
        CurvePoint(position=int(position), within=float(a), across=float(b))
        for position, a, b in zip(positions, within, across, strict=True)
    )


def _survival(pairs: Pairs, weight: FloatArray, chosen: BoolArray, last: int) -> FloatArray:
    """Returns Kaplan-Meier's estimate after each byte, (last + 1,)."""
    common, parted = pairs.common[chosen], pairs.parted[chosen]
    ended = np.bincount(common, weights=weight[chosen], minlength=last + 1)
    parting = np.bincount(common[parted], weights=weight[chosen][parted], minlength=last + 1)
    at_risk = np.cumsum(ended[::-1])[::-1]
    return np.asarray(
        np.cumprod(1 - np.divide(parting, at_risk, out=np.zeros(last + 1), where=at_risk > 1e-12))
    )
