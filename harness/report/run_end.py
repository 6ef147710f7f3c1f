"""The table that ends a run: what the store now holds of each access method."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from harness.core.short_texts import clock_duration, middle_cut
from harness.report.table import table
from harness.store.report_queries import MethodResult

COLUMNS = ("method", "episodes", "failed", "clemscore", "% played", "errors", "cost", "time")
NAME_MIN = 12  # characters of a method's name, at least
GAP = 2


def print_results(results: Sequence[MethodResult], console: Console, *, width: int) -> None:
    """Prints a line for each access method; in a narrow window names are cut in the middle, numbers never."""
    rows = [
        (
            one.method,
            f"{one.episodes:,}",
            f"{one.failed:,}",
            None if one.clemscore is None else f"{one.clemscore:.1f}",
            None if one.played is None else f"{one.played:.1f}",
            f"{one.errors:,}",
            None if one.cost_usd is None else f"${one.cost_usd:.4f}",
            None if one.busy_s is None else clock_duration(one.busy_s),
        )
        for one in results
    ]
    others = sum(
        GAP + max(len(name), *(len(str(row[place] or "-")) for row in rows))
        for place, name in enumerate(COLUMNS)
        if place
    )
    room = max(NAME_MIN, width - others - GAP)
    console.print(table(COLUMNS, [(middle_cut(row[0], room), *row[1:]) for row in rows]))
