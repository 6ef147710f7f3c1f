"""Verdicts in plain words: the first screen of an audit, for a reader who does not know p-values.

Keeps: every sentence rests on a finding of the evidence below it; an estimate of a difference has its
range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.analysis.store_audit import ModelAudit
from harness.audit.replies.classifier import hardly_repeats
from harness.audit.replies.reply_audit import CrossMatch, ReplyFindings, SelfMatch
from harness.audit.scores.findings import Comparison, GameFinding

READING = (
    "DIFFERENT: chance does not explain the difference. EQUIVALENT: any difference is "
    "smaller than the margin that was declared not to matter. INCONCLUSIVE: the data do not decide."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSummary:
    """One access method: a row of the first table, a sentence, and what would settle what is open.

    replies            None: not compared
    difference, equal  cells: points with their range; equal pairs of replies, as a count where they are
                       few"""

    method: str
    scores: str
    replies: str | None
    difference: str
    equal: str
    sentence: str
    to_settle: str | None


COLUMNS = ("method", "scores", "replies", "points [range]", "equal replies")
FEW_PAIRS = 100  # below it a percentage would name pairs that do not exist


def opening(part: ModelAudit) -> str:
    """Returns the question and what was compared."""
    audit = part.scores
    items = max((one.items for one in audit.comparisons), default=0)
    times = "once" if audit.repeats == 1 else f"{audit.repeats} times"
    return (
        f"Is {part.model} the same model through every access method? Compared with {audit.reference}; "
        f"{items} items, each played {times}."
    )


def summarise_methods(part: ModelAudit) -> Iterator[MethodSummary]:
    """Yields a summary of every method, in order; methods that were set aside come last."""
    across = {match.method: match for match in part.replies.across} if part.replies else {}
    own = {match.method: match for match in part.replies.within} if part.replies else {}
    reference = own.get(part.scores.reference)
    for one in part.scores.comparisons:
        match = across.get(one.method)
        points = one.points
        yield MethodSummary(
            method=one.method,
            scores=one.verdict,
            replies=match.verdict if match else None,
            difference=f"{points.difference:+.1f} [{points.low:+.1f}, {points.high:+.1f}]",
            equal=_equal(match),
            sentence=f"{one.method}: {_scores(one, part.scores.margin)}; {_replies(match, reference)}.",
            to_settle=_to_settle(one, match),
        )
    for aside in part.scores.set_aside:
        match = across.get(aside.method)
        yield MethodSummary(
            method=aside.method,
            scores=aside.verdict,
            replies=match.verdict if match else None,
            difference="-",
            equal=_equal(match),
            sentence=f"{aside.sentence.rstrip('.')}; {_replies(match, reference)}.",
            to_settle=None,
        )


def alarm(part: ModelAudit) -> str | None:
    """Returns the alarm if the reference differs from itself."""
    if part.calibrated:
        return None
    what = "scores" if not part.scores.calibrated else "replies"
    return (
        f"CALIBRATION FAILED: the reference's {what} differ between its two runs; "
        "the verdicts below are not valid."
    )


def plan(part: ModelAudit) -> str:
    """Returns the plan that the verdicts rest on."""
    quote = part.plan
    if quote.plan_hash is None or quote.made_at is None:
        return "No plan was stored before the first call: the margins were chosen after the data."
    when = datetime.fromtimestamp(quote.made_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    written = "written before the first call" if quote.before_calls else "written"
    words = f"Plan {quote.plan_hash[:8]}, {written} on {when}."
    if quote.plans > 1:
        words += f" It is the last of {quote.plans}: games, items or methods were added."
    if quote.overruled:
        words += f" Overridden by this command: {'; '.join(quote.overruled)}."
    return words


def noise(part: ModelAudit) -> str | None:
    """Returns the difference between the reference's two runs."""
    replicate = part.scores.again
    if replicate is None:
        return None
    return (
        f"Noise: {part.scores.reference} was played twice and differs from itself by "
        f"{abs(replicate.points.difference):.1f} points{_agreement(part.replies)}."
    )


def _agreement(replies: ReplyFindings | None) -> str:
    share = replies.again.share if replies and replies.again else None
    return "" if share is None else f"; {100 * share:.0f} % of its replies to the same prompt are equal"


