"""The shares of each access method's wall time for a terminal, and the largest in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from harness.analysis.time_shares import TimeShares
from harness.report.table import table

AT_LIMIT = 0.5  # of the provider's part, from which on a higher `concurrency` would shorten it most
TAIL = 0.5  # of the idle part, from which on the end of the run explains it
_WORDS = {
    "provider": "it waited for replies, with as many calls in flight as its gate allowed",
    "quota": "it waited for its quota; only higher limits of the account would make it faster",
    "backing_off": "it paused after errors and rate limits",
    "own_cpu": "it waited for lightbulb's own CPU, which handled replies more slowly than they came",
    "starved": "it had fewer calls to send than its gate allowed, for example because only a few long episodes were left",
}


def print_times(times: Sequence[TimeShares], console: Console) -> None:
    """Prints a line for each access method, then what it mostly waited for."""
    columns = ("method", "wall s", "provider", "quota", "pauses after errors", "own CPU", "idle")
    rows = [
        (method.method, f"{method.seconds:.1f}", *(f"{getattr(method, name):.1%}" for name in _WORDS))
        for method in times
    ]
    console.print(table(columns, rows))
    for method in times:
        console.print(
            f"{method.method}: most of the time, {_cause(method)}.", highlight=False, soft_wrap=True
        )


def _cause(method: TimeShares) -> str:
    """Returns the largest part in words, with what is known of its cause."""
    part = max(_WORDS, key=partial(getattr, method))
    if part == "provider" and method.at_limit > AT_LIMIT * method.provider:
        return "calls waited because of your limit: as many were in flight as `concurrency` allows"
    if part == "starved" and method.tail_s > TAIL * method.starved * method.seconds:
        calls = "call" if method.tail_calls == 1 else f"{method.tail_calls} calls"
        return f"{_WORDS[part]}; the last {calls} took {method.tail_s:.0f} s"
    return _WORDS[part]
