"""Drift, for a terminal: a sentence for each method, then its days."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.analysis.store_drift import MethodDrift
from harness.report.first_tokens import first_tokens_sentence
from harness.report.table import table
from harness.report.text import escape_control


def print_drift(drifts: Sequence[MethodDrift], console: Console) -> None:
    """Prints for each method a sentence, its days, changes that its provider reports, and its scores against
    the first day's."""
    for place, method in enumerate(drifts):
        if place:
            console.print()
        replies = method.replies
        console.print(
            Text(escape_control(replies.sentence), style="bold red" if replies.changed else "bold"),
            soft_wrap=True,
        )
        rows = [
            (
                day.label,
                day.asks or None,
                day.earlier or None,
                _percent(day.difference),
                _percent(day.ordinary),
                None if day.p is None else f"{day.p:.4f}",
                "ALARM" if day.alarm else "",
            )
            for day in replies.days
        ]
        columns = ("day", "common prompts", "earlier days", "difference", "ordinary", "p", "")
        console.print(table(columns, rows))
        for day in replies.days:
            if day.first_tokens is not None:
                words = first_tokens_sentence(day.first_tokens, against="all earlier days together")
                console.print(Text(escape_control(words)), soft_wrap=True)
        for event in replies.events:
            console.print(
                Text(escape_control(f"{event.label}: {event.fact}: {event.before} -> {event.after}")),
                soft_wrap=True,
            )
        if method.scores is not None:
            for comparison in method.scores.comparisons:
                console.print(Text(escape_control(f"Scores: {comparison.sentence}")), soft_wrap=True)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"
