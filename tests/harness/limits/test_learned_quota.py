"""A quota that the provider does not state is learned from refusals."""

from __future__ import annotations

from random import Random

import pytest

from harness.limits.learned_quota import LearnedQuota
from tests.harness.limits.learning import (
    Provider,
    after_requests,
    drive,
    raises,
    refuse,
    silences,
    suspicious,
    used,
    with_figure,
)


def test_a_minute_quota_is_found_and_used() -> None:
    """600 a minute that nobody told us: from the second minute on at least 95 % of them are used, and 1 %
    refused at most."""
    learned, provider, chance = LearnedQuota(), Provider(600), Random(1)
    drive(learned, provider, begin_s=0.0, end_s=120.0, chance=chance)
    taken, refused = drive(learned, provider, begin_s=120.0, end_s=720.0, chance=chance)
    assert taken >= 0.95 * 6_000
    assert refused <= 0.01 * taken


def test_a_quota_by_the_second_is_not_taken_for_a_minute_s() -> None:
    """10 a second: the first refusal comes after a quarter of a second, and must not pace us at 10 a
    minute."""
    learned, provider, chance = LearnedQuota(), Provider(10, span_s=1.0), Random(1)
    drive(learned, provider, begin_s=0.0, end_s=60.0, chance=chance)
    taken, refused = drive(learned, provider, begin_s=60.0, end_s=360.0, chance=chance)
    assert taken >= 0.9 * 3_000
    assert refused <= 0.02 * taken


def test_savings_are_not_taken_for_a_pace() -> None:
    """600 saved up and 10 a second after that: the first minute takes twice what the next ones will, and is
    soon not believed."""
    learned, chance = LearnedQuota(), Random(1)

    class Saver(Provider):
        level, at_s = 600.0, 0.0

        def retry_after_s(self, now_s: float) -> float | None:
            self.level, self.at_s = min(600.0, self.level + (now_s - self.at_s) * 10), now_s
            if self.level < 1.0:
                return (1.0 - self.level) / 10
            self.level -= 1.0
            return None

    provider = Saver(600)
    drive(learned, provider, begin_s=0.0, end_s=120.0, chance=chance)
    taken, refused = drive(learned, provider, begin_s=120.0, end_s=720.0, chance=chance)
    assert taken >= 0.95 * 6_000
    assert refused <= 0.01 * taken


def test_refusals_that_are_not_about_the_pace_do_not_starve_us() -> None:
    """One in fifty refused at random: the figure stays near what was taken all along."""
    learned, provider, chance = LearnedQuota(), Provider(10**9), Random(1)
    drive(learned, provider, begin_s=0.0, end_s=120.0, chance=chance, noise=0.02)
    taken, _ = drive(learned, provider, begin_s=120.0, end_s=1_320.0, chance=chance, noise=0.02)
    assert taken >= 0.5 * 20 * 60 * 2


def test_a_quota_that_changes_is_followed() -> None:
    """Halved, it is noticed in a few minutes; doubled, too."""
    learned, provider, chance = LearnedQuota(), Provider(600), Random(1)
    drive(learned, provider, begin_s=0.0, end_s=300.0, chance=chance)
    provider.quota = 300
    drive(learned, provider, begin_s=300.0, end_s=600.0, chance=chance)
    _, refused = drive(learned, provider, begin_s=600.0, end_s=900.0, chance=chance)
    assert refused <= 0.02 * 1_500
    provider.quota = 900
    drive(learned, provider, begin_s=900.0, end_s=1_320.0, chance=chance)
    taken, _ = drive(learned, provider, begin_s=1_320.0, end_s=1_620.0, chance=chance)
    assert taken >= 0.9 * 4_500


def test_three_long_pauses_in_a_row_make_a_figure_and_a_taken_request_between_them_none() -> None:
    """The figure is the most that was taken in a minute; short pauses say nothing of a minute."""
    learned = after_requests(120, over_s=60.0)
    for number in range(3):
        assert learned.per_minute is None
        refuse(learned, 60.0 + number, retry_after_s=30.0)
    assert learned.per_minute == 120
    learned = after_requests(120, over_s=60.0)
    for number in range(6):
        refuse(learned, 60.0 + number, retry_after_s=30.0)
        learned.sent(60.5 + number)
        learned.taken(sent_s=60.5 + number)
    assert learned.per_minute is None
    learned = after_requests(120, over_s=60.0)
    for number in range(9):
        refuse(learned, 60.0 + number, retry_after_s=4.0)
    assert learned.per_minute is None


