"""Compares two load tests level by level: ratios with intervals, after a check that both did the same work.

The figures of a level are those that the run itself showed. Interval: 95 %, from the spread of units, by the
delta method on logarithms, with Welch's degrees of freedom (Welch 1947, Biometrika 34:28). The units are the
repeats of a level if both runs have three or more; else tenths of each window (batch means: Schmeiser 1982,
Operations Research 30:556), which hold for these runs alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Literal

from scipy.special import stdtrit

from harness.loadtest.levels import CONFIDENCE, MEASURES
from harness.loadtest.load_profile import Loop
from harness.loadtest.metrics import LoadMetrics, MeasuredStage, Objective, metrics_of

BATCHES = 10
REPEATS_MIN = 3
LENGTHS_LIKE = 0.05  # relative difference of mean lengths that is still the same work
CACHE_LIKE = 0.1  # difference of the cached shares
SETTINGS = ("sessions", "think_s", "ignore_eos", "unique_prefix", "shared_prefix")  # of the traffic

Word = Literal["higher", "lower", "no difference shown"]
Unit = Literal["repeats", "batches"]

COMPARED = ("requests_per_s", "output_tokens_per_s", "ttft_s_mean", "tpot_s_mean", "e2e_s_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchedMethod:
    """One method of a stored run.

    name     of the run: store, number, label
    facts    profile_json of its row
    stages   those with figures, as they were played"""

    name: str
    method: str
    facts: Mapping[str, object]
    stages: Sequence[MeasuredStage]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRatio:
    """A measure in both runs, and b / a.

    low, high   None for fewer than two units
    word        of b; None if the work differs"""

    a: float
    b: float
    ratio: float
    low: float | None
    high: float | None
    word: Word | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelComparison:
    """One level of both runs.

    differences  sentences about work that differs; empty: the same work"""

    loop: Loop
    level: float
    unit: Unit
    units: tuple[int, int]
    differences: tuple[str, ...]
    measures: Mapping[str, MeasureRatio]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two methods of runs.

    differences  of the settings of both runs
    unpaired     levels that only one run has figures of"""

    a: str
    b: str
    method_a: str
    method_b: str
    differences: tuple[str, ...]
    levels: tuple[LevelComparison, ...]
    unpaired: tuple[str, ...]


def compare_methods(a: BenchedMethod, b: BenchedMethod) -> RunComparison:
    """Compares the levels that both have."""
    settings = tuple(_setting_differences(a.facts, b.facts))
    of_a, of_b = _by_level(a.stages), _by_level(b.stages)
    both = [level for level in of_a if level in of_b]
    alone = [level for level in (*of_a, *of_b) if level not in both]
    return RunComparison(
        a=a.name,
        b=b.name,
        method_a=a.method,
        method_b=b.method,
        differences=settings,
        levels=tuple(_compare_level(level, of_a[level], of_b[level], settings) for level in both),
        unpaired=tuple(f"{loop} {level:g}" for loop, level in alone),
    )


def _by_level(stages: Sequence[MeasuredStage]) -> dict[tuple[Loop, float], list[MeasuredStage]]:
    levels: dict[tuple[Loop, float], list[MeasuredStage]] = {}
    for one in stages:
        levels.setdefault((one.load.stage.loop, one.load.stage.level), []).append(one)
    return levels


