"""Scores and audits, for a terminal: the verdicts in plain words first, then the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.analysis.store_audit import ModelAudit, ModelScores
from harness.audit.scores.clemscore import MethodFigures
from harness.audit.scores.findings import Audit, Comparison
from harness.report import plain
from harness.report.completeness import plays_lines
from harness.report.first_tokens import first_tokens_sentence
from harness.report.table import table
from harness.report.text import escape_control

COLUMNS = (
    "method",
    "episodes",
    "aborted",
    "unscored",
    "failed",
    "clemscore",
    "% played",
    "quality",
    "clemscore, shared games only",
)
_STYLES = {
    "EQUIVALENT": "bold green",
    "CONSISTENT": "bold green",
    "DIFFERENT": "bold red",
    "DEVIATES": "bold red",
    "INCONCLUSIVE": "bold yellow",
}


def print_scores(models: Sequence[ModelScores], console: Console) -> None:
    """Prints a line for each access method and each of its games; intervals are 95 %, over items; a dash: not
    known."""
    for part in models:
        rows: list[Sequence[object]] = []
        for method in part.methods:
            rows += _method_rows(method, method.method)
        for method in part.summaries:
            rows += _method_rows(method, f"{method.method} (published averages)")
        console.print(Text(part.model, style="bold"))
        console.print(table(COLUMNS, rows))
        for line in plays_lines(part.plays):
            console.print(Text(escape_control(line)), soft_wrap=True)
        if part.methods and len(part.supported_games) < len(part.methods[0].games):
            left_out = [game.game for game in part.methods[0].games if game.game not in part.supported_games]
            console.print(
                f"Not a shared game: {', '.join(left_out)}. A game is shared if every method completed at least "
                "5 % of its episodes, and at least five.",
                highlight=False,
            )


def _method_rows(method: MethodFigures, name: str) -> Iterator[Sequence[object]]:
    score = method.clemscore
    yield (
        name,
        method.episodes,
        method.aborted,
        method.unscored,
        method.failed,
        _span(score.value, method.low, method.high),
        score.played,
        score.quality,
        None if method.supported is None else f"{method.supported:.2f}",
    )
    for game in method.games:
        yield (
            f"  {game.game}",
            game.episodes,
            game.aborted,
            game.unscored,
            None,
            None,
            _span(game.played, game.played_low, game.played_high),
            _span(game.quality, game.quality_low, game.quality_high),
            None,
        )


def print_audit(models: Sequence[ModelAudit], console: Console) -> None:
    """Prints the verdicts in plain words, then the evidence."""
    for part in models:
        _print_answer(part, console)
    for part in models:
        _print_evidence(part, console)


def _print_answer(part: ModelAudit, console: Console) -> None:
    console.print(Text(escape_control(plain.opening(part)), style="bold"), soft_wrap=True)
    if (alarm := plain.alarm(part)) is not None:
        console.print(Text(alarm, style="bold red"), soft_wrap=True)
    for line in plays_lines(part.plays):
        console.print(Text(escape_control(line), style="" if part.complete else "yellow"), soft_wrap=True)
    summaries = [*plain.summarise_methods(part)]
    verdicts = table(plain.columns(part), [])
    for one in summaries:
        verdicts.add_row(
            escape_control(one.method),
            Text(one.scores, style=_STYLES[one.scores]),
            _verdict(one.replies, "not compared"),
            *([_verdict(one.weights, one.weights_label)] if part.weights is not None else []),
            one.difference,
            one.equal,
        )
    console.print(verdicts)
    for one in summaries:
        console.print(Text(escape_control(one.sentence)), soft_wrap=True)
        if one.to_settle:
            console.print(Text(f"  {one.to_settle}"), soft_wrap=True)
        for cause in part.causes:
            if cause.named and cause.method == one.method:
                console.print(Text(f"  {escape_control(cause.sentence)}"), soft_wrap=True)
    console.print()
    if (noise := plain.noise(part)) is not None:
        console.print(Text(escape_control(noise)), soft_wrap=True)
    console.print(Text(plain.READING, style="dim"), soft_wrap=True)
    console.print(Text(escape_control(plain.plan(part)), style="dim"), soft_wrap=True)
    console.print()


def _verdict(verdict: str | None, without: str) -> Text:
    """Returns the cell of a verdict; `without` stands where there is none."""
    return Text(verdict, style=_STYLES[verdict]) if verdict else Text(without, style="dim")


def _print_evidence(part: ModelAudit, console: Console) -> None:
    scores, replies = part.scores, part.replies
    console.print(Text(f"Evidence: {escape_control(part.model)}", style="bold"), soft_wrap=True)
    across = {match.method: match for match in replies.across} if replies else {}
    causes = {cause.method: cause for cause in part.causes}
    if scores.reference in causes and causes[scores.reference].named:
        console.print(Text(escape_control(causes[scores.reference].sentence)), soft_wrap=True)
    for comparison in scores.comparisons:
        console.print()
        label = Text(comparison.label, style=_STYLES[comparison.verdict])
        console.print(
            Text.assemble(label, f"  {escape_control(comparison.method)}", (f"  plan {_hash(part)}", "dim")),
            soft_wrap=True,
        )
        console.print(Text(escape_control(comparison.sentence)), soft_wrap=True)
        match = across.get(comparison.method)
        words = (
            match.sentence
            if match
            else "Replies were not compared, because the two methods have no prompt in common."
        )
        console.print(Text(escape_control(words)), soft_wrap=True)
        cause = causes.get(comparison.method)
        if cause is not None and (
            cause.named or comparison.verdict == "DIFFERENT" or (match and match.verdict == "DIFFERENT")
        ):
            console.print(Text(escape_control(cause.sentence)), soft_wrap=True)
        if comparison.repeats_effective is not None:
            console.print(Text(_repeats(comparison, comparison.repeats_effective)), soft_wrap=True)
        _print_games(comparison, scores, console)
    for aside in scores.set_aside:
        console.print()
        console.print(
            Text.assemble(
                Text(aside.label, style=_STYLES[aside.verdict]), f"  {escape_control(aside.method)}"
            ),
            soft_wrap=True,
        )
        console.print(Text(escape_control(aside.sentence)), soft_wrap=True)
    console.print()
    for words in (
        scores.again.sentence if scores.again else "",
        replies.again.sentence if replies and replies.again else "",
        *(first_tokens_sentence(one, against=scores.reference) for one in part.first_tokens),
        *plain.weights_lines(part.weights),
    ):
        if words:
            console.print(Text(escape_control(words)), soft_wrap=True)


def _repeats(comparison: Comparison, effective: float) -> str:
    """Returns what the repeats are worth, and how often the outcome of an item changes between them."""
    identical = effective < 1.05  # printed as 1.0
    repeats = comparison.repeats
    words = (
        f"The {repeats} repeats of each item were identical, so they count as one."
        if identical and repeats > 1
        else f"The {repeats} repeats of each item count as {effective:.1f} independent repeats."
    )
    agreement = comparison.agreement
    if agreement is None:
        return words
    return (
        f"{words} How often two plays of the same item have different outcomes: "
        f"two plays of the reference {100 * agreement.flips_reference:.0f} %, "
        f"two plays of this method {100 * agreement.flips_method:.0f} %, "
        f"one play of the reference and one of this method {100 * agreement.across:.0f} %."
    )


def _hash(part: ModelAudit) -> str:
    return part.plan.plan_hash[:8] if part.plan.plan_hash else "none"


def _print_games(comparison: Comparison, audit: Audit, console: Console) -> None:
    rows = [
        (
            game.game,
            game.items,
            _signed(game.difference, game.low, game.high),
            f"{game.p_points:.4f}",
            f"{game.form:+.1f}",
            f"{game.play:+.1f}",
            f"{game.played_reference:.1f} → {game.played_method:.1f}",
            f"equivalent within ±{audit.margin_game:g}" if game.equivalent else "not shown to be equivalent",
        )
        for game in comparison.games
    ]
    macro = comparison.points
    rows.append(
        (
            "all games",
            comparison.items,
            _signed(macro.difference, macro.low, macro.high),
            f"{comparison.p_difference:.4f}",
            "",
            "",
            "",
            "",
        )
    )
    columns = (
        "game",
        "items",
        plain.difference_head(audit.alpha),
        "p",
        "due to format",
        "due to quality",
        "% played",
        "verdict for this game",
    )
    console.print(table(columns, rows))
    console.print(
        Text(
            f"All games: the interval [{macro.equivalence_low:+.1f}, {macro.equivalence_high:+.1f}] decides "
            f"whether the verdict is EQUIVALENT. A verdict INCONCLUSIVE states the range [{macro.open_low:+.1f}, "
            f"{macro.open_high:+.1f}]. "
            "Both also allow for differences on rare items that were not played."
        ),
        soft_wrap=True,
    )


def _span(value: float | None, low: float | None, high: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.1f}, {high:.1f}]"


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
