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
