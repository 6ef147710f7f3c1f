"""Named chance: uniform numbers that depend on their name alone. Cheaper than a generator for up to four
numbers."""

from __future__ import annotations

import math
from hashlib import blake2b

_TO_UNIT = 2.0**-53


def digest8(*parts: bytes) -> bytes:
    """Returns eight bytes that identify these parts."""
    return blake2b(b"\0".join(parts), digest_size=8).digest()


def uniforms(*parts: bytes) -> tuple[float, float, float, float]:
    """Returns four independent uniform numbers in [0, 1), named by these parts."""
    drawn = blake2b(b"\0".join(parts), digest_size=32).digest()
    return (
        (int.from_bytes(drawn[:8], "big") >> 11) * _TO_UNIT,
        (int.from_bytes(drawn[8:16], "big") >> 11) * _TO_UNIT,
        (int.from_bytes(drawn[16:24], "big") >> 11) * _TO_UNIT,
        (int.from_bytes(drawn[24:], "big") >> 11) * _TO_UNIT,
    )


def normal(first: float, second: float) -> float:
    """Returns a standard normal number from two uniform ones (Box and Muller 1958)."""
    return math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
