"""Drift on simulated services whose days vary: days to a false alarm, and whether a swap is seen on its first
day.

    python -m bench.drift [--runs 200] [--days 1500]

A panel of 30 asks. A day's distribution differs from the usual one by so much total variation on average, in
a direction of its own; on weekends in one direction. A model of data, not data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolType

import numpy as np

from harness.audit.replies.drift import DAYS_MEAN, judge_days
from harness.core.seeds import derive_seed
from tests.harness.audit.services import Service, panel_of

BASELINE = 14
SWAPS = ((10, 30), (3, 30), (1, 30), (1, 60))  # replies a prompt, asks
QUIET = {
    "half-normal": [
        Service(replies=2, weekend_variation=0.05),
        Service(replies=2, weekend_variation=0.20),
        Service(replies=1, weekend_variation=0.10),
        Service(replies=10, weekend_variation=0.10),
    ],
    "exponential": [
        Service(replies=2, weekend_variation=0.05, long_tail=True),
        Service(replies=10, weekend_variation=0.10, long_tail=True),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="simulated services a row")
    parser.add_argument("--days", type=int, default=1500, help="days of a run without a change")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with Pool(options.processes) as pool:
        swap_table(options.runs, pool)
        false_alarm_table(options.runs, options.days, pool)


def _alarms(job: tuple[Service, int, str, int]) -> list[int]:
    """Returns the days of alarms, from 0, of one run of so many days."""
    service, days, stream, run = job
    rng = np.random.default_rng(derive_seed(1, "drift", stream, run))
    panel, weekend = panel_of(service, days, rng, first_weekday=run % 7)
    found = judge_days(panel, weekend, [""] * days, DAYS_MEAN)
    return [place for place, day in enumerate(found) if day.alarm]


def _first_alarm(job: tuple[Service, int, str, int]) -> int | None:
    """Returns the day of the first alarm of one run, from 1; only as many days are compared as it takes."""
    service, days, stream, run = job
    rng = np.random.default_rng(derive_seed(1, "drift", stream, run))
    panel, weekend = panel_of(service, days, rng, first_weekday=run % 7)
    for length in (days // 9, days // 3, days):
        first = panel.of_days(np.arange(days) < length)
        for number, day in enumerate(judge_days(first, weekend[:length], [""] * length, DAYS_MEAN), 1):
            if day.alarm:
                return number
    return None


def swap_table(runs: int, pool: PoolType) -> None:
    """Prints the share of swaps that are announced on their first day, by replies a prompt."""
    print(f"\n### A swap on day 15 ({runs} runs a row; total variation .05 a day, .10 on weekends)\n")
    print(
        "| replies a prompt | asks | asks that change | seen on its first day | within 7 days "
        "| false alarm before |"
    )
    print("|---|---|---|---|---|---|")
    for replies, asks in SWAPS:
        for unchanged in (0.0, 0.5):
            service = Service(
                asks=asks,
                replies=replies,
                weekend_variation=0.10,
                swapped_on=BASELINE,
                repeat_share=unchanged,
            )
            jobs = [(service, BASELINE + 7, f"swap {replies} {asks} {unchanged}", run) for run in range(runs)]
            found = pool.map(_alarms, jobs)
            seen = (
                np.mean([BASELINE in days for days in found]),
                np.mean([any(day >= BASELINE for day in days) for days in found]),
                np.mean([any(day < BASELINE for day in days) for days in found]),
            )
            cells = " | ".join(f"{share:.3f}" for share in seen)
            print(f"| {replies} | {asks} | {100 * (1 - unchanged):.0f} % | {cells} |", flush=True)


def false_alarm_table(runs: int, days: int, pool: PoolType) -> None:
    """Prints the mean days to the first false alarm, where a run without one counts as its length, so that
    this mean is a lower bound; and its estimate if alarms came at a constant rate: all days before an alarm
    or the end, over the alarms."""
    print(f"\n### No change ({runs} runs a row of {days} days; total variation .05 a day)\n")
    print(
        "| replies | days vary | on weekends | days to the first, at least | at a constant rate "
        "| runs with one in 30 days, ever |"
    )
    print("|---|---|---|---|---|---|")
    for shape, services in QUIET.items():
        for service in services:
            stream = f"none {service.replies} {service.weekend_variation} {shape}"
            jobs = [(service, days, stream, run) for run in range(runs)]
            found = pool.map(_first_alarm, jobs, chunksize=1)
            print(f"| {' | '.join(_quiet_cells(service, shape, days, found))} |", flush=True)


def _quiet_cells(service: Service, shape: str, days: int, found: Sequence[int | None]) -> Sequence[str]:
    first = np.array([day or days for day in found])
    alarmed = sum(day is not None for day in found)
    return (
        str(service.replies),
        shape,
        f"{service.weekend_variation:g}",
        f"{first.mean():,.0f}",
        f"{first.sum() / max(alarmed, 1):,.0f}",
        f"{(first <= 30).sum()}, {alarmed} of {len(found)}",
    )


if __name__ == "__main__":
    main()
