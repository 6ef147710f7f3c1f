"""Computes how many prompts, with as many repeats as now, would settle an open verdict on replies."""

from __future__ import annotations

import numpy as np
from scipy import stats

from harness.audit.replies.classifier import AUC_MARGIN, ClassifierTest, hardly_repeats
from harness.audit.replies.divergence import MARGIN_MATCH, Divergence, items_to_confirm

_AUC_ROOM = AUC_MARGIN - 0.5


def prompts_to_settle(
    divergence: Divergence | None, test: ClassifierTest | None, margin: float, alpha: float
) -> int | None:
    """Returns the prompts that give a verdict in four audits of five; None where their number would not
    settle it.

    It takes a ratio of 1 for true if the data allow that, else the observed one.
    test    None unless replies hardly repeat
    margin  of rho;  alpha  the level of one method, after Holm"""
    if divergence is None:
        return None
    reach = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(0.9))
    if hardly_repeats(divergence):
        return _prompts_to_bound(test, reach)
    excess_error = (divergence.excess_high - divergence.excess_low) / 2 / float(stats.norm.ppf(0.95))
    if excess_error < 1e-9:
        return max(items_to_confirm(alpha), divergence.prompts + 1)
    needed = 0.0
    requirements = [(excess_error, MARGIN_MATCH, abs(divergence.excess))]
    if divergence.rho is not None:
        requirements.append((divergence.error, float(np.log(margin)), abs(float(np.log(divergence.rho)))))
    for error, room, observed in requirements:
        if reach * error <= room:  # precise enough for methods that are alike, and these are not quite
            room = max(room - observed, observed, 0.02 * room)
        needed = max(needed, divergence.prompts * (reach * error / room) ** 2)
    return max(int(np.ceil(needed)), items_to_confirm(alpha), divergence.prompts + 1)


def _prompts_to_bound(test: ClassifierTest | None, reach: float) -> int | None:
    """Returns the prompts that bound an AUC of .5 below its margin; None where the classifier of foreign
    replies has no power, or the observed AUC is not near .5."""
    if test is None or test.share is None:
        return None
    error = (test.auc_high - test.auc) / float(stats.norm.ppf(0.95))
    if test.auc - 2 * error > 0.5 + _AUC_ROOM / 2:
        return None
    return max(int(np.ceil(test.prompts * (reach * error / _AUC_ROOM) ** 2)), test.prompts + 1)
