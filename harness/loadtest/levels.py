"""Joins the repeats of each level: figures of all their requests together, and intervals over the repeats.

Interval: mean of the repeats' values and Student's t on repeats - 1 degrees of freedom, 95 %. It holds for
the spread between repeats of this run; days differ more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from scipy.special import stdtrit

from harness.loadtest.load_profile import Loop
from harness.loadtest.metrics import LoadMetrics, MeasuredStage, Objective, StageResult, metrics_of

CONFIDENCE = 0.95

MEASURES: dict[str, Callable[[LoadMetrics], float | None]] = {
    "requests_per_s": lambda one: one.requests_per_s,
    "output_tokens_per_s": lambda one: one.output_tokens_per_s,
    "goodput_per_s": lambda one: one.goodput_per_s,
    "ttft_s_mean": lambda one: one.ttft_s.mean,
    "ttft_s_p50": lambda one: one.ttft_s.p50,
    "tpot_s_mean": lambda one: one.tpot_s.mean,
    "tpot_s_p50": lambda one: one.tpot_s.p50,
    "e2e_s_mean": lambda one: one.e2e_s.mean,
    "e2e_s_p50": lambda one: one.e2e_s.p50,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatInterval:
    """A measure over n repeats. low, high: None for fewer than two."""

    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelResult:
    """One level of load.

    repeats    stages with figures;  refused   stages without
    saturated  an open loop in which requests piled up in most repeats; None for a closed loop
    figures    of all repeats together; None if no repeat has any
    intervals  measure -> its interval over the repeats"""

    loop: Loop
    level: float
    repeats: int
    refused: int
    saturated: bool | None
    figures: LoadMetrics | None
    intervals: dict[str, RepeatInterval]


def join_level(stages: Sequence[tuple[MeasuredStage, StageResult]], objective: Objective) -> LevelResult:
    """Returns the level that these stages are repeats of; at least one."""
    good = [(measured, result) for measured, result in stages if result.figures is not None]
    first = stages[0][1].stage
    piled = [result.saturation.saturated for _, result in stages if result.saturation is not None]
    return LevelResult(
        loop=first.loop,
        level=first.level,
        repeats=len(good),
        refused=len(stages) - len(good),
        saturated=2 * sum(piled) > len(piled) if piled else None,
        figures=metrics_of([measured for measured, _ in good], objective) if good else None,
        intervals=_intervals([result.figures for _, result in good if result.figures is not None]),
    )


def _intervals(figures: Sequence[LoadMetrics]) -> dict[str, RepeatInterval]:
    intervals = {}
    for name, measure in MEASURES.items():
        values = [value for one in figures if (value := measure(one)) is not None]
        if values and len(values) == len(figures):
            intervals[name] = interval_of(values)
    return intervals


def interval_of(values: Sequence[float]) -> RepeatInterval:
    """Returns the mean of the values with its t interval."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return RepeatInterval(n=n, mean=mean, low=None, high=None)
    se = sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
    reach = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * se
    return RepeatInterval(n=n, mean=mean, low=mean - reach, high=mean + reach)
