"""The sentences that state a verdict on scores.

Knows figures that others computed; computes nothing. Keeps: an audit states its verdicts on scores in these
sentences and in no others; none of them says that two methods are identical or that a difference is
absent."""

from __future__ import annotations

from harness.audit.scores.sample_size import SampleSizePlan
from harness.audit.verdicts import Scope, format_p

RUNS_ONLY = " This result holds for these runs only; at another time it may be different."
_COUNTED = "Holm's adjustment for several methods still counts this method, with p = 1."


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
    mostly     the game, "format" or "quality", and the part of that game's difference that it accounts for"""
    game, part, points = mostly
    adjusted = f", adjusted for {methods} methods by Holm's method" if methods > 1 else ""
    return (
        f"{method} differs from {reference} by {difference:+.1f} points [{low:+.1f}, {high:+.1f}] "
        f"on {items} items, {_times(repeats)} (p {format_p(p)}{adjusted}). "
        f"The largest part is in {game}: {points:+.1f} points due to {part}.{_about(scope)}"
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
    detectable = (
        ""
        if p_detectable is None
        else f" The difference is not 0 (p {format_p(p_detectable)}), but it is smaller than the margin."
    )
    return (
        f"{method} is equivalent to {reference} within {margin:g} points: the difference is {difference:+.1f} "
        f"points, {level:g} % interval [{low:+.1f}, {high:+.1f}].{detectable}{_runs_only(scope)}"
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
    span = (
        f"The difference between {method} and {reference} is between {low:+.1f} and {high:+.1f} {unit}. "
        "This range is too wide for a decision. It also allows for differences on rare items that were not "
        "played."
    )
    if plan is None:
        return f"{span}{_runs_only(scope)}"
    if plan.repeats is not None:
        needed, impossible = f"play each item {plan.repeats} times", ""
    else:
        needed = f"play about {plan.items:,} items, {_times(repeats)}"
        impossible = ""
        if margin_smallest is not None and margin_smallest > margin:
            confirmed = (
                f"a margin below {margin_smallest:.1f} {unit}" if margin_smallest < 100 else "any margin"
            )
            impossible = f" More repeats of the same items are not enough: they cannot confirm {confirmed}."
    advice = f" To decide with the margin of {margin:g} {unit}, {needed}{_price(plan)}."
    return f"{span}{advice}{impossible}{_runs_only(scope)}"


def missing_data(
    *, method: str, reference: str, low: float, high: float, failed_reference: int, failed_method: int
) -> str:
    """Returns the sentence for missing plays that could change the verdict.

    low, high  the union of the intervals with every missing play at its worst and at its best"""
    failed = failed_reference + failed_method
    return (
        f"{method} cannot be compared with {reference}: {failed:,} plays are missing ({failed_method:,} of "
        f"{method}, {failed_reference:,} of {reference}). Depending on the scores that these plays would "
        f"have had, the difference is between {low:+.1f} and {high:+.1f} points. To play them again, run the "
        "sweep with --retry-failed. For imported results, import the missing records."
    )


def nothing_played(*, method: str, reference: str) -> str:
    """Returns the sentence for two methods of which neither played one episode to its end."""
    return (
        f"Neither {method} nor {reference} played one episode by the rules: all were aborted. "
        "Their scores show neither a difference nor that the methods are equivalent."
    )


def unfinished(*, method: str, reference: str, low: float, high: float, not_ended: int) -> str:
    """Returns the sentence for a method without a whole look block.

    low, high  bounds of the difference with every play that has not ended at 0 and at 100
    not_ended  plays of both methods"""
    return (
        f"{method} cannot be compared with {reference} yet: {not_ended:,} planned episodes of the two methods "
        "have not ended. Short episodes end first, so those that have ended are not a fair sample. "
        f"Whatever the scores of these {not_ended:,} episodes will be, the difference will be between "
        f"{low:+.1f} and {high:+.1f} points. "
        "To continue the sweep, run it again with the same command."
    )


def nothing_finished(*, method: str, failed: int) -> str:
    """Returns the sentence for a method without a finished episode."""
    return (
        f"{method} has no verdict: none of its episodes finished ({failed:,} failed). Correct the access "
        f"method, then run the sweep with --retry-failed. {_COUNTED}"
    )


def left_out(*, method: str) -> str:
    """Returns the sentence for a method that the command leaves out."""
    return f"{method} was left out by this command, after the data were collected. {_COUNTED}"


def interim(*, number: int, of: int, share: float) -> str:
    """Returns the sentence about the interim analysis that a verdict rests on; share of the planned plays."""
    return (
        f"The sweep is not finished. This is interim analysis {number} of {of} (analysis {of} is the final "
        f"one). It uses the first {100 * share:.0f} % of the planned plays. Its significance level is stricter "
        "than that of a finished sweep."
    )


def apart_in_time(*, method: str, reference: str) -> str:
    """Returns the sentence for methods that were not played at the same time."""
    return (
        f"{method} and {reference} were not played at the same time. A change of the service between the two "
        "times would look like a difference between the methods."
    )


def game_left_out(*, game: str, method: str) -> str:
    """Returns the sentence for a game that one method never scored."""
    return f"{game} is not compared, because {method} has no score in it."


def never_played(games: tuple[str, ...]) -> str:
    """Returns the sentence for games of which neither method played an episode."""
    return f"Neither method completed an episode of {', '.join(games)}: both get 0 points there."


def replicate(*, difference: float, low: float, high: float, p: float) -> str:
    """Returns the sentence about the reference's A/A replicate."""
    return (
        f"The two runs of the reference differ by {difference:+.1f} points [{low:+.1f}, {high:+.1f}] "
        f"(p {format_p(p)}, from one test of scores and % played over all games)."
    )


def _about(scope: Scope) -> str:
    return _runs_only(scope) or " This result holds for the access method, not only for these runs."


def _runs_only(scope: Scope) -> str:
    return RUNS_ONLY if scope == "these runs" else ""


def _times(repeats: int) -> str:
    return "each played once" if repeats == 1 else f"each played {repeats} times"


def _price(plan: SampleSizePlan) -> str:
    parts = [f"{plan.calls:,} calls"] if plan.calls is not None else []
    parts += [f"${plan.cost_usd:,.2f}"] if plan.cost_usd is not None else []
    return f" ({', '.join(parts)})" if parts else ""
