"""A sweep on a terminal while it runs: the pictures of views.py as a table that changes in place."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.core.protocols import Clock
from harness.progress.views import Picture, Progress, cells, ourselves, points

PERIOD_S = 0.5


async def live(progress: Progress, *, clock: Clock, console: Console | None = None) -> None:
    """Shows until cancelled; returns at once where nothing can change in place after all, as rich is told by TERM and its like.

    console   None: on stderr"""
    shown = console or Console(stderr=True)
    if not shown.is_terminal or shown.is_dumb_terminal:
        return
    with Live(_table(progress.picture()), console=shown, auto_refresh=False, transient=True) as view:
        while True:
            await clock.sleep(PERIOD_S)
            view.update(_table(progress.picture()), refresh=True)


def _table(picture: Picture) -> Group:
    table = Table(box=None, padding=(0, 2, 0, 0))
    rows = [cells(lane) for lane in picture.methods]
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        table.add_row(*row.values())
    of_games = [Text(points(picture))] if picture.games else []
    return Group(table, *of_games, Text(ourselves(picture), style="dim"))
