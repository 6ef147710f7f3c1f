"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from harness.report.text import escape_control


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> Table:
    """Makes a table without lines: the first `left` columns flush left, the others flush right."""
    result = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        result.add_column(name, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        result.add_row(*(Text(escape_control("-" if cell is None else str(cell))) for cell in row))
    return result
