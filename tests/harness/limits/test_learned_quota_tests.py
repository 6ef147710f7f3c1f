"""A suspected quota is tested by the pace: half of it, then twice as much as long as nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from harness.limits.learned_quota import (
    NO_LIMIT_MET,
    NOT_THE_CAUSE,
    TESTED_CALLS,
    TESTED_LEAST,
    TESTED_S,
    LearnedQuota,
)

Refuses = Callable[[float], bool]


def suspected(*, per_s: float = 10.0, share: float = 0.5) -> tuple[LearnedQuota, float]:
    """Returns what is known after twenty seconds at this pace, when so large a share is refused, and the
    time."""
    learned = LearnedQuota()
    for number in range(int(20.0 * per_s)):
        learned.sent(number / per_s)
        learned.taken(sent_s=number / per_s)
    learned.suspect(share=share, now_s=20.0)
    return learned, 20.0


def drive(learned: LearnedQuota, refuses: Refuses, *, begin_s: float, end_s: float, most_per_s: float) -> int:
    """Sends whenever it may, but no more than so many a second; returns how many were refused."""
    now_s, refused = begin_s, 0
    while now_s < end_s:
        now_s += max(learned.wait_s(now_s), 1.0 / most_per_s)
        learned.sent(now_s)
        if refuses(now_s):
            refused += 1
            learned.refused(sent_s=now_s, now_s=now_s + 0.05, retry_after_s=None, of_rate=False)
        else:
            learned.taken(sent_s=now_s)
    return refused


def bucket(per_s: float, savings: float) -> Refuses:
    """A provider that takes so many a second, and what it has saved."""
    left, at_s = 0.0, 20.0

    def refuses(now_s: float) -> bool:
        nonlocal left, at_s
        left, at_s = min(savings, left + (now_s - at_s) * per_s), now_s
        if left < 1.0:
            return True
        left -= 1.0
        return False

    return refuses


def test_the_first_pace_is_half_of_what_was_taken_in_the_last_seconds() -> None:
    """Ten a second: 300 a minute, and 32 a minute at least."""
    learned, _ = suspected()
    assert learned.per_minute == 300.0
    assert learned.is_tested
    slow, _ = suspected(per_s=1.0)
    assert slow.per_minute == TESTED_LEAST


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_where_a_slower_pace_is_refused_as_often_there_is_no_quota(share: float) -> None:
    """One call in five, or every second one, is refused at any pace."""
    learned, now_s = suspected(share=share)
    chance = Random(1)
    drive(learned, lambda at_s: chance.random() < share, begin_s=now_s, end_s=now_s + 8.0, most_per_s=50.0)
    assert learned.per_minute is None
    assert not learned.is_tested
    assert learned.forgotten == NOT_THE_CAUSE


@pytest.mark.parametrize(("per_s", "savings"), [(10.0, 10.0), (10.0, 100.0), (3.0, 5.0)])
def test_the_pace_at_which_calls_are_refused_again_makes_the_figure(per_s: float, savings: float) -> None:
    """Within a minute and a half the figure is the provider's, up to a sixth and what it has saved."""
    learned, now_s = suspected(per_s=per_s)
    refuses = bucket(per_s, savings)
    drive(learned, refuses, begin_s=now_s, end_s=now_s + 90.0, most_per_s=200.0)
    assert not learned.is_tested
    assert learned.per_minute is not None
    assert 0.85 * 60.0 * per_s <= learned.per_minute <= 1.2 * 60.0 * per_s + savings
    refused = drive(learned, refuses, begin_s=now_s + 90.0, end_s=now_s + 150.0, most_per_s=200.0)
    assert refused <= 0.05 * 60.0 * per_s


def test_a_pace_that_is_not_reached_is_no_limit() -> None:
    """Nothing is refused, and there are never more than twelve calls a second: the pace of twenty is not kept
    by a quota."""
    learned, now_s = suspected()
    drive(learned, lambda at_s: False, begin_s=now_s, end_s=now_s + 30.0, most_per_s=12.0)
    assert learned.per_minute is None
    assert learned.forgotten == NO_LIMIT_MET


def test_long_pauses_that_are_asked_for_end_a_test() -> None:
    """They speak of a rate themselves: the third refusal in a row makes the figure."""
    learned, now_s = suspected()
    for number in range(3):
        learned.refused(
            sent_s=now_s + 1.0 + number, now_s=now_s + 1.1 + number, retry_after_s=20.0, of_rate=False
        )
    assert not learned.is_tested
    assert learned.per_minute == 200.0


def test_refusals_of_calls_sent_before_the_test_say_nothing_of_its_pace() -> None:
    """Twenty of them arrive in its first step."""
    learned, now_s = suspected()
    for _ in range(20):
        learned.refused(sent_s=now_s - 0.5, now_s=now_s + 0.1, retry_after_s=None, of_rate=False)
    drive(learned, lambda at_s: False, begin_s=now_s, end_s=now_s + TESTED_S + 1.0, most_per_s=50.0)
    assert learned.per_minute == 300.0


def test_a_step_needs_as_many_calls_as_seconds() -> None:
    """At 32 a minute sixteen calls take half a minute."""
    learned, now_s = suspected(per_s=1.0, share=1.0)
    for number in range(1, TESTED_CALLS):
        learned.sent(now_s + TESTED_S + number)
        learned.refused(
            sent_s=now_s + TESTED_S + number, now_s=now_s + 30.0, retry_after_s=None, of_rate=False
        )
    assert learned.is_tested
    learned.sent(now_s + 40.0)
    assert learned.per_minute is None


def test_an_outage_ends_a_test() -> None:
    """In the first step nothing is known yet; later the last pace that was taken is the figure."""
    learned, now_s = suspected()
    learned.stop_test(now_s + 1.0)
    assert learned.per_minute is None
    learned, now_s = suspected()
    drive(learned, lambda at_s: False, begin_s=now_s, end_s=now_s + 2.5 * TESTED_S, most_per_s=50.0)
    assert learned.per_minute == 600.0
    learned.stop_test(now_s + 2.5 * TESTED_S)
    assert learned.per_minute == 300.0
    assert not learned.is_tested


def test_a_learned_quota_is_forgotten_where_a_slower_pace_is_refused_as_often() -> None:
    """Three in ten calls are refused at any pace: the first period lowers the figure, the second one shows
    that this does not help."""
    learned = LearnedQuota()
    chance = Random(2)
    for number in range(600):
        learned.sent(0.1 * number)
        learned.taken(sent_s=0.1 * number)
    for number in range(3):
        learned.refused(sent_s=60.1 + number, now_s=60.2 + number, retry_after_s=30.0, of_rate=True)
    assert learned.per_minute is not None
    figures = set[float | None]()
    now_s = 125.0
    for _ in range(5):
        drive(learned, lambda at_s: chance.random() < 0.3, begin_s=now_s, end_s=now_s + 30.0, most_per_s=50.0)
        now_s += 30.0
        figures.add(learned.per_minute)
    assert None in figures


def test_the_share_of_refused_calls_is_known_while_calls_are_paced() -> None:
    """It decides how many tries a call has: half of the calls are refused in the first step of a test."""
    learned, now_s = suspected()
    assert learned.share_refused == 0.0
    for number in range(40):
        learned.sent(now_s + 0.05 * (number + 1))
        if number % 2:
            learned.refused(
                sent_s=now_s + 0.05 * (number + 1), now_s=now_s + 3.0, retry_after_s=None, of_rate=False
            )
    assert 0.0 < learned.share_refused <= 0.5
