"""Three verdicts and their words.

Knows p-values and figures already made; does no statistics but Holm's. Keeps: the sentences below are the only ones an audit speaks of
scores; nothing is ever called the same for want of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from harness.audit.scores.sample_size import SampleSizePlan

Verdict = Literal["DIFFERENT", "EQUIVALENT", "INCONCLUSIVE"]
Scope = Literal["these runs", "the access method"]
RUNS_FOR_METHOD = 3  # fewer batches than this speak of themselves only
CALIBRATION_ALPHA = 0.01  # the reference against itself may look this different by luck


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for being several, in the order given.

    source  Holm (1979), Scand. J. Statist. 6"""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return tuple(adjusted.tolist())


def decide(*, p_difference: float, p_equivalence: float, alpha: float, game_beyond: bool) -> Verdict:
    """The verdict from both headline p's, after Holm.

    game_beyond  some game's adjusted p is at most alpha and its difference beyond the margin for one game"""
    if p_difference <= alpha and (p_equivalence > alpha or game_beyond):
        return "DIFFERENT"
    if p_equivalence <= alpha and not game_beyond:
        return "EQUIVALENT"
    return "INCONCLUSIVE"


def label(verdict: Verdict, *, margin: float, low: float, high: float, missing_data: bool) -> str:
    """The verdict as a table cell."""
    if verdict == "EQUIVALENT":
        return f"EQUIVALENT within ±{margin:g}"
    if verdict == "DIFFERENT":
        return "DIFFERENT by more than the margin" if low >= margin or high <= -margin else "DIFFERENT"
    return "INCONCLUSIVE (missing data)" if missing_data else "INCONCLUSIVE"


def different(
    *,
    method: str,
    reference: str,
    difference: float,
    low: float,
    high: float,
    items: int,
    repeats: int,
    p: float,
    methods: int,
    mostly: tuple[str, str, float],
    scope: Scope,
) -> str:
    """mostly  the game, "form" or "play", and the points of that game it cost or brought"""
    game, part, points = mostly
    return (
        f"{method} differs from {reference}: {difference:+.1f} points [{low:+.1f}, {high:+.1f}] on {items} items x {repeats} "
        f"(p {format_p(p)}, {methods} methods, Holm). Mostly {game}: {part} {points:+.1f}. Scope: {scope}."
    )


def equivalent(
    *,
    method: str,
    reference: str,
    margin: float,
    difference: float,
    level: float,
    low: float,
    high: float,
    p_detectable: float | None,
    scope: Scope,
) -> str:
    """p_detectable  None unless a difference is detectable; level of the interval in percent"""
    detectable = "" if p_detectable is None else f"; a difference is detectable (p {format_p(p_detectable)})"
    return (
        f"{method} is equivalent to {reference} within {margin:g} points: {difference:+.1f} [{level:g} % {low:+.1f}, {high:+.1f}]"
        f"{detectable}.{_runs_only(scope)}"
    )


def inconclusive(
    *,
    method: str,
    reference: str,
    unit: str,
    low: float,
    high: float,
    margin: float,
    repeats: int,
    plan: SampleSizePlan,
    margin_smallest: float | None,
    scope: Scope,
) -> str:
    """The range still open on the endpoint that is not settled, and what would settle its margin."""
    if plan.repeats is not None:
        needed, impossible = f"{plan.repeats} repeats in all{_price(plan)}", ""
    else:
        needed = f"about {plan.items:,} items in all x {repeats}{_price(plan)}"
        impossible = (
            f"; to settle with these items is impossible below {margin_smallest:.1f} {unit}"
            if margin_smallest is not None and margin_smallest > margin
            else ""
        )
    return (
        f"{method} may lie anywhere from {low:+.1f} to {high:+.1f} {unit} off {reference}. "
        f"To settle {margin:g} {unit}: {needed}{impossible}.{_runs_only(scope)}"
    )


def missing_data(*, method: str, reference: str, worst: float, best: float, failed: int) -> str:
    """When what failed could turn the verdict."""
    return (
        f"{method} cannot be judged against {reference}: {failed} episodes failed, and depending on how they would have ended the "
        f"difference is {worst:+.1f} to {best:+.1f} points. Play them again first."
    )


def again(*, difference: float, low: float, high: float, p: float) -> str:
    """The arm that plays the reference a second time."""
    return (
        f"The reference against itself: {difference:+.1f} [{low:+.1f}, {high:+.1f}]; joint p {format_p(p)}."
    )


def _runs_only(scope: Scope) -> str:
    return " Scope: these runs." if scope == "these runs" else ""


def _price(plan: SampleSizePlan) -> str:
    parts = [f"{plan.calls:,} calls"] if plan.calls is not None else []
    parts += [f"${plan.cost_usd:,.2f}"] if plan.cost_usd is not None else []
    return f" ({', '.join(parts)})" if parts else ""


def format_p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"
