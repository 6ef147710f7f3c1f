"""A quota that nobody stated is learned from silences: times in which every request is refused."""

from __future__ import annotations

import pytest

from harness.limits.learned_quota import LearnedQuota
from tests.harness.limits.learning import after_requests, refuse, silences, used, with_figure


def test_a_period_begins_after_a_silence() -> None:
    """The counts from before a silence are not part of the half minute after it."""
    learned = with_figure(600.0)
    learned.wait_s(0.0)
    used(learned, begin_s=0.0, per_s=9.0, seconds=20)
    learned.end_silence(since_s=20.0, refused=False, now_s=25.0)
    learned.wait_s(31.0)
    assert learned.per_minute == 600.0
    used(learned, begin_s=31.0, per_s=11.0, seconds=23)
    learned.wait_s(55.0)
    assert learned.per_minute != 600.0


def test_what_a_silence_of_more_than_a_minute_taught_is_forgotten() -> None:
    """No quota a minute lasts so long; the figure from before the silence is back."""
    for silence_s, kept in ((61.5, 300.0), (61.6, 600.0)):
        learned = with_figure(600.0)
        learned.begin_silence()
        learned._set(300.0, 10.0)
        learned.end_silence(since_s=10.0, refused=True, now_s=10.0 + silence_s)
        assert learned.per_minute == kept


def test_two_silences_after_as_many_requests_are_a_quota() -> None:
    """100 requests, 50 s without service, 100 requests, 50 s: 100 a minute. One such silence is none yet."""
    assert silences(50.0).per_minute is None
    assert silences(50.0, 50.0).per_minute == 100.0


def test_what_was_learned_in_an_outage_is_forgotten() -> None:
    """Refused for longer than a minute: no quota a minute lasts so long, and the figure before it holds
    again."""
    learned = LearnedQuota()
    for second in range(10):
        learned.sent(float(second))
        learned.taken(sent_s=float(second))
    learned.begin_silence()
    for number in range(4):
        learned.sent(10.0 + number)
        learned.refused(sent_s=10.0 + number, now_s=10.1 + number, retry_after_s=20.0, of_rate=False)
    assert learned.per_minute is not None
    learned.end_silence(since_s=10.0, refused=True, now_s=100.0)
    assert learned.per_minute is None
    assert learned.wait_s(100.0) == 0.0
    assert silences(90.0, 90.0).per_minute is None


def test_short_silences_are_no_quota() -> None:
    """Silences of less than five seconds come by chance where many calls fail."""
    for length_s, figure in ((4.9, None), (5.0, 100.0)):
        learned = LearnedQuota()
        for begin_s in (100.0, 170.0):
            for number in range(100):
                learned.sent(begin_s + 0.1 * number)
            learned.begin_silence()
            learned.end_silence(since_s=begin_s + 10.0, refused=True, now_s=begin_s + 10.0 + length_s)
        assert learned.per_minute == figure


def test_two_silences_lower_a_figure_that_was_too_high() -> None:
    """A known figure is replaced by a lower one that two silences show, and not by a higher one."""
    for known, figure in ((900.0, 100.0), (50.0, 50.0)):
        learned = with_figure(known)
        for begin_s in (100.0, 160.0):
            for number in range(100):
                learned.sent(begin_s + 0.1 * number)
            learned.begin_silence()
            learned.end_silence(since_s=begin_s + 10.0, refused=True, now_s=begin_s + 30.0)
        assert learned.per_minute == figure


def test_a_short_silence_breaks_a_row_of_refusals() -> None:
    """Two refusals before it and two after it are not three in a row."""
    learned = after_requests(30, over_s=10.0)
    for at_s in (10.0, 11.0, 13.0, 14.0):
        if at_s == 13.0:
            learned.end_silence(since_s=10.0, refused=True, now_s=12.0)
        refuse(learned, at_s, retry_after_s=30.0)
    assert learned.per_minute is None


@pytest.mark.parametrize(
    ("first", "second", "apart_s", "known", "figure", "changes"),
    [
        (100, 100, 180.0, None, 100.0, 1),
        (100, 100, 181.0, None, None, 0),  # too long ago
        (100, 80, 60.0, None, 100.0, 1),  # they differ by a fifth
        (100, 79, 60.0, None, None, 0),
        (80, 100, 60.0, None, 100.0, 1),
        (79, 100, 60.0, None, None, 0),
        (1, 1, 60.0, None, 1.0, 1),
        (0, 0, 60.0, None, None, 0),  # nothing was taken
        (100, 100, 60.0, 101.0, 100.0, 2),
        (100, 100, 60.0, 100.0, 100.0, 1),  # no more than is known
    ],
)
def test_two_silences_are_alike_in_their_requests_and_follow_each_other(
    first: int, second: int, apart_s: float, known: float | None, figure: float | None, changes: int
) -> None:
    """The larger count is the figure, if the two differ by no more than a fifth of it."""
    learned = LearnedQuota()
    if known is not None:
        learned._set(known, 0.0)
    for begin_s, count in ((1_000.0, first), (1_000.0 + apart_s, second)):
        for _ in range(count):
            learned.sent(begin_s - 1.0)
        learned.end_silence(since_s=begin_s, refused=True, now_s=begin_s + 50.0)
    assert (learned.per_minute, learned.changes) == (figure, changes)
