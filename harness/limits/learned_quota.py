"""A quota that nobody told us: how many requests a minute a provider takes, learned from what it refuses.
Arithmetic.

Some refusals in a row, or a good share of all, mean that we are too fast. The most that was taken in any
recent minute is then the best figure there is, and calls are paced by it from then on. (Not what was taken in
the last minute: refusals that have nothing to do with the pace would lower it without end; but where a good
share of half a minute's requests is refused, what that half minute took is the figure, for the minutes before
may have drawn on savings.) Where the provider asks for a short pause only, before a minute has passed, it
counts by the second, and the pace so far is the figure: soon that since the first refusal, as there may have
been savings before. Half a minute in which it was used with hardly a refusal raises it by 0.5 %, after two
minutes of that by twice as much each time: a figure that was too low, or a quota that was raised, is found.

A figure is found by overrunning it, and a provider that looks back over a minute gives nothing back before
that burst is a minute old. So for a minute nothing is sent that would be more than the figure in the last
minute by our own count, but for one request when the pause is over that the provider asked for: taken
although that minute is full, it says that the provider counts otherwise. A single refusal that asks for a
long pause is treated so, too: a request taken just when our count says that there is room again makes of the
suspicion a figure."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.limits.token_bucket import MINUTE_S, TokenBucket

IN_A_ROW = 3
SHARE_THAT_COUNTS, LEAST_THAT_COUNT = 0.05, 10  # of all that was sent in a period
SHARE_THAT_DOES_NOT = 0.005
USED_SHARE = 0.8
PERIOD_S = 30.0
RECENT_S = 180.0  # a quota that was lowered is noticed after so long
SHORT_PAUSE_S = (
    5.0  # a provider that counts by the minute asks for longer ones, unless the minute is nearly over
)
SETTLED_S = 3.0
LEAST_SUSPECTED = 60  # a minute: of fewer, any moment may seem the one when room was made
FIRST_RAISE, LARGEST_RAISE = 0.005, 0.5
PATIENT_RAISES = 4  # before the figure is taken for too low


class _Trial(NamedTuple):
    """A request sent when the asked pause was over. full: the figure or more were sent in the minute before;
    just_freed: no more, but up to a second earlier."""

    sent_s: float
    full: bool
    just_freed: bool


class LearnedQuota:
    """Hears of every request sent, taken and refused; paces once there is something to go by."""

    def __init__(self) -> None:
        self._by_second: dict[int, int] = {}  # requests sent in it and not refused, in order of time
        self._first_s = 0.0
        self._first_refused_s: float | None = None
        self._in_row = 0
        self._period_end_s = float("-inf")
        self._period_sent = self._period_refused = 0
        self._raises = 0  # in a row
        self._looking_back_until_s = float("-inf")
        self._trial_at_s = float("inf")
        self._trial: _Trial | None = None
        self._suspected = 0.0
        self._budget: TokenBucket | None = None

    @property
    def per_minute(self) -> float | None:
        """The figure; None as long as nothing was learned."""
        return self._budget.per_minute if self._budget else None

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next request may be sent; 0: now."""
        if now_s >= self._period_end_s:
            self._end_period(now_s)
        wait_s = self._budget.wait_s(1.0, now_s) if self._budget else 0.0
        return max(wait_s, self._look_back_s(now_s)) if now_s < self._looking_back_until_s else wait_s

    def sent(self, now_s: float) -> None:
        self._period_sent += 1
        second = int(now_s)
        if second in self._by_second:
            self._by_second[second] += 1
        else:
            if not self._by_second:
                self._first_s = now_s
            self._by_second[second] = 1
            while (oldest := next(iter(self._by_second))) <= second - RECENT_S - MINUTE_S:
                del self._by_second[oldest]
        if self._budget is not None:
            self._budget.spend(1.0, now_s)
        if now_s >= self._trial_at_s:
            self._begin_trial(now_s)

    def taken(self, *, sent_s: float) -> bool:
        """A request that was sent then was not refused; True if that made the first figure."""
        self._in_row = 0
        if self._trial is None or sent_s != self._trial.sent_s:
            return False
        trial, self._trial = self._trial, None
        if self._budget is None and trial.just_freed:
            self._budget = TokenBucket(self._suspected, sent_s)
            return True
        if self._budget is None or trial.full:
            self._looking_back_until_s = float("-inf")
        return False

    def refused(self, *, sent_s: float, now_s: float, retry_after_s: float | None) -> bool:
        """A request sent then was refused; True if that lowered the figure, or made the first."""
        self._in_row += 1
        self._period_refused += 1
        second = int(sent_s)
        if self._by_second.get(second):
            self._by_second[second] -= 1
        if self._first_refused_s is None:
            self._first_refused_s = sent_s
        figure = self._figure(sent_s, retry_after_s)
        if self._budget is None:
            if self._in_row < IN_A_ROW and not self._too_many():
                if retry_after_s is not None and retry_after_s >= SHORT_PAUSE_S and figure >= LEAST_SUSPECTED:
                    self._suspected = figure
                    self._look_back(now_s, retry_after_s)
                return False
            self._budget = TokenBucket(figure, now_s)
        elif figure >= self._budget.per_minute:
            return False
        else:
            self._budget.change(figure, now_s)
        self._look_back(now_s, retry_after_s)
        return True

    def _look_back(self, now_s: float, retry_after_s: float | None) -> None:
        """For a minute, and with one trial when the pause is over."""
        self._looking_back_until_s = now_s + MINUTE_S + 1.0
        self._trial_at_s = now_s + (retry_after_s if retry_after_s is not None else float("inf"))
        self._trial = None

    def _begin_trial(self, now_s: float) -> None:
        """The request that was just sent is the one."""
        start_s, figure = now_s - MINUTE_S, self.per_minute or self._suspected
        before = sum(count for second, count in self._by_second.items() if second > start_s) - 1
        just_left = sum(
            count for second, count in self._by_second.items() if start_s - 1.0 < second <= start_s
        )
        self._trial = _Trial(now_s, full=before >= figure, just_freed=before < figure <= before + just_left)
        self._trial_at_s = float("inf")

    def _look_back_s(self, now_s: float) -> float:
        """Seconds until the last minute, to the second, holds fewer requests than the figure."""
        if now_s >= self._trial_at_s:
            return 0.0
        recent = [
            (second, count) for second, count in self._by_second.items() if second + 1.0 > now_s - MINUTE_S
        ]
        too_many = sum(count for _, count in recent) + 1.0 - (self.per_minute or self._suspected)
        wait_s = 0.0
        for second, count in recent:
            if too_many <= 0.0:
                break
            too_many -= count
            wait_s = second + 1.0 + MINUTE_S - now_s
        return wait_s

    def _end_period(self, now_s: float) -> None:
        if self._budget is not None:
            taken = (self._period_sent - self._period_refused) * MINUTE_S / PERIOD_S
            if self._period_refused <= SHARE_THAT_DOES_NOT * self._period_sent:
                if taken >= USED_SHARE * self._budget.per_minute:
                    step = min(LARGEST_RAISE, FIRST_RAISE * 2.0 ** max(0, self._raises - PATIENT_RAISES))
                    self._budget.change(self._budget.per_minute * (1.0 + step), now_s)
                    self._raises += 1
            else:
                self._raises = 0
                if self._too_many() and 1.0 <= taken < self._budget.per_minute:
                    self._budget.change(taken, now_s)
        self._period_end_s = now_s + PERIOD_S
        self._period_sent = self._period_refused = 0

    def _too_many(self) -> bool:
        return self._period_refused >= max(LEAST_THAT_COUNT, SHARE_THAT_COUNTS * self._period_sent)

    def _figure(self, sent_s: float, retry_after_s: float | None) -> float:
        if retry_after_s is None or retry_after_s >= SHORT_PAUSE_S or sent_s - self._first_s >= MINUTE_S:
            return float(max(1, self._most_in_a_minute()))
        assert self._first_refused_s is not None
        since_s = self._first_s
        if sent_s - self._first_refused_s >= SETTLED_S:
            since_s = math.ceil(self._first_refused_s)
        taken = sum(count for second, count in self._by_second.items() if second >= int(since_s))
        return max(1.0, taken * MINUTE_S / max(1.0, sent_s - since_s))

    def _most_in_a_minute(self) -> int:
        most = within = oldest = 0
        seconds = list(self._by_second.items())
        for second, count in seconds:
            within += count
            while seconds[oldest][0] <= second - MINUTE_S:
                within -= seconds[oldest][1]
                oldest += 1
            most = max(most, within)
        return most
