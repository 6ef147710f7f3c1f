"""The sentences that state a verdict on scores.

Knows figures that others computed; computes nothing. Keeps: an audit states its verdicts on scores in these
sentences and in no others; none of them says that two methods are identical or that a difference is
absent."""

from __future__ import annotations

from harness.audit.scores.sample_size import SampleSizePlan
from harness.audit.verdicts import Scope, format_p


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
    """Returns the sentence of DIFFERENT.

    low, high  interval of the difference in mean score
    p          after Holm over the methods
    mostly     the game, "form" or "play", and the part of that game's difference that it accounts for"""
    game, part, points = mostly
    return (
        f"{method} differs from {reference}: {difference:+.1f} points [{low:+.1f}, {high:+.1f}] "
        f"on {items} items x {repeats} (p {format_p(p)}, {methods} methods, Holm). "
        f"Mostly {game}: {part} {points:+.1f}. Scope: {scope}."
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
    """Returns the sentence of EQUIVALENT.

    level         of the interval, in percent
    low, high     equivalence interval
    p_detectable  None unless a difference is detectable"""
    detectable = "" if p_detectable is None else f"; a difference is detectable (p {format_p(p_detectable)})"
    return (
        f"{method} is equivalent to {reference} within {margin:g} points: {difference:+.1f} "
        f"[{level:g} % {low:+.1f}, {high:+.1f}]{detectable}.{_runs_only(scope)}"
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
    """Returns the sentence of INCONCLUSIVE: the range still open on one endpoint, and what would settle its
    margin.

    unit             of the endpoint
    low, high        interval of the difference
    repeats          played so far
    margin_smallest  the smallest margin that repeats alone can confirm on these items; None where unknown"""
    if plan.repeats is not None:
        needed, impossible = f"{plan.repeats} repeats in all{_price(plan)}", ""
    else:
        needed = f"about {plan.items:,} items in all x {repeats}{_price(plan)}"
        impossible = (
            f"; with these items no number of repeats can confirm a margin below {margin_smallest:.1f} {unit}"
            if margin_smallest is not None and margin_smallest > margin
            else ""
        )
    return (
        f"{method} may lie anywhere from {low:+.1f} to {high:+.1f} {unit} off {reference}. "
        f"To settle {margin:g} {unit}: {needed}{impossible}.{_runs_only(scope)}"
    )


def missing_data(*, method: str, reference: str, worst: float, best: float, failed: int) -> str:
    """Returns the sentence for failed episodes that could change the verdict.

    worst, best  the difference with every failed episode at its worst and at its best for the method"""
    return (
        f"{method} cannot be judged against {reference}: {failed} episodes failed, "
        f"and depending on how they would have ended the difference is {worst:+.1f} to {best:+.1f} points. "
        "Play them again first."
    )


def replicate(*, difference: float, low: float, high: float, p: float) -> str:
    """Returns the sentence about the reference's A/A replicate."""
    return (
        f"The reference against itself: {difference:+.1f} [{low:+.1f}, {high:+.1f}]; joint p {format_p(p)}."
    )


def _runs_only(scope: Scope) -> str:
    return " Scope: these runs." if scope == "these runs" else ""


def _price(plan: SampleSizePlan) -> str:
    parts = [f"{plan.calls:,} calls"] if plan.calls is not None else []
    parts += [f"${plan.cost_usd:,.2f}"] if plan.cost_usd is not None else []
    return f" ({', '.join(parts)})" if parts else ""
