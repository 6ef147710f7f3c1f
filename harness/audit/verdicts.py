"""The three verdicts: how p-values lead to them, and how a table writes them.

Knows p-values that others computed; computes Holm's adjustment only. Keeps: missing evidence never becomes
EQUIVALENT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Verdict = Literal["DIFFERENT", "EQUIVALENT", "INCONCLUSIVE"]
Scope = Literal["these runs", "the access method"]
CALIBRATION_ALPHA = 0.01  # one sound audit in a hundred fails the check of the reference against itself


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Returns p-values adjusted for multiple testing, in the order given.

    source  Holm (1979), Scand. J. Statist. 6"""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return tuple(adjusted.tolist())


def decide(*, p_difference: float, p_equivalence: float, alpha: float, game_beyond: bool) -> Verdict:
    """Returns the verdict that both headline p-values lead to, after Holm.

    game_beyond  some game has an adjusted p of at most alpha and a difference beyond the margin for one
                 game"""
    if p_difference <= alpha and (p_equivalence > alpha or game_beyond):
        return "DIFFERENT"
    if p_equivalence <= alpha and not game_beyond:
        return "EQUIVALENT"
    return "INCONCLUSIVE"


def label(verdict: Verdict, *, margin: float, low: float, high: float, reason: str | None = None) -> str:
    """Returns the verdict as a table cell.

    margin     in points; low, high: interval of the difference
    reason     why the verdict is INCONCLUSIVE, if not for too little data"""
    if verdict == "EQUIVALENT":
        return f"EQUIVALENT within ±{margin:g}"
    if verdict == "DIFFERENT":
        return "DIFFERENT by more than the margin" if low >= margin or high <= -margin else "DIFFERENT"
    return "INCONCLUSIVE" if reason is None else f"INCONCLUSIVE ({reason})"


def format_p(p: float) -> str:
    """Returns the p-value with its sign of relation, to two significant digits."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"
