"""Verdicts in words for a person who has never seen a p-value: what was found, how sure, how much noise there is.

Knows findings. Keeps: says nothing that the evidence below it does not hold; a range is always beside a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.analysis.store_audit import ModelAudit
from harness.audit.replies.reply_audit import CrossMatch, ReplyFindings
from harness.audit.scores.findings import Comparison, GameFinding

READING = (
    "DIFFERENT: more than luck explains. EQUIVALENT: whatever difference there is, it is smaller than what was declared not to matter."
    " INCONCLUSIVE: not enough was played to say either."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSummary:
    """One access method: its two verdicts (None: not compared) and what they mean."""

    method: str
    scores: str
    replies: str | None
    said: tuple[str, ...]


def opening(part: ModelAudit) -> str:
    """What was compared."""
    audit = part.scores
    items = max(one.items for one in audit.comparisons)
    times = "once" if audit.repeats == 1 else f"{audit.repeats} times"
    return f"Is {part.model} the same model, however it is reached? Held against {audit.reference}; {items} puzzles, each played {times}."


def summarise_methods(part: ModelAudit) -> Iterator[MethodSummary]:
    """Every method, in order."""
    across = {match.method: match for match in part.replies.across} if part.replies else {}
    for one in part.scores.comparisons:
        match = across.get(one.method)
        said = [_scores(one, part.scores.margin)]
        if match is not None and part.replies is not None:
            said.append(_replies(match, part.replies))
        yield MethodSummary(
            method=one.method, scores=one.verdict, replies=match.verdict if match else None, said=tuple(said)
        )


def alarm(part: ModelAudit) -> str | None:
    """Why nothing below is to be believed, if so."""
    if part.calibrated:
        return None
    what = "scores" if not part.scores.calibrated else "replies"
    return f"CALIBRATION FAILED: the reference's {what} differ from its own; believe no verdict below."


def plan(part: ModelAudit) -> str:
    """The plan that the verdicts rest on."""
    quote = part.plan
    if quote.plan_hash is None or quote.made_at is None:
        return "No plan was stored before the first call: what counts as too small a difference was chosen with the data at hand."
    when = datetime.fromtimestamp(quote.made_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    words = f"Plan {quote.plan_hash[:8]}, {'written before the first call' if quote.before_calls else 'written'} on {when}."
    if quote.plans > 1:
        words += f" It is the last of {quote.plans}: games, puzzles or methods were added."
    if quote.overruled:
        words += f" Overruled by this command: {'; '.join(quote.overruled)}."
    return words


def noise(part: ModelAudit) -> str | None:
    """What two plays of the reference differ by."""
    twin = part.scores.again
    if twin is None:
        return None
    words = f"Played a second time, {part.scores.reference} differs from itself by {abs(twin.points.difference):.1f} points"
    return f"{words}{_agreement(part.replies)}: so much is noise."


def _agreement(replies: ReplyFindings | None) -> str:
    share = replies.again.share if replies and replies.again else None
    return (
        ""
        if share is None
        else f" and gives the same reply to the same prompt in {100 * share:.0f} of 100 cases"
    )


def _scores(one: Comparison, margin: float) -> str:
    points = one.points
    if one.missing is not None and one.label.endswith("(missing data)"):
        return (
            "Too many of its games failed for technical reasons to judge its scores; play those again first."
        )
    if one.verdict == "EQUIVALENT":
        return f"Scores: at most {margin:g} points of 100 apart; {_amount(points.difference)} was seen."
    if one.verdict == "INCONCLUSIVE":
        return f"Scores: it may {_open(one)}; that is too wide a range to call.{_more(one)}"
    where = _where(one)
    span = f"between {_amount(points.low)} and {_amount(points.high)}"
    return f"Scores: {_amount(points.difference)} of 100, most likely {span}.{where}"


def _open(one: Comparison) -> str:
    """The range of what is not settled: points, or where these are, the share of episodes played."""
    points, played = one.points, one.played
    if max(-points.open_low, points.open_high) < points.margin:
        return f"end {-played.open_low:.1f} % more of its games by a broken form, or {played.open_high:.1f} % fewer"
    return f"score between {_amount(points.open_low)} and {_amount(points.open_high)}"


def _amount(points: float) -> str:
    if abs(points) < 0.05:
        return "no points"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'fewer'}"


def _where(one: Comparison) -> str:
    game = max(one.games, key=lambda game: abs(game.difference))
    if abs(game.form) >= abs(game.play):
        return f" Most of it in {game.game}: it keeps the game's form in {_kept(game)} of 100 games."
    better = "better" if game.play > 0 else "worse"
    return f" Most of it in {game.game}: it keeps the form, but plays {better} ({_amount(game.difference)} there)."


def _kept(game: GameFinding) -> str:
    return f"{game.played_method:.0f} (reference: {game.played_reference:.0f})"


def _more(one: Comparison) -> str:
    if one.plan is None:
        return ""
    if one.plan.repeats is not None:
        return f" {one.plan.repeats} plays of each puzzle would settle it."
    return f" About {one.plan.items:,} puzzles would settle it."


def _replies(match: CrossMatch, replies: ReplyFindings) -> str:
    own = next((one.share for one in replies.within if one.method == replies.reference), None)
    if match.verdict is None or own is None:
        return "Replies: each prompt was asked too seldom to tell a different model from the same one answering twice."
    same = f"{100 * match.share:.0f} of 100 replies are the very words of the reference, which repeats itself in {100 * own:.0f}"
    if match.verdict == "EQUIVALENT":
        return f"Replies: to the same prompt it answers as the reference answers itself; {same}."
    if match.verdict == "DIFFERENT":
        return f"Replies: to the same prompt it answers otherwise; {same}."
    needed = f" About {match.prompts_to_settle:,} prompts would settle it." if match.prompts_to_settle else ""
    return f"Replies: no clear answer; {same}.{needed}"
