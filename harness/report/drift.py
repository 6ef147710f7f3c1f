"""Drift, for a terminal: a sentence for each method, then its days."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.analysis.store_drift import MethodDrift
from harness.report.table import table
from harness.report.text import escape_control


def print_drift(found: Sequence[MethodDrift], console: Console) -> None:
    """For each method a sentence, its days, what the provider told of itself, and its scores against the
    first day's."""
    for place, one in enumerate(found):
        if place:
            console.print()
        told = one.replies
        console.print(
            Text(escape_control(told.sentence), style="bold red" if told.changed else "bold"), soft_wrap=True
        )
        rows = [
            (
                day.label,
                day.asks or None,
                None if day.p is None else f"{day.p:.3f}",
                f"{day.evidence:.2f}",
                "ALARM" if day.alarm else "",
            )
            for day in told.days
        ]
        console.print(table(("day", "asks in common", "p", f"evidence of {told.days_mean:g}", ""), rows))
        for event in told.events:
            console.print(
                Text(escape_control(f"{event.label}: {event.fact}: {event.before} -> {event.after}")),
                soft_wrap=True,
            )
        if one.scores is not None:
            for comparison in one.scores.comparisons:
                console.print(Text(escape_control(f"Scores: {comparison.sentence}")), soft_wrap=True)
