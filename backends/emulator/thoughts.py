"""The thoughts of the emulated model before a reply: how many tokens they have, and their text. Pure.

Knows the toy model's words. Keeps: the same name of a draw gives the same thoughts, so that a turn that is
asked again has the same cost."""

from __future__ import annotations

import math
from collections.abc import Mapping

from backends.emulator.hash_random import normal, uniforms
from backends.emulator.toy_model import WORDS

EFFORTS: Mapping[str, float] = {"none": 0.0, "minimal": 0.1, "low": 0.4, "high": 2.5, "xhigh": 4.0}
"""Tokens of thoughts at each reasoning_effort, as a share of those at "medium", or without one."""
SPREAD = 0.3  # sigma of their lognormal spread from reply to reply


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
