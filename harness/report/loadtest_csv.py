"""The summary of a load test as CSV: a line for each level."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import fields
from io import StringIO

from harness.loadtest.distributions import Distribution
from harness.loadtest.ladder import MethodLoadTest
from harness.loadtest.levels import MEASURES, LevelResult
from harness.loadtest.metrics import LoadMetrics
from harness.report.loadtest import stages_of

COLUMNS = (
    *("run_id", "method", "loop", "level", "repeats", "refused", "saturated", "answered", "errors"),
    *("offered_per_s", "cpu_s_a_request", "lag_s"),
    *(
        f"{one.name}_{part.name}" if str(one.type) == "Distribution" else one.name
        for one in fields(LoadMetrics)
        if one.name != "by_turn"
        for part in (fields(Distribution) if str(one.type) == "Distribution" else (one,))
    ),
    *(f"{name}_{end}" for name in MEASURES for end in ("low", "high")),
)


def summary_csv(benches: Sequence[MethodLoadTest]) -> str:
    """Returns the table; what is not known is empty."""
    text = StringIO()
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    lines.writeheader()
    for one in benches:
        lines.writerows(_line(level, one) for level in one.levels)
    return text.getvalue()


def _line(level: LevelResult, one: MethodLoadTest) -> Mapping[str, object]:
    stages = stages_of(level, one)
    offered = [stage.saturation.offered_per_s for stage in stages if stage.saturation is not None]
    cpu = [stage.cpu_s_a_request for stage in stages if stage.cpu_s_a_request is not None]
    line: dict[str, object] = {
        "run_id": one.run_id,
        "method": one.method,
        "loop": level.loop,
        "level": level.level,
        "repeats": level.repeats,
        "refused": level.refused,
        "saturated": level.saturated,
        "answered": sum(stage.answered for stage in stages),
        "errors": sum(stage.errors for stage in stages),
        "offered_per_s": sum(offered) / len(offered) if offered else None,
        "cpu_s_a_request": sum(cpu) / len(cpu) if cpu else None,
        "lag_s": max(stage.lag_s for stage in stages),
    }
    for name, interval in level.intervals.items():
        line |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    if level.figures is None:
        return line
    for one_field in fields(LoadMetrics):
        value = getattr(level.figures, one_field.name)
        if isinstance(value, Distribution):
            line |= {f"{one_field.name}_{part.name}": getattr(value, part.name) for part in fields(value)}
        elif one_field.name != "by_turn":
            line[one_field.name] = value
    return line
