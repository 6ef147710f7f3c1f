"""Providers and learned quotas, for the tests of what refusals teach."""

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


def suspicious(*bursts: tuple[float, int], refused_s: float, retry_after_s: float) -> LearnedQuota:
    """Returns what is known after so many requests at each of these moments and one refusal."""
    learned = LearnedQuota()
    for at_s, count in bursts:
        for _ in range(count):
            learned.sent(at_s)
            learned.taken(sent_s=at_s)
    refuse(learned, refused_s, retry_after_s=retry_after_s)
    return learned


def raises(learned: LearnedQuota, *, begin_s: float, periods: int) -> list[float]:
    """Returns by how much each of so many half minutes of full use raises the figure, in percent."""
    found = []
    for period in range(periods):
        before = learned.per_minute or 0.0
        learned._period_sent = 10_000_000
        learned.wait_s(begin_s + 30.0 * period)
        found.append(round(100.0 * ((learned.per_minute or 0.0) / before - 1.0), 3))
    return found
