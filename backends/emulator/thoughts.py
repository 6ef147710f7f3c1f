"""Generates the thoughts of the emulated model before a reply: their number of tokens and their text. Pure.

Knows the toy model's words and sampler. Keeps: where the words of a reply repeat, its thoughts do. So a turn
that is asked again has the same cost, and thoughts do not cut a reply that repeats at another place."""

from __future__ import annotations

import math
from collections.abc import Mapping

from backends.emulator.hash_random import normal, uniforms
from backends.emulator.toy_model import WORDS, Sampler

EFFORTS: Mapping[str, float] = {"none": 0.0, "minimal": 0.1, "low": 0.4, "high": 2.5, "xhigh": 4.0}
"""reasoning_effort -> tokens of thoughts, as a multiple of those at "medium"; without one, 1 as at "medium".

The values are chosen, not measured: they rise with the effort, so that `check` has a difference to find."""
SPREAD = 0.3  # standard deviation of the logarithm of a reply's tokens of thoughts; chosen


def thought_length(mean: int, effort: str | None, sampler: Sampler, start: bytes) -> int:
    """Returns how many tokens the thoughts before one reply have.

    mean     at medium effort
    sampler  of the reply: thoughts repeat where its words do, at temperature 0 and with one seed
    start    the state of the conversation"""
    draw_key = sampler.draw_key if sampler.temperature > 0 else b""
    drawn = uniforms(b"thoughts", sampler.weights, start, draw_key)
    factor = EFFORTS.get(effort or "medium", 1.0)
    return round(mean * factor * math.exp(SPREAD * normal(drawn[0], drawn[1])))


def thought_text(tokens: int, start: bytes) -> str:
    """Returns thoughts of this many tokens.

    start   the state of the conversation: equal conversations have equal first thoughts"""
    return "".join(WORDS[(start[place % len(start)] + place) % len(WORDS)] for place in range(tokens))
