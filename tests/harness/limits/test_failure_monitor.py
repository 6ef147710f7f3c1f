"""Failures above the usual share are told from chance."""

from __future__ import annotations

from random import Random

import pytest

from harness.limits.failure_monitor import FailureMonitor


def alarms(monitor: FailureMonitor, share: float, calls: int, chance: Random) -> list[int]:
    """Returns after how many calls, of which that share fails, the monitor reports a raised share."""
    found = []
    for number in range(calls):
        monitor.sent()
        if chance.random() < share and monitor.failed():
            found.append(number)
            monitor.reset()
    return found


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2])
def test_the_usual_share_hardly_ever_raises_an_alarm(share: float) -> None:
    """Once a few hundred calls have shown what is usual: at most 3 alarms in 20,000 calls."""
    monitor, chance = FailureMonitor(), Random(1)
    alarms(monitor, share, 500, chance)
    assert len(alarms(monitor, share, 20_000, chance)) <= 3


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_a_new_method_may_fail_a_little(share: float) -> None:
    """1 and 5 % from the first call on raise no alarm in most of 50 runs of 300 calls."""
    assert sum(bool(alarms(FailureMonitor(), share, 300, Random(seed))) for seed in range(50)) <= 5


def test_certain_failure_is_noticed_at_once() -> None:
    """Three failures in a row are enough where one in a hundred is usual."""
    assert alarms(FailureMonitor(), 1.0, 10, Random(1))[0] == 2


def test_a_third_of_failures_is_noticed_soon() -> None:
    """Within 60 calls, in each of 50 runs."""
    assert all(alarms(FailureMonitor(), 0.35, 60, Random(seed)) for seed in range(50))


def test_near_a_known_limit_a_smaller_rise_is_evidence() -> None:
    """Seven of a hundred calls fail where one did: noticed within 300 calls in each of 50 runs, elsewhere
    in some of them only. A tenth raises no alarm near a limit where it is usual."""
    noticed = dict.fromkeys((False, True), 0)
    for seed in range(50):
        for near_limit in noticed:
            monitor, chance = FailureMonitor(), Random(seed)
            alarms(monitor, 0.0, 500, chance)
            monitor.near_limit = near_limit
            noticed[near_limit] += bool(alarms(monitor, 0.07, 300, chance))
    assert noticed[True] == 50
    assert noticed[False] <= 35
    monitor, chance = FailureMonitor(), Random(1)
    alarms(monitor, 0.1, 500, chance)
    monitor.near_limit = True
    assert len(alarms(monitor, 0.1, 20_000, chance)) <= 3


def test_a_share_that_is_taken_as_usual_raises_no_alarm() -> None:
    """After `accept` as many failures as that are chance."""
    monitor = FailureMonitor()
    monitor.accept(0.3)
    assert monitor.usual == pytest.approx(0.3)
    assert len(alarms(monitor, 0.3, 2_000, Random(1))) <= 1
