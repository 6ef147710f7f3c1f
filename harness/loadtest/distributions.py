"""Describes measured values: count, mean, spread, range and percentiles.

Keeps: a percentile q is given only from 10 / (1 - q) values or more, so that about ten values lie beyond
it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

BEYOND_MIN = 10  # values beyond a percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The description of n values. mean, sd, min, max: None for no values. p*: None for too few."""

    n: int
    mean: float | None = None
    sd: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


def describe(values: Sequence[float]) -> Distribution:
    """Returns the description of these values; sd has n - 1 in its denominator."""
    n = len(values)
    if not n:
        return Distribution(n=0)
    ranked = sorted(values)
    mean = sum(ranked) / n
    return Distribution(
        n=n,
        mean=mean,
        sd=sqrt(sum((value - mean) ** 2 for value in ranked) / (n - 1)) if n > 1 else None,
        min=ranked[0],
        max=ranked[-1],
        **{
            f"p{percent}": _of_ranked(ranked, percent / 100)
            for percent in (50, 90, 95, 99)
            if values_needed(percent) <= n
        },
    )


def values_needed(percent: int) -> int:
    """Returns how many values a percentile needs: 20, 100, 200, 1,000 for the 50th, 90th, 95th, 99th."""
    return -(-BEYOND_MIN * 100 // (100 - percent))


def quantile(values: Sequence[float], share: float) -> float:
    """Returns a quantile by linear interpolation between neighbours, from however few values there are.

    raises  ValueError for no values"""
    if not values:
        raise ValueError("no values have no quantile")
    return _of_ranked(sorted(values), share)


def _of_ranked(ranked: Sequence[float], share: float) -> float:
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)
