"""Scores and verdicts as a terminal shows them: the answer first, in words, then the figures it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.analysis import ModelAudit, ModelScores
from harness.audit.composite import MethodFigures
from harness.audit.findings import Comparison
from harness.report.text import table

COLUMNS = ("method", "episodes", "aborted", "unscored", "failed", "clemscore", "% played", "quality", "on common support")
_STYLES = {"EQUIVALENT": "bold green", "DIFFERENT": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_scores(models: Sequence[ModelScores], console: Console) -> None:
    """A line for each access method and one for each of its games; intervals are 95 %, over items. A dash: not known, or nothing there."""
    for part in models:
        rows: list[Sequence[object]] = []
        for method in part.methods:
            rows += _method_rows(method, method.method)
        for method in part.summaries:
            rows += _method_rows(method, f"{method.method} (published averages)")
        console.print(Text(part.model, style="bold"))
        console.print(table(COLUMNS, rows))
        if part.methods and len(part.supported_games) < len(part.methods[0].games):
            left_out = [game.game for game in part.methods[0].games if game.game not in part.supported_games]
            console.print(
                f"Common support leaves out {', '.join(left_out)}: some method played less than 5 % of it.", highlight=False
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
    """For each method a verdict, its sentence, what replies say, and where differences lie."""
    for part in models:
        scores = part.scores
        console.print(Text(f"{part.model}: is it the same model? Held against {scores.reference}.", style="bold"), soft_wrap=True)
        if not scores.calibrated:
            console.print(Text("CALIBRATION FAILED: the reference differs from itself; believe no verdict below.", style="bold red"))
        across = {match.method: match for match in part.replies.across} if part.replies else {}
        causes = {cause.method: cause for cause in part.causes}
        if scores.reference in causes and causes[scores.reference].named:
            console.print(Text(causes[scores.reference].sentence), soft_wrap=True)
        for comparison in scores.comparisons:
            console.print()
            console.print(Text.assemble((comparison.label, _STYLES[comparison.verdict]), f"  {comparison.method}"), soft_wrap=True)
            console.print(Text(comparison.sentence), soft_wrap=True)
            match = across.get(comparison.method)
            words = match.sentence if match else "Replies to identical prompts were not compared: there are none in common."
            console.print(Text(words), soft_wrap=True)
            cause = causes.get(comparison.method)
            if cause is not None and (cause.named or comparison.verdict == "DIFFERENT" or (match and match.verdict == "DIFFERENT")):
                console.print(Text(cause.sentence), soft_wrap=True)
            _print_games(comparison, console)
        if scores.again is not None:
            console.print(Text(scores.again.sentence), soft_wrap=True)


def _print_games(comparison: Comparison, console: Console) -> None:
    rows = [
        (
            game.game,
            game.items,
            _signed(game.difference, game.low, game.high),
            f"{game.p_points:.4f}",
            f"{game.form:+.1f}",
            f"{game.play:+.1f}",
            f"{game.played_reference:.1f} → {game.played_method:.1f}",
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
        )
    )
    console.print(table(("game", "items", "points [95 %]", "p", "by form", "by play", "% played"), rows))


def _span(value: float | None, low: float | None, high: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.1f}, {high:.1f}]"


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
