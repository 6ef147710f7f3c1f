"""Score against the number of parameters: one straight line over models, and how little it may say.

Knows one point a model, however many ways it was reached: access methods of one model are no independent evidence.
Does not promise: a cause; with few models the interval says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
from scipy import stats

MODELS_MIN = 3  # two points make a line through anything


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePoint:
    """One model: parameters, and the mean clemscore over its access methods."""

    model: str
    parameters: float
    clemscore: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFit:
    """Clemscore = intercept + slope * log10(parameters) by least squares.

    low, high   1 - alpha interval of the slope, Student's; None with too few models to have one"""

    points: tuple[SizePoint, ...]
    slope: float
    intercept: float
    r2: float
    low: float | None
    high: float | None


def size_fit(points: Sequence[SizePoint], alpha: float) -> SizeFit | None:
    """The line through these models; None with fewer than three, or all of one size."""
    x = np.array([log10(one.parameters) for one in points])
    y = np.array([one.clemscore for one in points])
    if len(points) < MODELS_MIN or np.ptp(x) == 0:
        return None
    line = stats.linregress(x, y)
    reach = float(stats.t.ppf(1 - alpha / 2, len(points) - 2) * line.stderr)
    return SizeFit(
        points=tuple(points),
        slope=float(line.slope),
        intercept=float(line.intercept),
        r2=float(line.rvalue**2),
        low=float(line.slope) - reach if np.isfinite(reach) else None,
        high=float(line.slope) + reach if np.isfinite(reach) else None,
    )
