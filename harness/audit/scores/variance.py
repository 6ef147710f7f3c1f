"""Variance components of scores - between methods, between items, by chance - and how often repeats agree.

Knows arrays only. Keeps: negative estimates are set to 0 and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray
from harness.core.errors import AuditError


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceParts:
    """Components of the variance of one episode's points, in points squared, each >= 0.

    method            between access methods, with its 95 % interval, which is wide for few methods
    item              between items of a game
    interaction       an item's own response to a method
    chance            between repeats of one item through one method
    item_reliability  share of the total that belongs to items
    repeat_agreement  correlation of two repeats
    cut               the parts that came out negative and were set to 0"""

    method: float
    method_low: float
    method_high: float
    item: float
    interaction: float
    chance: float
    item_reliability: float
    repeat_agreement: float
    cut: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfAgreement:
    """The shares of pairs of repeats of an item that disagree.

    flips_reference, flips_method  two repeats through the same method give different points
    across                         one repeat through each gives different points
    excess                         across minus the mean of both, with its 1 - alpha interval; 0 in
                                   expectation for one and the same model"""

    flips_reference: float
    flips_method: float
    across: float
    excess: float
    excess_low: float
    excess_high: float


def split_variance(games: Sequence[FloatArray]) -> VarianceParts:
    """Splits the variance of points into method, item, interaction and chance.

    games    for each game (methods, items, repeats) in points, no gaps; centred within the game
    raises   AuditError if methods < 2, repeats < 2 or items < games + 1
    source   balanced two-way random model: Searle, Casella & McCulloch (1992), ch. 4; method interval from
             chi-square on its mean square"""
    centred = np.concatenate([game - game.mean() for game in games], axis=1)
    methods, items, repeats = centred.shape
    if methods < 2 or repeats < 2 or items <= len(games):
        raise AuditError("Variance components need two methods, two repeats and more items than games.")
    cell = centred.mean(axis=2)
    of_method, of_item = cell.mean(axis=1), cell.mean(axis=0)
    square_chance = ((centred - cell[..., None]) ** 2).sum() / (methods * items * (repeats - 1))
    square_both = repeats * ((cell - of_item - of_method[:, None]) ** 2).sum() / ((methods - 1) * (items - 1))
    square_item = methods * repeats * (of_item**2).sum() / (items - len(games))
    square_method = items * repeats * (of_method**2).sum() / (methods - 1)
    raw = {
        "method": (square_method - square_both) / (items * repeats),
        "item": (square_item - square_both) / (methods * repeats),
        "interaction": (square_both - square_chance) / repeats,
        "chance": square_chance,
    }
    negligible = 1e-12 * (square_item + square_method + square_both + square_chance)  # rounding, not variance
    part = {name: float(value) if value > negligible else 0.0 for name, value in raw.items()}
    whole = sum(part.values())
    quantiles = stats.chi2.ppf([0.975, 0.025], methods - 1)
    low, high = np.maximum(0.0, (square_method * (methods - 1) / quantiles - square_both) / (items * repeats))
    return VarianceParts(
        method=part["method"],
        method_low=float(low),
        method_high=float(high),
        item=part["item"],
        interaction=part["interaction"],
        chance=part["chance"],
        item_reliability=part["item"] / whole if whole > 0 else 0.0,
        repeat_agreement=1 - part["chance"] / whole if whole > 0 else 1.0,
        cut=tuple(name for name, value in raw.items() if value < -negligible),
    )


def complete_items(points: FloatArray) -> FloatArray:
    """Returns the items without a gap in any method or repeat, (methods, kept, repeats)."""
    return points[:, np.isfinite(points).all(axis=(0, 2))]


def self_agreement(
    reference: Sequence[FloatArray], method: Sequence[FloatArray], alpha: float
) -> SelfAgreement | None:
    """Compares how often repeats disagree across two methods and within them.

    reference, method  for each game (items, repeats) points, NaN where missing
    returns            None if fewer than two items have two repeats through both
    source             an energy distance with the identity kernel: Gretton et al. (2012), JMLR 13"""
    a, b = np.concatenate(reference), np.concatenate(method)
    kept = (np.isfinite(a).sum(axis=1) >= 2) & (np.isfinite(b).sum(axis=1) >= 2)
    if kept.sum() < 2:
        return None
    within_a, within_b, across = (
        _disagreement(a[kept], a[kept]),
        _disagreement(b[kept], b[kept]),
        _disagreement(a[kept], b[kept]),
    )
    n_a, n_b = np.isfinite(a[kept]).sum(axis=1), np.isfinite(b[kept]).sum(axis=1)
    within_a, within_b = within_a * n_a / (n_a - 1), within_b * n_b / (n_b - 1)
    excess = across - (within_a + within_b) / 2
    reach = float(stats.t.ppf(1 - alpha / 2, len(excess) - 1) * excess.std(ddof=1) / np.sqrt(len(excess)))
    return SelfAgreement(
        flips_reference=float(within_a.mean()),
        flips_method=float(within_b.mean()),
        across=float(across.mean()),
        excess=float(excess.mean()),
        excess_low=float(excess.mean()) - reach,
        excess_high=float(excess.mean()) + reach,
    )


def _disagreement(x: FloatArray, y: FloatArray) -> FloatArray:
    """Returns the share of pairs (one repeat of x, one of y) that differ, (items,).

    An episode paired with itself counts as agreement."""
    there: BoolArray = np.isfinite(x)[:, :, None] & np.isfinite(y)[:, None, :]
    differ = (np.abs(np.nan_to_num(x)[:, :, None] - np.nan_to_num(y)[:, None, :]) > 1e-9) & there
    share: FloatArray = differ.sum(axis=(1, 2)) / there.sum(axis=(1, 2))
    return share
