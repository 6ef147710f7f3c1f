"""The watch of first tokens on simulated services whose days vary: days to a false alarm, and days until a
change is seen.

    python -m bench.watch [--runs 100] [--first-run 0] [--days 1500] [--only exponential]

A panel of 40 prompts with five one-token calls a day each. A day's distribution of first tokens differs from
the usual one by so much total variation on average; on weekends in one direction. A model of data, not
data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolType

import numpy as np

from bench.simulated_days import SimulatedRun, alarm_days, false_alarm_cells, first_alarm
from harness.audit.replies.token_days import judge_token_days
from tests.harness.audit.services import Service

BASELINE = 14
AFTER = 14  # days after a change within which it can be seen
PROMPTS, REPEATS = 40, 5
QUIET = {
    "half-normal, .05": Service(asks=PROMPTS, replies=REPEATS, weekend_variation=0.05),
    "half-normal, .05, weekends .10": Service(asks=PROMPTS, replies=REPEATS, weekend_variation=0.10),
    "half-normal, .10, weekends .20": Service(
        asks=PROMPTS, replies=REPEATS, variation=0.10, weekend_variation=0.20
    ),
    "exponential, .05, weekends .10": Service(
        asks=PROMPTS, replies=REPEATS, weekend_variation=0.10, long_tail=True
    ),
}
CHANGED = {
    "another model": 1.0,
    "20 % routed elsewhere": 0.2,
    "50 % routed elsewhere": 0.5,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="simulated services a row")
    parser.add_argument("--first-run", type=int, default=0, help="number of the first one: runs in parts")
    parser.add_argument("--days", type=int, default=1500, help="days of a run without a change")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", help="only the rows without a change whose name contains this")
    options = parser.parse_args()
    numbers = range(options.first_run, options.first_run + options.runs)
    with Pool(options.processes) as pool:
        if options.only is None:
            change_table(numbers, pool)
        false_alarm_table(numbers, options.days, pool, options.only or "")


def _runs(service: Service, days: int, stream: str, numbers: Sequence[int]) -> list[SimulatedRun]:
    return [
        SimulatedRun(
            service=service, days=days, judge=judge_token_days, bench="watch", stream=stream, number=number
        )
        for number in numbers
    ]


def change_table(numbers: Sequence[int], pool: PoolType) -> None:
    """Prints on which day after a change it is seen, by the share of answers that another model gives."""
    print(
        f"\n### A change on day 15 ({len(numbers)} runs a row; total variation .05 a day, .10 on weekends)\n"
    )
    print("| change | on its first day | within 2 days | within 14 days | false alarm before |")
    print("|---|---|---|---|---|")
    for name, share in CHANGED.items():
        service = Service(
            asks=PROMPTS,
            replies=REPEATS,
            weekend_variation=0.10,
            swapped_on=BASELINE,
            swapped_share=share,
        )
        found = pool.map(alarm_days, _runs(service, BASELINE + AFTER, name, numbers))
        within = [
            np.mean([any(BASELINE <= day < BASELINE + days for day in alarms) for alarms in found])
            for days in (1, 2, AFTER)
        ]
        early = np.mean([any(day < BASELINE for day in alarms) for alarms in found])
        print(f"| {name} | {' | '.join(f'{part:.2f}' for part in (*within, early))} |", flush=True)


def false_alarm_table(numbers: Sequence[int], days: int, pool: PoolType, only: str) -> None:
    """Prints how many days pass until a false alarm, for the rows with `only` in their name. See
    false_alarm_cells."""
    print(f"\n### No change ({len(numbers)} runs a row of {days} days)\n")
    print("| days vary | days to the first, at least | at a constant rate | runs with one in 30 days, ever |")
    print("|---|---|---|---|")
    for shape, service in QUIET.items():
        if only not in shape:
            continue
        found = pool.map(first_alarm, _runs(service, days, f"none {shape}", numbers), chunksize=1)
        print(f"| {shape} | {' | '.join(false_alarm_cells(found, days))} |", flush=True)


if __name__ == "__main__":
    main()
