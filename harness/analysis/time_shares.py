"""Reads what each access method's wall time was spent on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import AuditError
from harness.store.file import open_to_read
from harness.store.reader import time_by_method


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeShares:
    """The shares of an access method's wall time, over all runs; the five from `provider` to `starved` sum to
    1.

    at_limit   share in which turns waited while as many calls were in flight as the sweep allows
    tail_s     seconds at the end with two turns or fewer; tail_calls were answered in them"""

    method: str
    seconds: float
    provider: float
    quota: float
    backing_off: float
    own_cpu: float
    starved: float
    at_limit: float
    tail_s: float
    tail_calls: int


def store_times(store: Path) -> tuple[TimeShares, ...]:
    """Returns the time shares of each access method, which show why it was slow.

    raises  AuditError if no call was timed: nothing was played, or only results were imported"""
    with open_to_read(store) as connection:
        times = time_by_method(connection)
    if not times:
        raise AuditError(
            f"{store}: no call in this store has a time: nothing was played yet, or everything was imported"
        )
    return tuple(
        TimeShares(
            method=one.method,
            seconds=one.seconds,
            provider=one.provider_s / one.seconds,
            quota=one.quota_s / one.seconds,
            backing_off=one.backing_off_s / one.seconds,
            own_cpu=one.own_cpu_s / one.seconds,
            starved=one.starved_s / one.seconds,
            at_limit=one.at_limit_s / one.seconds,
            tail_s=one.tail_s,
            tail_calls=one.tail_calls,
        )
        for one in times
    )
