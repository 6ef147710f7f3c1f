"""A quota a minute: no window holds more, steady use comes close, the provider's reports count."""

from __future__ import annotations

from bisect import bisect_left
from random import Random

import pytest

from harness.limits.token_bucket import QuotaReport, TokenBucket


def spent_at(quota: int, *, for_s: float, chance: Random | None = None) -> list[float]:
    """Returns when a greedy client spends 1 each; with chance it sometimes pauses, so that bursts come at any
    phase."""
    budget, now, times = TokenBucket(quota, 0.0), 0.0, []
    while now < for_s:
        wait_s = budget.wait_s(1, now)
        if wait_s == 0.0:
            budget.spend(1, now)
            times.append(now)
        now += wait_s
        if chance is not None and chance.random() < 0.02:
            now += chance.expovariate(0.1)
    return times


@pytest.mark.parametrize("quota", [1, 2, 5, 60, 300, 5_000])
def test_no_sixty_seconds_hold_more_than_the_quota(quota: int) -> None:
    """Greedy or with pauses, and with every request up to half a second late on its way."""
    for chance in (None, Random(quota)):
        jitter = Random(1)
        times = sorted(
            time + jitter.uniform(0.0, 0.5) for time in spent_at(quota, for_s=400.0, chance=chance)
        )
        worst = max(bisect_left(times, start + 60.0) - index for index, start in enumerate(times))
        assert worst <= quota


@pytest.mark.parametrize("quota", [60, 300, 5_000])
def test_steady_use_reaches_the_quota(quota: int) -> None:
    """At least 97 % of it."""
    assert len(spent_at(quota, for_s=600.0)) >= 0.97 * quota * 10


def test_a_large_cost_waits_for_a_full_bucket_and_then_owes() -> None:
    """A call dearer than the burst is not shut out; the next pays for it in time."""
    budget = TokenBucket(6_000, 0.0)
    assert budget.wait_s(1_000, 0.0) == 0.0
    budget.spend(1_000, 0.0)
    assert budget.wait_s(1, 0.0) == pytest.approx((1_000 - 30 + 1) / ((6_000 - 30 + 1) / 60.5))


def test_settling_gives_back_and_takes() -> None:
    """An estimate that was too high shortens the wait by what it was too high, and the other way round."""
    high, low = TokenBucket(6_000, 0.0), TokenBucket(6_000, 0.0)
    for budget, actual in ((high, 100), (low, 900)):
        budget.spend(500, 0.0)
        budget.settle(500, actual)
    assert high.wait_s(30, 0.0) < low.wait_s(30, 0.0)


def test_the_providers_limit_wins() -> None:
    """A header that names another limit changes the quota, once."""
    budget = TokenBucket(60, 0.0)
    assert budget.take_report(QuotaReport(limit=600), spent_since=0, sent_s=0.0, now_s=0.0)
    assert not budget.take_report(QuotaReport(limit=600), spent_since=0, sent_s=0.0, now_s=0.0)
    assert budget.per_minute == 600


def test_what_the_provider_says_is_left_is_not_overdrawn() -> None:
    """Others may share the account: with three left and two sent since, one may go; then not before the
    reset."""
    budget = TokenBucket(6_000, 0.0)
    budget.take_report(QuotaReport(remaining=3, reset_s=20.0), spent_since=2, sent_s=0.0, now_s=0.0)
    assert budget.wait_s(1, 0.0) == 0.0
    budget.spend(1, 0.0)
    assert budget.wait_s(1, 5.0) == 15.0
    assert budget.wait_s(1, 20.0) == 0.0


def test_what_comes_back_bit_by_bit_is_not_waited_for_whole() -> None:
    """A reset that moves on while nothing comes back at once is a sliding window's: the next request waits
    for its share of it. A window's end, where all comes back at once, is waited for."""
    for moves, waits_s in ((True, 0.1), (False, 40.0)):
        budget = TokenBucket(600, 0.0)
        for second in range(20):
            reset_s = 60.0 if moves else 60.0 - second
            budget.take_report(
                QuotaReport(remaining=0.0, reset_s=reset_s),
                spent_since=0.0,
                sent_s=float(second),
                now_s=float(second),
            )
        assert budget.wait_s(1, 20.0) == pytest.approx(waits_s, abs=1.1)


def test_an_older_report_does_not_undo_a_later_one() -> None:
    """Answers overtake each other: the report of an earlier request is out of date."""
    budget = TokenBucket(6_000, 0.0)
    budget.take_report(QuotaReport(remaining=0.0, reset_s=20.0), spent_since=0.0, sent_s=2.0, now_s=3.0)
    budget.take_report(QuotaReport(remaining=500.0, reset_s=20.0), spent_since=0.0, sent_s=1.0, now_s=4.0)
    assert budget.wait_s(1, 5.0) == pytest.approx(18.0)


def test_a_report_lasts_until_its_reset() -> None:
    """The reported remainder counts until the moment of the reset, and not after it."""
    budget = TokenBucket(6_000, 0.0)
    budget.take_report(QuotaReport(remaining=0.0, reset_s=20.0), spent_since=0.0, sent_s=0.0, now_s=0.0)
    assert budget.reported_wait_s(1, 19.0) == 1.0
    assert budget.wait_s(1, 19.0) == 1.0
    assert budget.wait_s(1, 20.0) == 0.0
    assert budget.reported_wait_s(1, 20.0) == 0.0