def _setting_differences(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """Returns a sentence for each setting that changes the work."""
    found = []
    for part, names in (("traffic", SETTINGS), ("profile", ("arrivals", "burstiness")), ("", ("stream",))):
        of_a, of_b = (a.get(part), b.get(part)) if part else (a, b)
        assert isinstance(of_a, Mapping)
        assert isinstance(of_b, Mapping)
        found += [
            f"{name} was {of_a.get(name)} and is {of_b.get(name)}"
            for name in names
            if of_a.get(name) != of_b.get(name)
        ]
    return found


def _compare_level(
    level: tuple[Loop, float], a: Sequence[MeasuredStage], b: Sequence[MeasuredStage], settings: Sequence[str]
) -> LevelComparison:
    of_a, of_b = metrics_of(a, Objective()), metrics_of(b, Objective())
    differences = [*settings, *(_work_differences(of_a, of_b) if of_a and of_b else ())]
    unit: Unit = "repeats" if min(len(a), len(b)) >= REPEATS_MIN else "batches"
    units_a, units_b = _units(a, unit), _units(b, unit)
    ratios = {
        name: _ratio(one, other, _values(units_a, MEASURES[name]), _values(units_b, MEASURES[name]))
        for name in COMPARED
        if (one := _positive(of_a, MEASURES[name])) is not None
        and (other := _positive(of_b, MEASURES[name])) is not None
    }
    if differences:
        ratios = {name: replace(ratio, word=None) for name, ratio in ratios.items()}
    return LevelComparison(
        loop=level[0],
        level=level[1],
        unit=unit,
        units=(len(units_a), len(units_b)),
        differences=tuple(differences),
        measures=ratios,
    )


def _work_differences(a: LoadMetrics, b: LoadMetrics) -> list[str]:
    found = []
    for words, one, other in (
        ("prompts", a.prompt_tokens.mean, b.prompt_tokens.mean),
        ("replies", a.completion_tokens.mean, b.completion_tokens.mean),
    ):
        if (one is None) != (other is None):
            found.append(f"only one server counts the tokens of {words}")
        elif one and other and abs(log(other / one)) > log(1 + LENGTHS_LIKE):
            found.append(f"{words} had {one:.0f} tokens on average and have {other:.0f}")
    if abs((a.cached_share or 0.0) - (b.cached_share or 0.0)) > CACHE_LIKE:
        found.append(
            f"{100 * (a.cached_share or 0):.0f} % of the prompt tokens were cached and {100 * (b.cached_share or 0):.0f} % are"
        )
    return found


def _units(stages: Sequence[MeasuredStage], unit: Unit) -> list[LoadMetrics]:
    """Returns the figures of each repeat, or of each batch of requests."""
    parts = stages if unit == "repeats" else [part for one in stages for part in _batches(one)]
    return [found for one in parts if (found := metrics_of([one], Objective())) is not None]


def _batches(measured: MeasuredStage) -> list[MeasuredStage]:
    """Returns the stage with windows of a tenth each."""
    window = measured.window
    step = window.seconds / BATCHES
    return [
        replace(
            measured,
            window=replace(window, from_s=window.from_s + n * step, to_s=window.from_s + (n + 1) * step),
        )
        for n in range(BATCHES)
    ]


def _values(units: Sequence[LoadMetrics], measure: Callable[[LoadMetrics], float | None]) -> list[float]:
    return [value for one in units if (value := _positive(one, measure)) is not None]


def _positive(metrics: LoadMetrics | None, measure: Callable[[LoadMetrics], float | None]) -> float | None:
    """Returns the measure; None if there is none, or if it is 0 and so has no ratio."""
    value = measure(metrics) if metrics is not None else None
    return value if value is not None and value > 0 else None


def _ratio(a: float, b: float, units_a: Sequence[float], units_b: Sequence[float]) -> MeasureRatio:
    """Returns b / a, the figures of the level as `bench` shows them, with its interval.

    units_a, units_b   the values of the units, from whose spread the interval comes"""
    ratio = b / a
    if min(len(units_a), len(units_b)) < 2:
        return MeasureRatio(a=a, b=b, ratio=ratio, low=None, high=None, word="no difference shown")
    parts = [_relative_variance(values) for values in (units_a, units_b)]
    total = sum(parts)
    below = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (units_a, units_b), strict=True))
    reach = float(stdtrit(total**2 / below, (1 + CONFIDENCE) / 2)) * total**0.5 if total > 0 else 0.0
    low, high = ratio * exp(-reach), ratio * exp(reach)
    word: Word = "higher" if low > 1 else "lower" if high < 1 else "no difference shown"
    return MeasureRatio(a=a, b=b, ratio=ratio, low=low, high=high, word=word)


def _relative_variance(values: Sequence[float]) -> float:
    """Returns the variance of the mean, over the mean squared."""
    n, mean = len(values), sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (n - 1) / n / mean**2
