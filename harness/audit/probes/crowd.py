"""Answers whether a reply depends on what else the server computes: the same prompts alone and in a crowd.
Pure.

Knows rows of probes, at temperature 0. Keeps: noise that is the same alone and in a crowd is no finding; only
replies that differ more across the two than alone are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.audit.probes.asks import TOPICS
from harness.audit.probes.rows import Reading, answered, percent, texts_of, untested
from harness.audit.probes.texts import NOT_GREEDY_MATCH, SAME_WORDS, match, permutation_p
from harness.audit.scores.arrays import BoolArray, FloatArray
from harness.core.records import ProbeRecord

P_LOAD = 0.002  # the two smallest values that 999 draws give: false in fewer than one check of a hundred
CROWD_MIN = 8  # calls in flight together, below which a crowd is none; most servers batch more


def load(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that replies at temperature 0 are equal alone and with many calls in flight."""
    prompts = [
        (texts_of(rows, "alone", str(topic)), texts_of(rows, "crowd", str(topic)))
        for topic in range(len(TOPICS))
    ]
    prompts = [(alone, crowd) for alone, crowd in prompts if len(alone) >= 2 and len(crowd) >= 2]
    if not prompts:
        return untested(rows, "crowd" if texts_of(rows, "alone") else "alone")
    in_flight = max(row.in_flight or 0 for row in answered(rows, "crowd"))
    within = float(np.mean([match(alone) for alone, _ in prompts]))
    across = float(np.mean([np.mean([a == b for a in alone for b in crowd]) for alone, crowd in prompts]))
    p = permutation_p(prompts, rarer_outside, np.random.default_rng(3))
    figures = {"in flight": in_flight, "alone": within, "across": across, "p": p}
    if in_flight < CROWD_MIN:
        return "untested", f"only {in_flight} calls could be in flight together", figures
    words = (
        f"at temperature 0, {percent(within)} of pairs of replies are equal alone, and {percent(across)} of "
        f"pairs with one reply alone and one beside {in_flight - 1} other calls (p = {p:.3f})"
    )
    if p <= P_LOAD and across < within - SAME_WORDS:
        return "broken", f"{words}: replies depend on the load", figures
    if within < NOT_GREEDY_MATCH:
        return "unclear", f"{words}: replies vary too much alone", figures
    return "kept" if across >= within - SAME_WORDS else "unclear", words, figures


def rarer_outside(labels: FloatArray, equal: BoolArray) -> FloatArray:
    """Returns how much rarer replies of the first group are equal to those of the second than to each other.

    See texts.Statistic. It is large if the second group varies, and if it has another reply throughout."""
    first = labels.sum(axis=1)
    second = equal.shape[0] - first
    other = equal & ~np.eye(len(equal), dtype=np.bool_)
    inside = np.einsum("di,ij,dj->d", labels, other, labels) / (first * (first - 1))
    across = np.einsum("di,ij,dj->d", labels, equal, 1 - labels) / (first * second)
    return np.asarray(inside - across)
