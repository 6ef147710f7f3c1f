"""Draws the moments at which the units of an open loop are due.

Pure: chance comes in as an argument. The gaps of burstiness b are gamma-distributed with shape b and mean
1 / rate, as `vllm bench serve` draws them; b = 1 is a Poisson process. During a ramp the rate grows evenly
from 0: moments of unit rate are mapped through the inverse of the expected number of arrivals."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from random import Random

from harness.loadtest.load_profile import Stage


def arrival_moments(stage: Stage, chance: Random) -> Iterator[float]:
    """Yields seconds since the stage began, without end."""
    passed = 0.0
    while True:
        passed += _gap(stage, chance)
        yield _at_rate(passed, stage.level, stage.ramp_s)


def _gap(stage: Stage, chance: Random) -> float:
    """Returns a gap with mean 1."""
    if stage.arrivals == "constant":
        return 1.0
    shape = 1.0 if stage.arrivals == "poisson" else stage.burstiness
    return chance.gammavariate(shape, 1.0 / shape)


def _at_rate(arrivals: float, rate: float, ramp_s: float) -> float:
    """Returns when so many arrivals are expected: rate * t**2 / (2 * ramp_s) of them in the ramp, rate a
    second after it."""
    if arrivals < rate * ramp_s / 2:
        return sqrt(2 * ramp_s * arrivals / rate)
    return arrivals / rate + ramp_s / 2
