"""Shows a running sweep on a terminal: the snapshots of views.py as a table that changes in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.core.protocols import Clock
from harness.progress.views import Progress, ProgressSnapshot, cells, harness_line, pause_lines, score_line

PERIOD_S = 0.5  # often enough to look live; a drawing takes milliseconds
GAP = 2  # characters between columns
DROPPED_FIRST = (
    "calls",
    "queue",
    "never begun",
    "retrying",
    "open",
    "tokens/min",
    "requests/min",
    "cost",
)  # in this order, where a terminal is too narrow for all columns


async def live(progress: Progress, *, clock: Clock, console: Console | None = None) -> None:
    """Shows the table until cancelled. Returns at once on a terminal that cannot change text in place (rich
    decides, by TERM).

    console   None: on stderr"""
    shown = console or Console(stderr=True)
    if not shown.is_terminal or shown.is_dumb_terminal:
        return
    with Live(
        _table(progress.snapshot(), shown.width), console=shown, auto_refresh=False, transient=True
    ) as view:
        while True:
            await clock.sleep(PERIOD_S)
            view.update(_table(progress.snapshot(), shown.width), refresh=True)


def _table(snapshot: ProgressSnapshot, width: int) -> Group:
    table = Table(box=None, padding=(0, GAP, 0, 0))
    rows = [cells(lane) for lane in snapshot.methods]
    columns = _fitting(rows, width)
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    of_games = [Text(score_line(snapshot))] if snapshot.games else []
    pauses = [Text(line) for line in pause_lines(snapshot)]
    return Group(table, *pauses, *of_games, Text(harness_line(snapshot), style="dim"))


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Returns the columns that fit into the width."""
    widths = {
        name: max(len(name), *(len(row[name]) for row in rows)) + GAP for name in (rows[0] if rows else ())
    }
    for name in DROPPED_FIRST:
        if sum(widths.values()) > width:
            widths.pop(name, None)
    return list(widths)
