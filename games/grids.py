"""Grids of five by five letters as texts, with a space between cells and a line end between rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SIDE = 5
EMPTY = "▢"

Rows = tuple[tuple[str, ...], ...]


def rows_of(grid: str) -> Rows:
    """Splits a text into rows of cells; a text that is no proper grid gives rows of other lengths."""
    return tuple(tuple(row.split(" ")) for row in grid.strip().split("\n"))


def text_of(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(" ".join(row) for row in rows)
