"""Simulated services whose days vary, and the days on which a comparison of days reports a change. A part of
bench.drift and bench.watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.audit.replies.day_variation import Panel
from harness.audit.replies.drift import DAYS_MEAN, DayFinding
from harness.audit.scores.arrays import BoolArray
from harness.core.seeds import derive_seed
from tests.harness.audit.services import Service, panel_of

JudgeDays = Callable[[Panel, BoolArray, Sequence[str], float], Sequence[DayFinding]]
"""(panel, weekend, labels, mean days to a false alarm) -> a finding for each day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """A run of so many days of one service.

    judge          compares its days
    bench, stream  name its random numbers, with its number;  number  also chooses its first weekday"""

    service: Service
    days: int
    judge: JudgeDays
    bench: str
    stream: str
    number: int

    def panel(self) -> tuple[Panel, BoolArray]:
        """Returns the answers of all days, and which days are Saturdays or Sundays."""
        rng = np.random.default_rng(derive_seed(1, self.bench, self.stream, self.number))
        return panel_of(self.service, self.days, rng, first_weekday=self.number % 7)


def alarm_days(run: SimulatedRun) -> list[int]:
    """Returns the days of alarms, from 0."""
    panel, weekend = run.panel()
    found = run.judge(panel, weekend, [""] * run.days, DAYS_MEAN)
    return [place for place, day in enumerate(found) if day.alarm]


def first_alarm(run: SimulatedRun) -> int | None:
    """Returns the day of the first alarm, from 1; only as many days are compared as it takes."""
    panel, weekend = run.panel()
    for length in (run.days // 9, run.days // 3, run.days):
        first = panel.of_days(np.arange(run.days) < length)
        for number, day in enumerate(run.judge(first, weekend[:length], [""] * length, DAYS_MEAN), 1):
            if day.alarm:
                return number
    return None


def false_alarm_cells(found: Sequence[int | None], days: int) -> tuple[str, str, str]:
    """Returns the cells of a row of runs without a change, each of so many days.

    They are the mean days to the first alarm, where a run without one counts as its length, so that this mean
    is a lower bound; its estimate if alarms came at a constant rate, which is all days before an alarm or the
    end, over the alarms; the runs with an alarm in 30 days, and with one at all."""
    first = np.array([day or days for day in found])
    alarmed = sum(day is not None for day in found)
    return (
        f"{first.mean():,.0f}",
        f"{first.sum() / max(alarmed, 1):,.0f}",
        f"{(first <= 30).sum()}, {alarmed} of {len(found)}",
    )
