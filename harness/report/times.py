"""The shares of each access method's wall time for a terminal, and the largest in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from harness.analysis.time_shares import TimeShares
from harness.report.table import table

_WORDS = {
    "provider": "provider latency: limited by response time at your concurrency",
    "quota": "waiting for quota: only higher limits of the account would make it faster",
    "backing_off": "backing off: pauses after its errors and rate limits",
    "own_cpu": "our own CPU: this process was slower than the answers",
    "starved": "idle: no more turns to send (a few long episodes left)",
}


def print_times(times: Sequence[TimeShares], console: Console) -> None:
    """Prints a line for each access method, then what it mostly waited for."""
    columns = ("method", "wall s", "provider", "quota", "backing off", "own CPU", "idle")
    rows = [
        (method.method, f"{method.seconds:.1f}", *(f"{getattr(method, name):.1%}" for name in _WORDS))
        for method in times
    ]
    console.print(table(columns, rows))
    for method in times:
        console.print(
            f"{method.method}: mostly {_WORDS[max(_WORDS, key=partial(getattr, method))]}.",
            highlight=False,
            soft_wrap=True,
        )