def test_a_reset_that_moves_by_its_rounding_is_no_sliding_window() -> None:
    """Resets in whole seconds jump by up to 1.5 s; a larger jump with nothing back is a sliding window."""
    for moved_s, waits_s in ((1.5, 38.5), (1.6, 0.0)):
        budget = TokenBucket(600, 0.0)
        for now_s, reset_s in ((0.0, 60.0), (20.0, 40.0 + moved_s)):
            report = QuotaReport(remaining=0.0, reset_s=reset_s)
            budget.take_report(report, spent_since=0.0, sent_s=now_s, now_s=now_s)
        wait_s = budget.wait_s(1, 23.0)
        assert wait_s == pytest.approx(waits_s, abs=0.1)


def test_what_comes_back_is_the_part_that_was_spent() -> None:
    """With 590 of 600 left, a sliding window gives the missing ten back over the time to its reset."""
    budget = TokenBucket(600, 0.0)
    for now_s in (0.0, 10.0):
        report = QuotaReport(remaining=0.0 if now_s == 0.0 else 200.0, reset_s=60.0)
        budget.take_report(report, spent_since=0.0, sent_s=now_s, now_s=now_s)
    assert budget.reported_wait_s(300, 10.0) == pytest.approx(60.0 * 100 / 400)


def test_what_is_settled_is_the_difference() -> None:
    """6,000 a minute: 30 at once and then one every 60.5 / 5,971 s. What was given back does not exceed the
    bucket."""
    for estimate, actual, level in (
        (10.0, 25.0, -5.0),
        (10.0, 4.0, 16.0),
        (10.0, 0.0, 20.0),
        (60.0, 0.0, 30.0),
    ):
        budget = TokenBucket(6_000, 0.0)
        budget.spend(20.0, 0.0)
        budget.settle(estimate, actual)
        budget.spend(10.0, 0.0)
        budget.settle(10.0, 10.0)
        level -= 10.0
        assert budget.wait_s(30, 0.0) == pytest.approx((30.0 - level) * 60.5 / 5_971)


def test_a_limit_below_1_is_no_limit() -> None:
    """Some providers send 0 for "none"."""
    for limit, taken in ((0.0, False), (0.9, False), (1.0, True), (1.5, True)):
        budget = TokenBucket(60, 0.0)
        assert budget.take_report(QuotaReport(limit=limit), spent_since=0, sent_s=0.0, now_s=0.0) is taken
        assert budget.per_minute == (limit if taken else 60)


def test_of_two_reports_of_one_moment_the_last_counts() -> None:
    """Calls that were sent together are answered one after the other."""
    budget = TokenBucket(6_000, 0.0)
    for remaining in (500.0, 0.0):
        report = QuotaReport(remaining=remaining, reset_s=20.0)
        budget.take_report(report, spent_since=0.0, sent_s=1.0, now_s=2.0)
    assert budget.wait_s(1, 2.0) == 20.0


def test_a_remainder_that_just_suffices_is_no_wait() -> None:
    """Three are left: a call of three goes, one of four waits for the reset."""
    budget = TokenBucket(6_000, 0.0)
    budget.take_report(QuotaReport(remaining=3.0, reset_s=20.0), spent_since=0.0, sent_s=0.0, now_s=0.0)
    assert budget.reported_wait_s(3, 5.0) == 0.0
    assert budget.reported_wait_s(4, 5.0) == 15.0
    assert budget.wait_s(4, 20.5) == 0.0
    assert budget.reported_wait_s(4, 20.5) == 0.0


def moved(*remaining: float, spent_since: float = 0.0) -> TokenBucket:
    """Returns a quota of 600 whose reports come 10 s apart, each with a reset in 60 s.

    spent_since   by calls sent after the last report's"""
    budget = TokenBucket(600, 0.0)
    for number, left in enumerate(remaining):
        now_s = 10.0 * number
        report = QuotaReport(remaining=left, reset_s=60.0)
        last = number == len(remaining) - 1
        budget.take_report(report, spent_since=spent_since if last else 0.0, sent_s=now_s, now_s=now_s)
    return budget


def test_a_reset_that_moves_with_half_of_it_back_was_a_windows_end() -> None:
    """From 0 of 600, 299 are a part that came back gradually, and 300 are a new window."""
    assert moved(0.0, 299.0).reported_wait_s(450, 10.0) == pytest.approx(60.0 * 151 / 301)
    assert moved(0.0, 300.0).reported_wait_s(450, 10.0) == 60.0


def test_what_comes_back_gradually_is_back_at_the_reset() -> None:
    """A call that costs more than the quota waits for the reset, and no longer."""
    assert moved(0.0, 0.0).reported_wait_s(300, 10.0) == pytest.approx(30.0)
    assert moved(0.0, 0.0).reported_wait_s(900, 10.0) == pytest.approx(60.0)


def test_at_least_one_comes_back_gradually() -> None:
    """Nothing is spent by the provider's count and all of it by ours: half a request waits for half the
    time."""
    budget = moved(0.0, 0.0)
    report = QuotaReport(remaining=600.0, reset_s=60.0)
    budget.take_report(report, spent_since=600.0, sent_s=10.0, now_s=10.0)
    assert budget.reported_wait_s(0.5, 10.0) == pytest.approx(30.0)
