"""Chooses levels of load: finds the knee of a closed loop, or the highest level that passes a test.

Each search is a generator: it yields a level, is sent what was measured there, and returns its finding. Pure.
Keeps: a knee is named only if a level well beyond it was measured and gives hardly more throughput."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

KNEE_SHARE = 0.9  # of the best throughput
BEYOND = 1.4  # a level beyond the knee is at least so many times the knee
STEP = 2.0  # from level to level, until the end is met
FINE = 1.15  # two levels of a closed or open loop that differ by less are neighbours
GAIN_MIN = 1.1  # a step that gives less has met the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The end of the growth of throughput in a closed loop.

    level      the lowest level with nine tenths of the best throughput; None: not reached
    best_per_s the best throughput that was measured
    rising_at  the highest level that was measured, if throughput still rises there"""

    level: float | None
    best_per_s: float
    rising_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Highest:
    """The highest level that passes.

    level     None: not even the lowest one passed
    failed_at the lowest level that does not pass; None: all levels up to the bound pass"""

    level: float | None
    failed_at: float | None


def knee_of(rates: Sequence[tuple[float, float]]) -> Knee | None:
    """Returns the knee of these (level, requests a second); None for fewer than two levels."""
    known = sorted(rates)
    if len(known) < 2:
        return None
    best = max(rate for _, rate in known)
    knee = next(level for level, rate in known if rate >= KNEE_SHARE * best)
    if known[-1][0] < BEYOND * knee:
        return Knee(level=None, best_per_s=best, rising_at=known[-1][0])
    return Knee(level=knee, best_per_s=best, rising_at=None)


def search_knee(*, start: float, most: float) -> Generator[float, float | None, Knee | None]:
    """Doubles the calls in flight until the throughput hardly grows, then looks between the levels around the
    knee.

    start, most   the first level, and the bound of all
    sent          requests a second at the level; None if it has no figures, which ends the doubling
    returns       None if too few levels have figures"""
    rates: dict[float, float] = {}
    level = start
    while level <= most:
        rate = yield level
        if rate is None:
            break
        rates[level] = rate
        if level > start and rate < GAIN_MIN * rates[level / STEP]:
            break
        level *= STEP
    while (knee := knee_of(list(rates.items()))) is not None and knee.level is not None:
        lower = [one for one in rates if one < knee.level]
        between = _between(max(lower), knee.level, whole=True) if lower else None
        if between is None:
            break
        rate = yield between
        if rate is None:
            break
        rates[between] = rate
    return knee


def search_highest(*, start: float, most: float, whole: bool) -> Generator[float, bool | None, Highest]:
    """Doubles the level until one does not pass, then halves the ratio between the highest that passes and
    the lowest that does not. If the first does not pass, it goes down instead.

    whole   levels are whole numbers
    sent    whether the level passes; None, for a level without figures, counts as not passed"""
    passed: float | None = None
    failed: float | None = None
    level, least = start, (1.0 if whole else start / STEP**10)
    while failed is None and level <= most:
        if (yield level):
            passed, level = level, level * STEP
        else:
            failed = level
    while passed is None and failed is not None and failed > least:
        level = max(least, float(int(failed / STEP)) if whole else failed / STEP)
        if (yield level):
            passed = level
        else:
            failed = level
    while passed is not None and failed is not None:
        between = _between(passed, failed, whole=whole)
        if between is None:
            break
        if (yield between):
            passed = between
        else:
            failed = between
    return Highest(level=passed, failed_at=failed)


def _between(low: float, high: float, *, whole: bool) -> float | None:
    """Returns the geometric mean of two levels; None if they are neighbours."""
    if high <= FINE * low or (whole and high - low < 2):
        return None
    middle = (low * high) ** 0.5
    return min(max(float(round(middle)), low + 1), high - 1) if whole else float(f"{middle:.3g}")
