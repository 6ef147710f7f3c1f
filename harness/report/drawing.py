"""Positions of bars, bands and ticks in a box of 100 by 100. Templates draw them; labels are text outside the
box, so that a figure fits a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

HEAT_STEPS = (1.0, 3.0, 8.0, 20.0)  # points at which a cell takes the next colour; 3 is the default margin


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear map from values to 0..100."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, also: Sequence[float] = ()) -> Axis:
        """Returns an axis that holds all these values, with 4 % of room at each end."""
        known = [*values, *also]
        low, high = min(known), max(known)
        room = (high - low) * 0.04 or 1.0
        return cls(low - room, high + room)

    def at(self, value: float) -> float:
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    def width(self, low: float, high: float) -> float:
        return round(self.at(high) - self.at(low), 2)


@dataclass(frozen=True, slots=True)
class Bar:
    """One column of a histogram, its foot at 100."""

    x: float
    y: float
    width: float
    height: float


def histogram(bins: Sequence[tuple[float, int]], axis: Axis, bins_a_decade: int) -> tuple[Bar, ...]:
    """Returns columns over a logarithmic axis, the highest 96 high.

    bins   (lower edge, count) of each"""
    if not bins:
        return ()
    highest = max(count for _, count in bins)
    bars = []
    for edge, count in bins:
        left, right = log10(edge), log10(edge) + 1 / bins_a_decade
        height = round(96 * count / highest, 2)
        bars.append(
            Bar(x=axis.at(left), y=round(100 - height, 2), width=axis.width(left, right), height=height)
        )
    return tuple(bars)


def decades(axis: Axis) -> list[int]:
    """Returns the powers of ten on a logarithmic axis."""
    return list(range(ceil(axis.low), floor(axis.high) + 1))


def heat_class(difference: float) -> str:
    """Returns the CSS class of a heat map's cell: `less-2`, `more-4`, or `same`."""
    step = sum(abs(difference) >= one for one in HEAT_STEPS)
    return f"{'less' if difference < 0 else 'more'}-{step}" if step else "same"
