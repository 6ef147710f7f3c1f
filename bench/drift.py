"""Drift on simulated services whose days vary: days to a false alarm, and whether a swap is seen on its first
day.

    python -m bench.drift [--runs 200] [--days 1500]

A panel of 30 asks. A day's distribution differs from the usual one by so much total variation on average, in
a direction of its own; on weekends in one direction. A model of data, not data."""

from __future__ import annotations

import argparse
import time

import numpy as np

from harness.audit.replies.drift import drift
from harness.core.seeds import derive_seed
from tests.harness.audit.services import Service, days_of

BASELINE = 14


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="simulated services a row")
    parser.add_argument("--days", type=int, default=1500, help="days of a run without a change")
    options = parser.parse_args()
    swap_table(options.runs)
    false_alarm_table(options.runs, options.days)


def swap_table(runs: int) -> None:
    """Prints the share of swaps that are announced on their first day, by replies a prompt and by weekday."""
    print(f"\n### A swap on day 15 ({runs} runs a row; total variation .05 a day, .10 on weekends)\n")
    print(
        "| replies a prompt | asks | asks that change | seen on its first day | within 7 days "
        "| false alarm before |"
    )
    print("|---|---|---|---|---|---|")
    for replies, asks in ((10, 30), (3, 30), (1, 30), (1, 60)):
        for unchanged in (0.0, 0.5):
            first = week = early = 0
            for run in range(runs):
                rng = np.random.default_rng(
                    derive_seed(1, "drift", "swap", replies, int(10 * unchanged), run)
                )
                service = Service(
                    asks=asks,
                    replies=replies,
                    weekend_variation=0.10,
                    swapped_on=BASELINE,
                    repeat_share=unchanged,
                )
                alarms = [
                    day.alarm
                    for day in drift("m", days_of(service, BASELINE + 7, rng, first_weekday=run % 7)).days
                ]
                first += alarms[BASELINE]
                week += any(alarms[BASELINE:])
                early += any(alarms[:BASELINE])
            cells = " | ".join(f"{count / runs:.3f}" for count in (first, week, early))
            print(f"| {replies} | {asks} | {100 * (1 - unchanged):.0f} % | {cells} |", flush=True)


def false_alarm_table(runs: int, days: int) -> None:
    """Prints days a false alarm: all days over all alarms, as the baseline starts anew after each; and the
    mean days to the first one, where a run without one counts as its length, so that this mean is a lower
    bound."""
    print(f"\n### No change ({runs} runs a row of {days} days)\n")
    print(
        "| replies | variation | on weekends | days a false alarm | to the first, at least "
        "| runs with one | s a run |"
    )
    print("|---|---|---|---|---|---|---|")
    for replies, variation, weekend in ((2, 0.05, 0.05), (2, 0.05, 0.20), (1, 0.05, 0.10), (10, 0.05, 0.10)):
        began = time.perf_counter()
        first, alarmed, alarms = [], 0, 0
        for run in range(runs):
            rng = np.random.default_rng(derive_seed(1, "drift", "none", replies, int(100 * weekend), run))
            service = Service(replies=replies, variation=variation, weekend_variation=weekend)
            found = [day.alarm for day in drift("m", days_of(service, days, rng, first_weekday=run % 7)).days]
            alarmed += any(found)
            alarms += sum(found)
            first.append(found.index(True) + 1 if any(found) else days)
        cells = (
            f"{replies} | {variation:g} | {weekend:g} | {runs * days / max(alarms, 1):,.0f}",
            f"{np.mean(first):,.0f} | {alarmed} of {runs} | {(time.perf_counter() - began) / runs:.1f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
