"""The table that ends a run: what the store now holds of each access method.

Plain lines: a run in a pipe loads no library for tables."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.short_texts import clock_duration, middle_cut
from harness.report.text import escape_control
from harness.store.report_queries import MethodResult

COLUMNS = ("method", "episodes", "failed", "clemscore", "% played", "errors", "cost", "time")
NAME_MIN = 12  # characters of a method's name, at least
GAP = 2


def result_lines(results: Sequence[MethodResult], *, width: int) -> list[str]:
    """Returns the table's lines; in a narrow window names are cut in the middle, numbers never."""
    rows = [COLUMNS, *map(_cells, results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    room = max(NAME_MIN, width - sum(widths[1:]) - GAP * len(COLUMNS))
    name_width = min(room, widths[0])
    return [
        (" " * GAP).join(
            [
                f"{middle_cut(row[0], name_width):<{name_width}}",
                *(f"{cell:>{size}}" for cell, size in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]


def _cells(one: MethodResult) -> tuple[str, ...]:
    return (
        escape_control(one.method),
        f"{one.episodes:,}",
        f"{one.failed:,}",
        "-" if one.clemscore is None else f"{one.clemscore:.1f}",
        "-" if one.played is None else f"{one.played:.1f}",
        f"{one.errors:,}",
        "-" if one.cost_usd is None else f"${one.cost_usd:.4f}",
        "-" if one.busy_s is None else clock_duration(one.busy_s),
    )