def _scores(one: Comparison, margin: float) -> str:
    points = one.points
    if one.missing is not None and one.label.endswith("(missing data)"):
        return "too many episodes failed for technical reasons to judge its scores"
    if one.verdict == "EQUIVALENT":
        return f"its scores are less than {margin:g} points of 100 from the reference's"
    if one.verdict == "INCONCLUSIVE":
        return f"it may {_open(one)}, too wide a range for a verdict"
    span = f"between {_amount(points.low)} and {_amount(points.high)}"
    return f"it scores {_amount(points.difference)} of 100, most likely {span}, {_where(one)}"


def _open(one: Comparison) -> str:
    """Returns the open range: of points, or of the share of episodes played where points are settled."""
    points, played = one.points, one.played
    if max(-points.open_low, points.open_high) < points.margin:
        return (
            f"abort {-played.open_low:.1f} % more of its episodes by a broken format, "
            f"or {played.open_high:.1f} % fewer"
        )
    return f"score between {_amount(points.open_low)} and {_amount(points.open_high)}"


def _amount(points: float) -> str:
    if abs(points) < 0.05:
        return "no points"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'fewer'}"


def _where(one: Comparison) -> str:
    game = max(one.games, key=lambda game: abs(game.difference))
    if abs(game.form) >= abs(game.play):
        return f"mostly in {game.game}, where {_kept(game)} of its episodes keep the format"
    better = "better" if game.play > 0 else "worse"
    return f"mostly in {game.game}, where it keeps the format but plays {better} ({_amount(game.difference)})"


def _kept(game: GameFinding) -> str:
    return f"{game.played_method:.0f} % (reference: {game.played_reference:.0f} %)"


def _replies(match: CrossMatch | None, reference: SelfMatch | None) -> str:
    if match is None:
        return "no prompt is common to its replies and the reference's"
    if match.verdict is None or reference is None or reference.share is None:
        return "its replies were not compared, because each prompt has one reply"
    if match.verdict == "EQUIVALENT" and match.classifier:
        return "fewer than 10 of 100 of its replies can be told apart from the reference's"
    if match.verdict == "EQUIVALENT":
        return "its replies are as similar to the reference's as these are to each other"
    if match.verdict == "DIFFERENT":
        same = f"{_equal(match)} equal, within the reference {100 * reference.share:.0f} %"
        return f"its replies to the same prompts differ from the reference's ({same})"
    if match.divergence is not None and hardly_repeats(match.divergence):
        return (
            "its replies hardly repeat, and these prompts do not show whether a small share of them differs"
        )
    return "no difference between its replies and the reference's is confirmed or excluded by these prompts"


def _equal(match: CrossMatch | None) -> str:
    """Returns how many pairs, one reply of each method, are equal: a count where they are few."""
    if match is None:
        return "-"
    if match.pairs < FEW_PAIRS:
        return f"{match.pairs_equal} of {match.pairs} pairs"
    return f"{100 * match.share:.0f} % of pairs"


def _to_settle(one: Comparison, match: CrossMatch | None) -> str | None:
    """Returns what would settle the verdicts that are open; None if none is, or nothing is known."""
    parts = []
    if one.missing is not None and one.label.endswith("(missing data)"):
        parts.append("scores - play the failed episodes again")
    elif one.plan is not None and one.plan.repeats is not None:
        parts.append(f"scores - {one.plan.repeats} repeats of each item")
    elif one.plan is not None:
        parts.append(f"scores - about {one.plan.items:,} items")
    if match is not None and match.verdict == "INCONCLUSIVE":
        prompts = f"about {match.prompts_to_settle:,} prompts" if match.prompts_to_settle else None
        hardly = match.divergence is not None and hardly_repeats(match.divergence)
        ways = [part for part in ("temperature 0" if hardly else None, prompts) if part]
        parts.append(f"replies - {' or '.join(ways) or 'two repeats of each method'}")
    elif match is not None and match.verdict is None:
        parts.append("replies - two repeats of each method")
    return f"To settle: {'; '.join(parts)}." if parts else None
