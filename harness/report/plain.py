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
from harness.audit.weights.weight_audit import WeightsFindings

READING = (
    "DIFFERENT: chance alone does not explain the difference. EQUIVALENT: any difference is smaller than the "
    "margin, which is the largest difference that does not matter. INCONCLUSIVE: there are not enough data "
    "for a decision."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSummary:
    """One access method: a row of the first table, its sentences, and what would settle what is open.

    replies            None: not compared
    weights            with the reference weights; None: no verdict
    weights_label      the verdict, or why there is none
    difference, equal  cells: points with their range; equal pairs of replies, as a count where they are
                       few"""

    method: str
    scores: str
    replies: str | None
    weights: str | None
    weights_label: str
    difference: str
    equal: str
    sentence: str
    to_settle: str | None


LEFT_OUT = "left out"  # by the command, as a reason of audit/scores/set_aside.py
TWO_REPEATS = "play each method with two repeats or more"
FEW_PAIRS = 100  # below it a percentage would name pairs that do not exist


def opening(part: ModelAudit) -> str:
    """Returns the question and what was compared."""
    audit = part.scores
    items = max((one.items for one in audit.comparisons), default=0)
    times = "once" if audit.repeats == 1 else f"{audit.repeats} times"
    return (
        f"Is {part.model} the same model through every access method? "
        f"The reference is {audit.reference}. {items} items were compared, each played {times}."
    )


def columns(part: ModelAudit) -> tuple[str, ...]:
    """Returns the heads of the first table."""
    weights = ("weights",) if part.weights is not None else ()
    return ("method", "scores", "replies", *weights, difference_head(part.scores.alpha), "equal replies")


def difference_head(alpha: float) -> str:
    """Returns the head of a column of differences from the reference, in points, with their intervals."""
    return f"difference [{100 * (1 - alpha):g} %]"


def summarise_methods(part: ModelAudit) -> Iterator[MethodSummary]:
    """Yields a summary of every method, in order; methods that were set aside come last."""
    across = {match.method: match for match in part.replies.across} if part.replies else {}
    own = {match.method: match for match in part.replies.within} if part.replies else {}
    reference = own.get(part.scores.reference)
    for one in part.scores.comparisons:
        match = across.get(one.method)
        points = one.points
        weights, label = _weights(part, one.method)
        yield MethodSummary(
            method=one.method,
            scores=one.verdict,
            replies=match.verdict if match else None,
            weights=weights,
            weights_label=label,
            difference=f"{points.difference:+.1f} [{points.low:+.1f}, {points.high:+.1f}]",
            equal=_equal(match),
            sentence=f"{one.method}: {_scores(one, part.scores.margin)}. {_replies(match, reference)}.",
            to_settle=_to_settle(one, match),
        )
    for aside in part.scores.set_aside:
        match = across.get(aside.method)
        weights, label = _weights(part, aside.method)
        on_replies = "" if aside.reason == LEFT_OUT else f" {_replies(match, reference)}."
        yield MethodSummary(
            method=aside.method,
            scores=aside.verdict,
            replies=match.verdict if match else None,
            weights=weights,
            weights_label=label,
            difference="-",
            equal=_equal(match),
            sentence=f"{aside.sentence.rstrip('.')}.{on_replies}",
            to_settle=None,
        )


def _weights(part: ModelAudit, method: str) -> tuple[str | None, str]:
    """Returns a method's verdict on weights, None if it has none, and its label: the verdict, or why it has
    none."""
    found = part.weights
    verdict = next((one.verdict for one in found.methods if one.method == method), None) if found else None
    if verdict is not None:
        return verdict, verdict
    if found is not None and method == found.reference:
        return None, "its own weights"
    left_out = any(one.method == method for one in part.scores.set_aside if one.reason == LEFT_OUT)
    return None, LEFT_OUT if left_out else "not scored"


def weights_lines(found: WeightsFindings | None) -> Iterator[str]:
    """Yields what the weights of a reference say of each method, and of its own second run."""
    if found is None:
        return
    if (failed := _weights_alarm(found)) is not None:
        yield failed
    for one in found.methods:
        joined = (
            f" The first tokens of {one.joined:,} of {one.replies:,} replies change when prompt and reply are joined to one text."
            if one.joined
            else ""
        )
        if one.retokenised:
            joined += (
                f" For {one.retokenised:,} of {one.replies:,} replies, the server of the reference counts another number of "
                "tokens than the provider: the server splits the text into other tokens than those that were written."
            )
        yield f"{one.method}: {one.verdict} with the reference weights. {one.sentence}{joined}"
    if found.again is not None:
        yield found.again.sentence


def _weights_alarm(found: WeightsFindings) -> str | None:
    if found.calibrated:
        return None
    return (
        f"CALIBRATION OF WEIGHTS FAILED: the two runs of {found.reference} differ when its own weights judge them, "
        "so the verdicts on weights are not valid."
    )


def alarm(part: ModelAudit) -> str | None:
    """Returns the alarm if the reference, or the method whose weights scored, differs from itself."""
    if part.calibrated:
        return _weights_alarm(part.weights) if part.weights is not None else None
    what = "scores" if not part.scores.calibrated else "replies"
    return (
        f"CALIBRATION FAILED: the reference's {what} differ between its two runs, "
        "so the verdicts below are not valid."
    )


def plan(part: ModelAudit) -> str:
    """Returns the plan that the verdicts rest on."""
    quote = part.plan
    if quote.plan_hash is None or quote.made_at is None:
        return "No audit plan was stored before the first call, so the margins were chosen after the data."
    when = datetime.fromtimestamp(quote.made_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    stored = "stored before the first call" if quote.before_calls else "stored"
    words = f"Audit plan {quote.plan_hash[:8]} was {stored}, on {when}."
    if quote.plans > 1:
        words += f" It is the last of {quote.plans} plans, because games, items or methods were added."
    if quote.overruled:
        words += f" This command uses {'; '.join(quote.overruled)}."
    return words


def noise(part: ModelAudit) -> str | None:
    """Returns the difference between the reference's two runs."""
    replicate = part.scores.again
    if replicate is None:
        return None
    return (
        f"Noise: the reference was played twice. Its two runs differ by "
        f"{abs(replicate.points.difference):.1f} points{_agreement(part.replies)}."
    )


def _agreement(replies: ReplyFindings | None) -> str:
    share = replies.again.share if replies and replies.again else None
    return "" if share is None else f", and {100 * share:.0f} % of its replies to the same prompt are equal"


def _scores(one: Comparison, margin: float) -> str:
    points = one.points
    if one.missing is not None and one.label.endswith("(missing data)"):
        return "its scores are not compared, because too many episodes failed for technical reasons"
    if one.verdict == "EQUIVALENT":
        return f"its score differs from the reference's by less than {margin:g} points of 100"
    if one.verdict == "INCONCLUSIVE":
        return (
            f"{_open(one)} than the reference. This range is too wide for a decision. It can be wider than the "
            "range in the table, because it also allows for differences on rare items that were not played"
        )
    span = f"between {_amount(points.low)} and {_amount(points.high)}"
    return f"it scores {_amount(points.difference)} than the reference (most likely {span}). {_where(one)}"


def _open(one: Comparison) -> str:
    """Returns the open range: of points, or of the share of episodes played where points are settled."""
    points, played = one.points, one.played
    if max(-points.open_low, points.open_high) < points.margin:
        low, high = (_amount(end, "episodes") for end in (played.open_low, played.open_high))
        return f"of 100 episodes, it may complete between {low} and {high}"
    return f"it may score between {_amount(points.open_low)} and {_amount(points.open_high)}"


def _amount(difference: float, unit: str = "points") -> str:
    if abs(difference) < 0.05:
        return f"0 {unit} more"
    return f"{abs(difference):.1f} {unit} {'more' if difference > 0 else 'fewer'}"


def _where(one: Comparison) -> str:
    game = max(one.games, key=lambda game: abs(game.difference))
    if abs(game.form) >= abs(game.play):
        return f"The largest difference is in {game.game}: {_kept(game)} of this method's episodes keep the format"
    better = "better" if game.play > 0 else "worse"
    return (
        f"The largest difference is in {game.game}: the method keeps the format but plays {better} "
        f"({_amount(game.difference)})"
    )


def _kept(game: GameFinding) -> str:
    return f"{game.played_method:.0f} % (reference: {game.played_reference:.0f} %)"


def _replies(match: CrossMatch | None, reference: SelfMatch | None) -> str:
    if match is None:
        return "Its replies were not compared, because it has no prompt in common with the reference"
    if match.verdict is None or reference is None or reference.share is None:
        return "Its replies were not compared, because each prompt has only one reply"
    if match.verdict == "EQUIVALENT" and match.classifier:
        return "A classifier can tell fewer than 10 of 100 of its replies apart from the reference's replies"
    if match.verdict == "EQUIVALENT":
        return "Its replies are as similar to the reference's replies as two replies of the reference are"
    if match.verdict == "DIFFERENT":
        return (
            "Its replies differ from the reference's. A reply of this method and one of the reference to the same "
            f"prompt are equal in {_equal(match)}. Two replies of the reference are equal in "
            f"{100 * reference.share:.0f} % of pairs"
        )
    if match.divergence is not None and hardly_repeats(match.divergence):
        return (
            "Replies to the same prompt are seldom equal, and there are too few prompts to notice if a few replies "
            "come from another model"
        )
    return "There are too few prompts to decide whether its replies differ from the reference's"


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
        parts.append("To decide about the scores, play the failed episodes again.")
    elif one.plan is not None and one.plan.repeats is not None:
        parts.append(f"To decide about the scores, play each item {one.plan.repeats} times.")
    elif one.plan is not None:
        parts.append(f"To decide about the scores, play about {one.plan.items:,} items.")
    if match is not None and match.verdict == "INCONCLUSIVE":
        prompts = f"use about {match.prompts_to_settle:,} prompts" if match.prompts_to_settle else None
        hardly = match.divergence is not None and hardly_repeats(match.divergence)
        ways = [part for part in ("play at temperature 0" if hardly else None, prompts) if part]
        parts.append(f"To decide about the replies, {' or '.join(ways) or TWO_REPEATS}.")
    elif match is not None and match.verdict is None:
        parts.append(f"To decide about the replies, {TWO_REPEATS}.")
    return " ".join(parts) or None
