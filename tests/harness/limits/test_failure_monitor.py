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
        if chance.random() < share and monitor.failed(1):
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


def failures_in_row(monitor: FailureMonitor) -> int:
    """Returns how many failures in a row are evidence."""
    for number in range(1, 100):
        monitor.sent()
        if monitor.failed(1):
            return number
    raise AssertionError("never")


@pytest.mark.parametrize(("usual", "needed"), [(0.01, 3), (0.1, 6), (0.25, 10)])
def test_the_more_failures_are_usual_the_more_are_evidence(usual: float, needed: int) -> None:
    """Each adds log((1 + u) / 2u), u the usual share, until the sum is -log(0.0001) = 9.2: 3.9 for 1 %, 1.7
    for 10 % and 0.92 for 25 %."""
    monitor = FailureMonitor()
    monitor.accept(usual)
    assert failures_in_row(monitor) == needed


def test_a_run_lasts_from_a_failure_until_enough_calls_are_served() -> None:
    """One failure at a usual share of 1 % adds 3.92 and each call after it takes log(2) = 0.69: six end the
    run."""
    monitor = FailureMonitor()
    assert monitor.quiet
    assert monitor.share(0) == 0.0
    monitor.sent()
    assert not monitor.failed(1)
    shares = list[float]()
    for _ in range(5):
        assert not monitor.quiet
        shares.append(monitor.share(0))
        monitor.sent()
    assert shares == [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert not monitor.quiet
    monitor.sent()
    assert monitor.quiet
    assert monitor.share(0) == 0.0


def test_a_run_whose_sum_comes_back_to_0_is_over() -> None:
    """At a usual share of a seventh a failure adds log(4), and each of the next two calls takes log(2)."""
    monitor = FailureMonitor()
    monitor.accept(1 / 7)
    monitor.failed(1)
    monitor.sent()
    assert not monitor.quiet
    monitor.sent()
    assert monitor.quiet
    assert monitor.usual == pytest.approx((100 / 7 + 1) / 102)


def test_a_run_that_is_dropped_leaves_nothing() -> None:
    """The share of the next one counts from its own first failure."""
    monitor = FailureMonitor()
    failures_in_row(monitor)
    assert monitor.share(0) == 1.0
    monitor.reset()
    assert monitor.quiet
    monitor.failed(1)
    monitor.sent()
    monitor.sent()
    assert monitor.share(0) == pytest.approx(1 / 3)


def test_calls_sent_before_the_run_count_when_they_are_served() -> None:
    """Two failures, one call sent since, and seven served that were sent before: two of nine."""
    monitor = FailureMonitor()
    monitor.failed(8)
    monitor.sent()
    monitor.failed(8)
    assert monitor.share(0) == 1.0
    assert monitor.share(7) == pytest.approx(2 / 9)


def test_failures_of_calls_sent_before_the_run_make_no_share_above_1() -> None:
    """Three calls are sent, then all of them fail."""
    monitor = FailureMonitor()
    for _ in range(3):
        monitor.sent()
    assert [monitor.failed(3), monitor.failed(2), monitor.failed(1)] == [False, False, True]
    assert monitor.share(0) == 1.0


def test_the_counts_are_of_calls_in_flight_when_the_run_began_and_those_sent_since() -> None:
    """Twelve calls are in flight and three of them fail while four more are sent: 3 of 16."""
    monitor = FailureMonitor()
    for _ in range(12):
        monitor.sent()
    monitor.failed(12)
    for _ in range(4):
        monitor.sent()
    monitor.failed(15)
    monitor.failed(14)
    assert monitor.counts == (3, 16)


def one_failure_after(quiet_calls: int) -> FailureMonitor:
    """Returns the monitor after so many served calls, a failure and the five calls that end its run, where
    half of the first hundred failed."""
    monitor = FailureMonitor()
    monitor.accept(0.5)
    for _ in range(quiet_calls + 1):
        monitor.sent()
    monitor.failed(1)
    for _ in range(5):
        monitor.sent()
    assert monitor.quiet
    return monitor


def test_the_usual_share_is_that_of_all_calls() -> None:
    """Served calls lower it at once, failures raise it when their run is over; it is never below 1 %."""
    monitor = FailureMonitor()
    assert monitor.usual == 0.01
    monitor.accept(0.5)
    for _ in range(2_000):
        monitor.sent()
    assert monitor.usual == pytest.approx(50 / 2_100)
    for _ in range(5_000):
        monitor.sent()
    assert monitor.usual == 0.01
    assert one_failure_after(1_000).usual == pytest.approx(51 / 1_106)


def test_a_new_monitor_holds_one_failure_in_a_hundred() -> None:
    """One more failure, and the run of seven calls that it begins: two in 107. Each call counts once."""
    monitor = FailureMonitor()
    monitor.sent()
    monitor.failed(1)
    for _ in range(6):
        monitor.sent()
    assert monitor.usual == pytest.approx(2 / 107)


def test_of_more_than_two_thousand_calls_older_ones_count_half() -> None:
    """Both numbers are halved at the end of a run, so that later calls weigh more."""
    for quiet_calls, usual in ((1_894, 51 / 3_000), (1_895, 25.5 / 2_000.5)):
        monitor = one_failure_after(quiet_calls)
        for _ in range(1_000):
            monitor.sent()
        assert monitor.usual == pytest.approx(usual)
