"""After a refusal the requests of the last minute are counted, and a trial shows if they were the quota."""

from __future__ import annotations

import pytest

from harness.limits.learned_quota import LearnedQuota
from tests.harness.limits.learning import after_requests, refuse, suspicious, with_figure


def test_a_single_long_pause_is_a_suspicion_that_the_last_minute_is_full() -> None:
    """Nothing is sent until our own minute has room again, but one trial when the pause is over."""
    learned = after_requests(60, over_s=30.0)
    refuse(learned, 30.0, retry_after_s=20.0)
    assert learned.per_minute is None
    assert learned.wait_s(31.0) > 0.0
    assert learned.wait_s(50.0) == 0.0
    few = after_requests(59, over_s=30.0)
    refuse(few, 30.0, retry_after_s=20.0)
    assert few.wait_s(31.0) == 0.0


def test_a_trial_that_is_taken_when_room_was_just_made_confirms_the_suspicion() -> None:
    """Sixty in the first second, then a refusal that asks to wait until they are a minute old."""
    for trial_s, figure in ((60.0, 60.0), (62.0, None)):
        learned = LearnedQuota()
        for number in range(60):
            learned.sent(0.01 * number)
            learned.taken(sent_s=0.01 * number)
        refuse(learned, 30.0, retry_after_s=trial_s - 30.0)
        assert learned.wait_s(31.0) > 0.0
        learned.sent(trial_s)
        learned.taken(sent_s=trial_s)
        assert learned.per_minute == figure


def test_after_a_suspicion_the_last_minute_has_to_make_room() -> None:
    """Sixty in a minute were too many: the next waits until the first of them is a minute old, by whole
    seconds."""
    learned = suspicious((0.0, 1), (10.0, 59), refused_s=30.0, retry_after_s=100.0)
    assert learned.wait_s(31.0) == 30.0
    assert learned.wait_s(60.5) == 0.5
    assert learned.wait_s(61.0) == 0.0
    learned.sent(61.0)
    assert learned.wait_s(62.0) == 9.0


def test_a_suspicion_lasts_for_a_minute_and_a_second() -> None:
    """Later the last minute may hold more."""
    learned = suspicious((0.0, 60), refused_s=30.0, retry_after_s=20.0)
    for _ in range(60):
        learned.sent(62.0)
    assert learned.wait_s(90.5) == 62.0 + 61.0 - 90.5
    assert learned.wait_s(91.0) == 0.0


def test_a_trial_that_is_taken_while_the_minute_is_not_full_ends_a_suspicion() -> None:
    """The room was made long before: the provider may count as we do, or not at all."""
    for taken, wait_s in ((True, 0.0), (False, 60.0)):
        learned = suspicious((0.0, 60), refused_s=30.0, retry_after_s=40.0)
        learned.sent(70.0)
        if taken:
            learned.taken(sent_s=70.0)
        for _ in range(60):
            learned.sent(71.0)
        assert learned.per_minute is None
        assert learned.wait_s(72.0) == wait_s


@pytest.mark.parametrize(("trial_s", "figure"), [(60.0, 60.0), (60.9, 60.0), (61.0, None)])
def test_room_was_just_made_if_a_request_was_a_minute_old_less_than_a_second_ago(
    trial_s: float, figure: float | None
) -> None:
    """A trial that is taken then makes of the suspicion a figure."""
    learned = suspicious((0.0, 60), refused_s=30.0, retry_after_s=30.0)
    learned.sent(trial_s)
    learned.taken(sent_s=trial_s)
    assert learned.per_minute == figure


@pytest.mark.parametrize(
    ("bursts", "trial_s", "wait_s"),
    [(((1.0, 60),), 50.0, 0.0), (((1.0, 1), (10.0, 59)), 62.5, 7.0)],
)
def test_a_trial_that_is_taken_while_the_minute_is_full_ends_the_look_back(
    bursts: tuple[tuple[float, int], ...], trial_s: float, wait_s: float
) -> None:
    """Sixty others in the last minute, at a figure of sixty: the provider counts otherwise. With 59 the
    minute that the trial fills is waited for."""
    learned = with_figure(120.0)
    for at_s, count in bursts:
        for _ in range(count):
            learned.sent(at_s)
    refuse(learned, 30.0, retry_after_s=trial_s - 30.0)
    assert learned.per_minute == 60.0
    learned.sent(trial_s)
    learned.taken(sent_s=trial_s)
    assert learned.wait_s(int(trial_s) + 2.0) == wait_s
