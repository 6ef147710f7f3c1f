"""Verdicts in plain words: the first screen of an audit, for a reader who does not know p-values.

Keeps: every sentence rests on a finding of the evidence below it; an estimate of a difference has its
range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.analysis.store_audit import ModelAudit
from harness.audit.replies.reply_audit import CrossMatch, ReplyFindings
from harness.audit.scores.findings import Comparison, GameFinding

READING = (
    "DIFFERENT: chance does not explain the difference. EQUIVALENT: any difference is "
    "smaller than the margin that was declared not to matter. INCONCLUSIVE: the data do not decide."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSummary:
    """One access method: its two verdicts (None: not compared) and a sentence for each."""

    method: str
    scores: str
    replies: str | None
    sentences: tuple[str, ...]


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
    """Yields a summary of every method, in order."""
    across = {match.method: match for match in part.replies.across} if part.replies else {}
    for one in part.scores.comparisons:
        match = across.get(one.method)
        sentences = [_scores(one, part.scores.margin)]
        if match is not None and part.replies is not None:
            sentences.append(_replies(match, part.replies))
        yield MethodSummary(
            method=one.method,
            scores=one.verdict,
            replies=match.verdict if match else None,
            sentences=tuple(sentences),
        )
    for aside in part.scores.set_aside:
        match = across.get(aside.method)
        replies = [_replies(match, part.replies)] if match is not None and part.replies is not None else []
        yield MethodSummary(
            method=aside.method,
            scores=aside.verdict,
            replies=match.verdict if match else None,
            sentences=(aside.sentence, *replies),
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
        return "Scores: too many episodes failed for technical reasons; play these again first."
    if one.verdict == "EQUIVALENT":
        return (
            f"Scores: less than {margin:g} points of 100 apart; the estimate is {_amount(points.difference)}."
        )
    if one.verdict == "INCONCLUSIVE":
        return f"Scores: it may {_open(one)}; this range is too wide for a verdict.{_more(one)}"
    where = _where(one)
    span = f"between {_amount(points.low)} and {_amount(points.high)}"
    return f"Scores: {_amount(points.difference)} of 100, most likely {span}.{where}"


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
        return f" Most of it is in {game.game}: {_kept(game)} of its episodes keep the format."
    better = "better" if game.play > 0 else "worse"
    amount = _amount(game.difference)
    return f" Most of it is in {game.game}: the format is kept, but the quality is {better} ({amount} there)."


def _kept(game: GameFinding) -> str:
    return f"{game.played_method:.0f} % (reference: {game.played_reference:.0f} %)"


def _more(one: Comparison) -> str:
    if one.plan is None:
        return ""
    if one.plan.repeats is not None:
        return f" {one.plan.repeats} repeats of each item would settle it."
    return f" About {one.plan.items:,} items would settle it."


def _replies(match: CrossMatch, replies: ReplyFindings) -> str:
    own = next((one.share for one in replies.within if one.method == replies.reference), None)
    if match.verdict is None or own is None:
        return (
            "Replies: each prompt has too few replies to tell a different model from the same one that "
            "replies twice."
        )
    same = (
        f"{100 * match.share:.0f} % of pairs of replies are equal to the reference's; "
        f"within the reference {100 * own:.0f} %"
    )
    if match.verdict == "EQUIVALENT":
        return f"Replies: as similar to the reference's as these are to each other; {same}."
    if match.verdict == "DIFFERENT":
        return f"Replies: they differ from the reference's to the same prompts; {same}."
    needed = f" About {match.prompts_to_settle:,} prompts would settle it." if match.prompts_to_settle else ""
    return f"Replies: too few prompts to tell; {same}.{needed}"