def test_a_refusal_that_is_known_to_be_of_the_rate_makes_a_figure_at_once() -> None:
    """One is enough; a pause of less than a minute's worth takes the pace so far."""
    learned = after_requests(30, over_s=10.0)
    refuse(learned, 10.0, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute is not None
    assert 150 <= learned.per_minute <= 190


def test_many_refusals_of_a_period_make_a_figure_without_three_in_a_row() -> None:
    """Ten in half a minute that ask for a long pause, each after a taken request."""
    learned = after_requests(100, over_s=30.0)
    learned.wait_s(31.0)
    for number in range(10):
        assert learned.per_minute is None
        refuse(learned, 31.0 + number, retry_after_s=30.0)
        learned.sent(31.5 + number)
        learned.taken(sent_s=31.5 + number)
    assert learned.per_minute is not None


def test_a_figure_that_is_used_without_refusals_is_raised_by_half_a_percent() -> None:
    """Each half minute of use above four fifths raises it; an idle half minute does not."""
    learned = with_figure(600.0)
    learned.wait_s(0.0)
    used(learned, begin_s=0.0, per_s=9.0, seconds=30)
    learned.wait_s(30.0)
    assert learned.per_minute == 600.0 * 1.005
    used(learned, begin_s=30.0, per_s=4.0, seconds=30)
    learned.wait_s(60.0)
    assert learned.per_minute == 600.0 * 1.005


def test_a_half_minute_of_refusals_lowers_it_to_what_was_taken() -> None:
    """250 taken of 500: 500 a minute. Refusals of a twentieth are few enough to keep the figure."""
    learned = with_figure(900.0)
    learned.wait_s(0.0)
    for number in range(500):
        at_s = 0.06 * number
        learned.sent(at_s)
        if number % 2:
            learned.taken(sent_s=at_s)
        else:
            learned._period_refused += 1
    learned.wait_s(30.5)
    assert learned.per_minute == 500.0


def test_a_refusal_that_says_nothing_of_a_rate_sets_no_figure() -> None:
    """A hundred refusals of calls beyond a number in flight, with a short pause or none: nothing is
    learned."""
    learned = LearnedQuota()
    for second in range(100):
        learned.sent(float(second))
        learned.refused(sent_s=float(second), now_s=second + 0.05, retry_after_s=1.0, of_rate=False)
    assert learned.per_minute is None
    assert learned.changes == 0


def test_random_refusals_that_count_as_a_rate_lower_it_no_more_than_before() -> None:
    """A figure once learned is lowered by refusals only as far as a recent minute took less."""
    learned = silences(50.0, 50.0)
    changes = learned.changes
    learned.sent(200.0)
    learned.refused(sent_s=200.0, now_s=200.05, retry_after_s=None, of_rate=False)
    assert learned.per_minute == 100.0
    assert learned.changes == changes


def test_a_pace_counts_from_the_first_request_whenever_that_was() -> None:
    """Thirty requests in ten seconds, late in a run: the pace is 180 a minute."""
    learned = LearnedQuota()
    for number in range(30):
        learned.sent(1_000.0 + number / 3)
        learned.taken(sent_s=1_000.0 + number / 3)
    refuse(learned, 1_010.0, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute is not None
    assert 150 <= learned.per_minute <= 190


def test_the_most_in_a_minute_leaves_out_what_is_a_minute_old() -> None:
    """Ten in one second and ten exactly a minute later are ten a minute."""
    learned = LearnedQuota()
    for second in (0.0, 60.0):
        for number in range(10):
            learned.sent(second + 0.01 * number)
            learned.taken(sent_s=second + 0.01 * number)
    for number in range(3):
        refuse(learned, 61.0 + number, retry_after_s=30.0)
    assert learned.per_minute == 10.0


def test_three_long_pauses_in_a_row_are_needed_from_the_first_request_on() -> None:
    """Exactly 5 s is a long pause. If nothing was taken at all the figure is one a minute."""
    learned = LearnedQuota()
    for number in range(3):
        assert (learned.per_minute, learned.changes) == (None, 0)
        refuse(learned, float(number), retry_after_s=5.0)
    assert (learned.per_minute, learned.changes) == (1.0, 1)


def test_ten_refusals_among_few_requests_make_a_figure_and_nine_do_not() -> None:
    """They are counted before the first half minute has begun, too."""
    learned = LearnedQuota()
    for number in range(10):
        assert learned.per_minute is None
        refuse(learned, number + 0.0, retry_after_s=30.0)
        learned.sent(number + 0.5)
        learned.taken(sent_s=number + 0.5)
    assert learned.per_minute == 9.0


def test_a_figure_is_a_rate_of_single_requests() -> None:
    """At 600 a minute three go at once, and the next after 60.5 s / 598."""
    learned = with_figure(600.0)
    for _ in range(3):
        assert learned.wait_s(1.0) == 0.0
        learned.sent(1.0)
    assert learned.wait_s(1.0) == pytest.approx(60.5 / 598)


def test_requests_are_remembered_for_four_minutes() -> None:
    """The most in a minute of the last three: a burst is forgotten 240 s later."""
    for at_s, figure in ((239.0, 100.0), (240.0, 1.0)):
        learned = LearnedQuota()
        for _ in range(100):
            learned.sent(0.0)
        for _ in range(3):
            refuse(learned, at_s, retry_after_s=30.0)
        assert learned.per_minute == figure


def test_what_was_in_flight_when_a_figure_was_set_does_not_lower_it() -> None:
    """A refusal of a request that was sent later does, unless a minute held as many as the figure."""
    learned = with_figure(60.0)
    refuse(learned, 0.0, retry_after_s=30.0)
    assert learned.per_minute == 60.0
    for second in range(59):
        learned.sent(1.0 + second)
    refuse(learned, 59.5, retry_after_s=30.0)
    assert learned.per_minute == 59.0
    refuse(learned, 59.9, retry_after_s=30.0)
    assert learned.changes == 2


@pytest.mark.parametrize(
    ("per_minute", "sent", "refused", "after"),
    [
        (400.0, 200, 0, 400.0 * 1.005),
        (400.0, 200, 1, 400.0 * 1.005),  # one of 200 is hardly a refusal
        (400.0, 200, 2, 400.0),
        (500.0, 200, 0, 500.0 * 1.005),  # four fifths of it were used
        (500.0, 199, 0, 500.0),
        (1_000.0, 400, 20, 760.0),  # a twentieth: what was taken in half a minute is the figure
        (1_000.0, 400, 19, 1_000.0),
        (1_001.0, 400, 20, 1_001.0),  # it was hardly used
        (100.0, 50, 10, 80.0),
        (100.0, 50, 9, 100.0),  # fewer than ten are few
        (70.0, 50, 10, 70.0),  # more was taken than the figure
        (40.0, 20, 20, 40.0),  # nothing was taken
    ],
)
def test_half_a_minute_raises_a_figure_keeps_it_or_lowers_it(
    per_minute: float, sent: int, refused: int, after: float
) -> None:
    """Its use and the refusals in it decide."""
    learned = with_figure(per_minute)
    learned.wait_s(0.0)
    for number in range(sent):
        learned.sent(30.0 * number / sent)
    learned._period_refused = refused
    learned.wait_s(29.9)
    assert learned.per_minute == per_minute
    learned.wait_s(30.0)
    assert learned.per_minute == after


def test_raises_double_after_five_and_begin_anew_after_refusals() -> None:
    """Half a percent five times, then twice as much each time, up to half of the figure."""
    learned = with_figure(600.0)
    learned.wait_s(0.0)
    assert raises(learned, begin_s=30.0, periods=13) == [0.5] * 5 + [
        1.0,
        2.0,
        4.0,
        8.0,
        16.0,
        32.0,
        50.0,
        50.0,
    ]
    learned._period_refused = 9
    learned.wait_s(420.0)
    assert raises(learned, begin_s=450.0, periods=6) == [0.5] * 5 + [1.0]


@pytest.mark.parametrize(("retry_after_s", "figure"), [(5.0, 30.0), (None, 30.0), (4.9, 180.0)])
def test_a_short_pause_makes_the_pace_so_far_the_figure(retry_after_s: float | None, figure: float) -> None:
    """Thirty in ten seconds are 180 a minute; with a long pause or none, thirty."""
    learned = after_requests(30, over_s=10.0)
    refuse(learned, 10.0, retry_after_s=retry_after_s, of_rate=True)
    assert learned.per_minute == figure


def test_a_pace_is_that_of_at_least_a_second_and_one_a_minute() -> None:
    """Thirty in half a second are 1,800 a minute."""
    learned = after_requests(30, over_s=0.5)
    refuse(learned, 0.5, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute == 1_800.0
    learned = LearnedQuota()
    refuse(learned, 0.0, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute == 1.0


@pytest.mark.parametrize(("again_s", "figure"), [(12.9, 115 * 60 / 12.9), (13.0, 300.0)])
def test_a_pace_counts_from_the_first_refusal_three_seconds_later(again_s: float, figure: float) -> None:
    """A hundred in ten seconds drew on savings; fifteen in the three seconds after the first refusal are 300
    a minute."""
    learned = after_requests(100, over_s=10.0)
    refuse(learned, 10.0, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute == 600.0
    for _ in range(15):
        learned.sent(11.0)
    refuse(learned, again_s, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute == pytest.approx(figure)


def test_after_a_minute_short_pauses_count_by_the_minute_too() -> None:
    """Sixty in a minute, and none since a refusal ten seconds ago: the figure is sixty."""
    learned = suspicious((0.0, 30), (30.0, 30), refused_s=50.0, retry_after_s=30.0)
    refuse(learned, 60.0, retry_after_s=1.0, of_rate=True)
    assert learned.per_minute == 60.0
