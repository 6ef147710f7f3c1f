"""A sweep on a terminal while it runs: the pictures of views.py as a table that changes in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.core.protocols import Clock
from harness.progress.views import Picture, Progress, cells, ourselves, points

PERIOD_S = 0.5
GAP = 2  # characters between columns
LESS_TOLD = (
    "calls",
    "queue",
    "retrying",
    "tokens/min",
    "requests/min",
    "cost",
)  # where a terminal is too narrow for all: these go first


async def live(progress: Progress, *, clock: Clock, console: Console | None = None) -> None:
    """Shows until cancelled; returns at once where nothing can change in place after all, as rich is told by TERM and its like.

    console   None: on stderr"""
    shown = console or Console(stderr=True)
    if not shown.is_terminal or shown.is_dumb_terminal:
        return
    with Live(
        _table(progress.picture(), shown.width), console=shown, auto_refresh=False, transient=True
    ) as view:
        while True:
            await clock.sleep(PERIOD_S)
            view.update(_table(progress.picture(), shown.width), refresh=True)


def _table(picture: Picture, width: int) -> Group:
    table = Table(box=None, padding=(0, GAP, 0, 0))
    rows = [cells(lane) for lane in picture.methods]
    columns = _fitting(rows, width)
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    of_games = [Text(points(picture))] if picture.games else []
    return Group(table, *of_games, Text(ourselves(picture), style="dim"))


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The columns for which there is room."""
    widths = {
        name: max(len(name), *(len(row[name]) for row in rows)) + GAP for name in (rows[0] if rows else ())
    }
    for name in LESS_TOLD:
        if sum(widths.values()) > width:
            widths.pop(name, None)
    return list(widths)
