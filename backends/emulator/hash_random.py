"""Chance by name: uniform numbers that depend on what they are for and on nothing else. Cheaper than a generator for a number or four."""

from __future__ import annotations

import math
from hashlib import blake2b

_TO_UNIT = 2.0**-53


def digest8(*parts: bytes) -> bytes:
    """Eight bytes that stand for these parts."""
    return blake2b(b"\0".join(parts), digest_size=8).digest()


def uniforms(*parts: bytes) -> tuple[float, float, float, float]:
    """Four independent numbers in [0, 1)."""
    drawn = blake2b(b"\0".join(parts), digest_size=32).digest()
    return (
        (int.from_bytes(drawn[:8], "big") >> 11) * _TO_UNIT,
        (int.from_bytes(drawn[8:16], "big") >> 11) * _TO_UNIT,
        (int.from_bytes(drawn[16:24], "big") >> 11) * _TO_UNIT,
        (int.from_bytes(drawn[24:], "big") >> 11) * _TO_UNIT,
    )


def normal(first: float, second: float) -> float:
    """A standard normal number from two uniform ones (Box and Muller)."""
    return math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
