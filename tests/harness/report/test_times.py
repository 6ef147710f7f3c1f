"""The cause of a slow run, in words."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.analysis.time_shares import TimeShares
from harness.report.times import print_times

SHARES = TimeShares(
    method="m/a",
    seconds=100.0,
    provider=0.0,
    quota=0.0,
    backing_off=0.0,
    own_cpu=0.0,
    starved=0.0,
    at_limit=0.0,
    tail_s=0.0,
    tail_calls=0,
)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (replace(SHARES, provider=1.0, at_limit=0.9), "`concurrency` allows."),
        (replace(SHARES, provider=1.0, at_limit=0.1), "it waited for replies"),
        (replace(SHARES, starved=0.9, tail_s=60.0, tail_calls=2), "; the last 2 calls took 60 s."),
        (replace(SHARES, starved=0.9, tail_s=60.0, tail_calls=1), "; the last call took 60 s."),
        (replace(SHARES, starved=0.9, tail_s=6.0, tail_calls=2), "long episodes were left."),
        (replace(SHARES, quota=0.9), "it waited for its quota; "),
    ],
)
def test_the_largest_part_is_named_with_its_cause(shares: TimeShares, words: str) -> None:
    """A wait at the user's own limit is no latency of the provider; an idle end is counted in calls and
    seconds."""
    output = io.StringIO()
    print_times([shares], Console(file=output, width=200))
    assert words in output.getvalue()
