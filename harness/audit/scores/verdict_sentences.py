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
        f"on {items} items x {repeats} (p {format_p(p)}, {methods} method{'s' if methods > 1 else ''}, Holm). "
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
    plan: SampleSizePlan | None,
    margin_smallest: float | None,
    scope: Scope,
) -> str:
    """Returns the sentence of INCONCLUSIVE: the range still open on one endpoint, and what would settle its
    margin.

    unit             of the endpoint
    low, high        interval of the difference
    repeats          played so far
    plan             None in an interim analysis: the rest of the sweep is still to come
    margin_smallest  the smallest margin that repeats alone can confirm on these items; None where unknown"""
    span = f"{method} may lie anywhere from {low:+.1f} to {high:+.1f} {unit} off {reference}."
    if plan is None:
        return f"{span}{_runs_only(scope)}"
    if plan.repeats is not None:
        needed, impossible = f"{plan.repeats} repeats in all{_price(plan)}", ""
    else:
        needed = f"about {plan.items:,} items in all x {repeats}{_price(plan)}"
        impossible = ""
        if margin_smallest is not None and margin_smallest > margin:
            confirmed = (
                f"a margin below {margin_smallest:.1f} {unit}" if margin_smallest < 100 else "any margin"
            )
            impossible = f"; with these items no number of repeats can confirm {confirmed}"
    return f"{span} To settle {margin:g} {unit}: {needed}{impossible}.{_runs_only(scope)}"


def missing_data(
    *, method: str, reference: str, low: float, high: float, failed_reference: int, failed_method: int
) -> str:
    """Returns the sentence for missing plays that could change the verdict.

    low, high  the union of the intervals with every missing play at its worst and at its best"""
    failed = failed_reference + failed_method
    return (
        f"{method} cannot be judged against {reference}: {failed:,} plays are missing ({failed_method:,} of "
        f"{method}, "
        f"{failed_reference:,} of {reference}), and with what they may have scored the difference lies "
        "between "
        f"{low:+.1f} and {high:+.1f} points. The same sweep with --retry-failed plays them again; of "
        "imported "
        "results, import the missing records."
    )


def nothing_played(*, method: str, reference: str) -> str:
    """Returns the sentence for two methods of which neither played one episode to its end."""
    return (
        f"Neither {method} nor {reference} played one episode by the rules: all were aborted. "
        "Their scores cannot tell them apart, nor show that they are equal."
    )


def unfinished(*, method: str, reference: str, low: float, high: float, not_ended: int) -> str:
    """Returns the sentence for a method without a whole look block.

    low, high  bounds of the difference with every play that has not ended at 0 and at 100
    not_ended  plays of both methods"""
    return (
        f"{method} cannot be judged against {reference} yet: {not_ended:,} of their planned plays have not "
        "ended, and "
        "those that have are not a sample, because short plays end first. With every play that has not ended "
        "at 0 "
        f"and at 100 the difference lies between {low:+.1f} and {high:+.1f} points. "
        "The same command that began the sweep continues it."
    )


def nothing_finished(*, method: str, failed: int) -> str:
    """Returns the sentence for a method without a finished episode."""
    return (
        f"{method} has no verdict: none of its episodes finished ({failed:,} failed). Repair the access "
        "method and run "
        "the sweep with --retry-failed. Holm's adjustment counts it with p = 1."
    )


def left_out(*, method: str) -> str:
    """Returns the sentence for a method that the command leaves out."""
    return (
        f"{method} was left out by this command, after the data were collected. "
        "Holm's adjustment counts it with p = 1."
    )


def interim(*, number: int, of: int, share: float) -> str:
    """Returns the sentence about the interim analysis that a verdict rests on; share of the planned plays."""
    return (
        f"The sweep is not finished: this is interim analysis {number} of {of}, of the first "
        f"{100 * share:.0f} % of the "
        "planned plays, at its own level."
    )


def apart_in_time(*, method: str, reference: str) -> str:
    """Returns the sentence for methods that were not played at the same time."""
    return (
        f"The plays of {method} and of {reference} were not at the same time, so a change of the service in "
        "between "
        "would look like a difference of the methods."
    )


def game_left_out(*, game: str, method: str) -> str:
    """Returns the sentence for a game that one method never scored."""
    return f"{game} is not compared: {method} has no score in it."


def never_played(games: tuple[str, ...]) -> str:
    """Returns the sentence for games of which neither method played an episode."""
    return f"Neither method played an episode of {', '.join(games)}: there they count 0 points each."


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
