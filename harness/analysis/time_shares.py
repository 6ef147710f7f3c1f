"""Reads what each access method's wall time was spent on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import AuditError
from harness.store.file import open_to_read
from harness.store.reader import time_by_method


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeShares:
    """The shares of an access method's wall time, over all runs; they sum to 1."""

    method: str
    seconds: float
    provider: float
    quota: float
    backing_off: float
    own_cpu: float
    starved: float


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
        )
        for one in times
    )
