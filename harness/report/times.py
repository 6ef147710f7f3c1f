"""What each access method's wall time went to, for a terminal: the shares, and the largest in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from harness.analysis.store_audit import TimeShares
from harness.report.table import table

_WORDS = {
    "provider": "provider latency: it answers no faster with the calls it is given at once",
    "quota": "waiting for quota: it would take more only if the account's limits were higher",
    "backing_off": "backing off: its errors and rate limits made us pause",
    "own_cpu": "our own CPU: this process could not keep up with the answers",
    "starved": "starved: there were not enough ready turns to fill its places",
}


def print_times(times: Sequence[TimeShares], console: Console) -> None:
    """A line for each access method, then what it chiefly waited for."""
    columns = ("method", "wall s", "provider", "quota", "backing off", "own CPU", "starved")
    rows = [
        (one.method, f"{one.seconds:.1f}", *(f"{getattr(one, name):.1%}" for name in _WORDS)) for one in times
    ]
    console.print(table(columns, rows))
    for one in times:
        console.print(
            f"{one.method}: mostly {_WORDS[max(_WORDS, key=partial(getattr, one))]}.",
            highlight=False,
            soft_wrap=True,
        )
