"""Letter grids of five by five, as texts: cells separated by a space, rows by a line end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SIDE = 5
EMPTY = "▢"

Rows = tuple[tuple[str, ...], ...]


def rows_of(grid: str) -> Rows:
    """The cells of a grid, row by row, as far as they are where they should be."""
    return tuple(tuple(row.split(" ")) for row in grid.strip().split("\n"))


def text_of(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(" ".join(row) for row in rows)
