"""Text for a terminal. What models wrote is hostile: shown, never obeyed."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_SHOWN_AS_IS = "\n\t"


def escape_control(text: str) -> str:
    """The text with every control, direction-changing or unprintable character written out: \\x1b cannot colour a terminal."""
    return "".join(
        one if one in _SHOWN_AS_IS or unicodedata.category(one)[0] != "C" else _escaped(one) for one in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, each once: a second `n` is `n_2`."""
    seen: list[str] = []
    for name in names:
        number, told = 1, name
        while told in seen:
            number += 1
            told = f"{name}_{number}"
        seen.append(told)
    return seen
