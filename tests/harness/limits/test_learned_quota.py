"""Quotas that nobody told us."""

from __future__ import annotations

from random import Random

import pytest

from harness.limits.learned_quota import LearnedQuota


class Provider:
    """Takes so many requests in any minute (or in any second), and says nothing but no."""

    def __init__(self, quota: int, *, span_s: float = 60.0) -> None:
        self.quota = quota
        self.span_s = span_s
        self.taken: list[float] = []

    def retry_after_s(self, now_s: float) -> float | None:
        """None: taken."""
        self.taken = [at for at in self.taken if at > now_s - self.span_s]
        if len(self.taken) < self.quota:
            self.taken.append(now_s)
            return None
        return self.taken[0] + self.span_s - now_s


def drive(
    learned: LearnedQuota,
    provider: Provider,
    *,
    begin_s: float,
    end_s: float,
    chance: Random,
    noise: float = 0.0,
    of_rate: bool = True,
) -> tuple[int, int]:
    """(taken, refused) of a client that sends whenever it may, up to 40 a second, and rests as it is told."""
    now_s, taken, refused = begin_s, 0, 0
    while now_s < end_s:
        wait_s = learned.wait_s(now_s)
        if wait_s > 0.0:
            now_s += wait_s
            continue
        learned.sent(now_s)
        rest_s = provider.retry_after_s(now_s)
        if rest_s is None and chance.random() < noise:
            rest_s = 0.0
        if rest_s is None:
            taken += 1
            learned.taken(sent_s=now_s)
        else:
            refused += 1
            learned.refused(sent_s=now_s, now_s=now_s, retry_after_s=rest_s, of_rate=of_rate)
            now_s += rest_s
        now_s += 0.025
    return taken, refused


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


def after_requests(count: int, *, over_s: float) -> LearnedQuota:
    """Returns what is known after so many requests were taken, evenly over this time."""
    learned = LearnedQuota()
    for number in range(count):
        at_s = over_s * number / count
        learned.wait_s(at_s)
        learned.sent(at_s)
        learned.taken(sent_s=at_s)
    return learned


def refuse(learned: LearnedQuota, at_s: float, *, retry_after_s: float | None, of_rate: bool = False) -> None:
    learned.sent(at_s)
    learned.refused(sent_s=at_s, now_s=at_s, retry_after_s=retry_after_s, of_rate=of_rate)


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


def with_figure(per_minute: float) -> LearnedQuota:
    """Returns what is known with a figure that is past its first minute."""
    learned = LearnedQuota()
    learned._set(per_minute, 0.0)
    return learned


def used(learned: LearnedQuota, *, begin_s: float, per_s: float, seconds: int) -> None:
    for number in range(int(seconds * per_s)):
        at_s = begin_s + number / per_s
        learned.wait_s(at_s)
        learned.sent(at_s)
        learned.taken(sent_s=at_s)


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


def test_a_refusal_that_says_nothing_of_a_rate_sets_no_figure() -> None:
    """A hundred refusals of calls beyond a number in flight, with a short pause or none: nothing is
    learned."""
    learned = LearnedQuota()
    for second in range(100):
        learned.sent(float(second))
        learned.refused(sent_s=float(second), now_s=second + 0.05, retry_after_s=1.0, of_rate=False)
    assert learned.per_minute is None
    assert learned.changes == 0


def silences(*lengths_s: float, requests: int = 100) -> LearnedQuota:
    """Sends that many requests in ten seconds before each silence, of which each ends when a request is
    taken."""
    learned, now_s = LearnedQuota(), 0.0
    for length_s in lengths_s:
        for _ in range(requests):
            learned.sent(now_s)
            learned.taken(sent_s=now_s)
            now_s += 10.0 / requests
        learned.begin_silence()
        learned.end_silence(since_s=now_s, refused=True, now_s=now_s + length_s)
        now_s += length_s
    return learned


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


def test_random_refusals_that_count_as_a_rate_lower_it_no_more_than_before() -> None:
    """A figure once learned is lowered by refusals only as far as a recent minute took less."""
    learned = silences(50.0, 50.0)
    changes = learned.changes
    learned.sent(200.0)
    learned.refused(sent_s=200.0, now_s=200.05, retry_after_s=None, of_rate=False)
    assert learned.per_minute == 100.0
    assert learned.changes == changes


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


def test_three_long_pauses_in_a_row_are_needed_from_the_first_request_on() -> None:
    """Exactly 5 s is a long pause. If nothing was taken at all the figure is one a minute."""
    learned = LearnedQuota()
    for number in range(3):
        assert (learned.per_minute, learned.changes) == (None, 0)
        refuse(learned, float(number), retry_after_s=5.0)
    assert (learned.per_minute, learned.changes) == (1.0, 1)


def test_a_short_silence_breaks_a_row_of_refusals() -> None:
    """Two refusals before it and two after it are not three in a row."""
    learned = after_requests(30, over_s=10.0)
    for at_s in (10.0, 11.0, 13.0, 14.0):
        if at_s == 13.0:
            learned.end_silence(since_s=10.0, refused=True, now_s=12.0)
        refuse(learned, at_s, retry_after_s=30.0)
    assert learned.per_minute is None


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


def suspicious(*bursts: tuple[float, int], refused_s: float, retry_after_s: float) -> LearnedQuota:
    """Returns what is known after so many requests at each of these moments and one refusal."""
    learned = LearnedQuota()
    for at_s, count in bursts:
        for _ in range(count):
            learned.sent(at_s)
            learned.taken(sent_s=at_s)
    refuse(learned, refused_s, retry_after_s=retry_after_s)
    return learned


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


def raises(learned: LearnedQuota, *, begin_s: float, periods: int) -> list[float]:
    """Returns by how much each of so many half minutes of full use raises the figure, in percent."""
    found = []
    for period in range(periods):
        before = learned.per_minute or 0.0
        learned._period_sent = 10_000_000
        learned.wait_s(begin_s + 30.0 * period)
        found.append(round(100.0 * ((learned.per_minute or 0.0) / before - 1.0), 3))
    return found


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
