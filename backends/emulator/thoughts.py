"""Generates the thoughts of the emulated model before a reply: their number of tokens and their text. Pure.

Knows the toy model's words. Keeps: the same name of a draw gives the same thoughts, so that a turn that is
asked again has the same cost."""

from __future__ import annotations

import math
from collections.abc import Mapping

from backends.emulator.hash_random import normal, uniforms
from backends.emulator.toy_model import WORDS

EFFORTS: Mapping[str, float] = {"none": 0.0, "minimal": 0.1, "low": 0.4, "high": 2.5, "xhigh": 4.0}
"""reasoning_effort -> tokens of thoughts, as a multiple of those at "medium"; without one, 1 as at "medium".

The values are chosen, not measured: they rise with the effort, so that `check` has a difference to find."""
SPREAD = 0.3  # standard deviation of the logarithm of a reply's tokens of thoughts; chosen


def thought_length(mean: int, effort: str | None, *draw_key: bytes) -> int:
    """Returns how many tokens the thoughts before one reply have.

    mean      at medium effort
    draw_key  names the draw"""
    drawn = uniforms(b"thoughts", *draw_key)
    factor = EFFORTS.get(effort or "medium", 1.0)
    return round(mean * factor * math.exp(SPREAD * normal(drawn[0], drawn[1])))


def thought_text(tokens: int, start: bytes) -> str:
    """Returns thoughts of this many tokens.

    start   the state of the conversation: equal conversations have equal first thoughts"""
    return "".join(WORDS[(start[place % len(start)] + place) % len(WORDS)] for place in range(tokens))
