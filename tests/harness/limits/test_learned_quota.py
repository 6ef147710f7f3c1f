"""Quotas that nobody told us."""

from __future__ import annotations

from random import Random

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
    for silence_s, kept in ((61.4, 300.0), (61.6, 600.0)):
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
