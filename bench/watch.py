"""The watch of first tokens on simulated services whose days vary: days to a false alarm, and days until a
change is seen.

    python -m bench.watch [--runs 100] [--days 1500]

A panel of 40 prompts with five one-token calls a day each. A day's distribution of first tokens differs from
the usual one by so much total variation on average; on weekends in one direction. A model of data, not
data."""

from __future__ import annotations

import argparse
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolType

import numpy as np

from harness.audit.replies.drift import DAYS_MEAN
from harness.audit.replies.token_days import judge_token_days
from harness.core.seeds import derive_seed
from tests.harness.audit.services import Service, panel_of

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
    parser.add_argument("--days", type=int, default=1500, help="days of a run without a change")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with Pool(options.processes) as pool:
        change_table(options.runs, pool)
        false_alarm_table(options.runs, options.days, pool)


def _alarm_days(job: tuple[Service, int, str, int]) -> list[int]:
    """Returns the days of alarms, from 0, of one run of so many days."""
    service, days, stream, run = job
    rng = np.random.default_rng(derive_seed(1, "watch", stream, run))
    panel, weekend = panel_of(service, days, rng, first_weekday=run % 7)
    found = judge_token_days(panel, weekend, [""] * days, DAYS_MEAN)
    return [place for place, day in enumerate(found) if day.alarm]


def _first_alarm(job: tuple[Service, int, str, int]) -> int | None:
    """Returns the day of the first alarm of one run, from 1; only as many days are compared as it takes."""
    service, days, stream, run = job
    rng = np.random.default_rng(derive_seed(1, "watch", stream, run))
    panel, weekend = panel_of(service, days, rng, first_weekday=run % 7)
    for length in (days // 9, days // 3, days):
        first = panel.of_days(np.arange(days) < length)
        for number, day in enumerate(judge_token_days(first, weekend[:length], [""] * length, DAYS_MEAN), 1):
            if day.alarm:
                return number
    return None


def change_table(runs: int, pool: PoolType) -> None:
    """Prints on which day after a change it is seen, by the share of answers that another model gives."""
    print(f"\n### A change on day 15 ({runs} runs a row; total variation .05 a day, .10 on weekends)\n")
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
        jobs = [(service, BASELINE + AFTER, f"{name}", run) for run in range(runs)]
        found = pool.map(_alarm_days, jobs)
        within = [
            np.mean([any(BASELINE <= day < BASELINE + days for day in alarms) for alarms in found])
            for days in (1, 2, AFTER)
        ]
        early = np.mean([any(day < BASELINE for day in alarms) for alarms in found])
        print(f"| {name} | {' | '.join(f'{part:.2f}' for part in (*within, early))} |", flush=True)


def false_alarm_table(runs: int, days: int, pool: PoolType) -> None:
    """Prints the mean days to the first false alarm, where a run without one counts as its length, so that
    this mean is a lower bound."""
    print(f"\n### No change ({runs} runs a row of {days} days)\n")
    print("| days vary | days to the first, at least | at a constant rate | runs with one in 30 days, ever |")
    print("|---|---|---|---|")
    for shape, service in QUIET.items():
        jobs = [(service, days, f"none {shape}", run) for run in range(runs)]
        found = pool.map(_first_alarm, jobs, chunksize=1)
        first = np.array([day or days for day in found])
        alarmed = sum(day is not None for day in found)
        print(
            f"| {shape} | {first.mean():,.0f} | {first.sum() / max(alarmed, 1):,.0f} "
            f"| {(first <= 30).sum()}, {alarmed} of {runs} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
