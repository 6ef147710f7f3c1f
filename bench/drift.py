"""Drift on simulated services whose days vary: days to a false alarm, and whether a swap is seen on its first
day.

    python -m bench.drift [--runs 200] [--days 1500]

A panel of 30 asks. A day's distribution differs from the usual one by so much total variation on average, in
a direction of its own; on weekends in one direction. A model of data, not data."""

from __future__ import annotations

import argparse
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolType

import numpy as np

from bench.simulated_days import SimulatedRun, alarm_days, false_alarm_cells, first_alarm
from harness.audit.replies.drift import judge_days
from tests.harness.audit.services import Service

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


def _runs(service: Service, days: int, stream: str, runs: int) -> list[SimulatedRun]:
    return [
        SimulatedRun(
            service=service, days=days, judge=judge_days, bench="drift", stream=stream, number=number
        )
        for number in range(runs)
    ]


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
            stream = f"swap {replies} {asks} {unchanged}"
            found = pool.map(alarm_days, _runs(service, BASELINE + 7, stream, runs))
            seen = (
                np.mean([BASELINE in days for days in found]),
                np.mean([any(day >= BASELINE for day in days) for days in found]),
                np.mean([any(day < BASELINE for day in days) for days in found]),
            )
            cells = " | ".join(f"{share:.3f}" for share in seen)
            print(f"| {replies} | {asks} | {100 * (1 - unchanged):.0f} % | {cells} |", flush=True)


def false_alarm_table(runs: int, days: int, pool: PoolType) -> None:
    """Prints how many days pass until a false alarm. See false_alarm_cells."""
    print(f"\n### No change ({runs} runs a row of {days} days; total variation .05 a day)\n")
    print(
        "| replies | days vary | on weekends | days to the first, at least | at a constant rate "
        "| runs with one in 30 days, ever |"
    )
    print("|---|---|---|---|---|---|")
    for shape, services in QUIET.items():
        for service in services:
            stream = f"none {service.replies} {service.weekend_variation} {shape}"
            found = pool.map(first_alarm, _runs(service, days, stream, runs), chunksize=1)
            cells = (
                str(service.replies),
                shape,
                f"{service.weekend_variation:g}",
                *false_alarm_cells(found, days),
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
