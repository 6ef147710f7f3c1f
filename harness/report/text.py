"""Text for a terminal. Text of models is hostile: its control characters are shown, not sent."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_SHOWN_AS_IS = "\n\t"


def escape_control(text: str) -> str:
    """Returns the text with every control, direction-changing or unprintable character escaped, such as
    \\x1b."""
    return "".join(
        letter if letter in _SHOWN_AS_IS or unicodedata.category(letter)[0] != "C" else _escaped(letter)
        for letter in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def unique_names(names: Sequence[str]) -> list[str]:
    """Returns the names, each once: a second `n` is `n_2`."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in unique:
            number += 1
            candidate = f"{name}_{number}"
        unique.append(candidate)
    return unique
