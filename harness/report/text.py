"""Text for a terminal. What models wrote is hostile: shown, never obeyed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

_SHOWN_AS_IS = "\n\t"


def harmless(text: str) -> str:
    """The text with every control, direction-changing or unprintable character written out: \\x1b cannot colour a terminal."""
    return "".join(one if one in _SHOWN_AS_IS or unicodedata.category(one)[0] != "C" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> Table:
    """A plain table: the first `left` columns flush left, the others flush right."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        made.add_column(name, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(harmless("-" if cell is None else str(cell))) for cell in row))
    return made


def told_apart(names: Sequence[str]) -> list[str]:
    """The names, each once: a second `n` is `n_2`."""
    seen: list[str] = []
    for name in names:
        number, told = 1, name
        while told in seen:
            number += 1
            told = f"{name}_{number}"
        seen.append(told)
    return seen
