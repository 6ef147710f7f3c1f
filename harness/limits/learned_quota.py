"""Learns a quota that no one states: how many requests a minute a provider takes, from what it refuses.
Arithmetic.

Only refusals that speak of a rate count: those that ask for a long pause, and those sent with few calls in
flight while others are served. (Refusals of calls beyond a number in flight are the window's affair; those of
a time in which nobody is served say nothing of either.) Three in a row, or a good share of all, mean that we
are too fast. The most that was taken in any recent minute is then the best figure there is, and calls are
paced by it from then on. Where a good share of half a minute's requests is refused, what that half minute
took is the figure, for the minutes before may have drawn on savings. Where the provider asks for a short
pause only, before a minute has passed, it counts by the second, and the pace so far is the figure: soon that
since the first refusal, as there may have been savings before. Half a minute in which it was used with hardly
a refusal raises it by 0.5 %, after two minutes of that by twice as much each time: a figure that was too low,
or a quota that was raised, is found.

A figure is found by overrunning it, and a provider that counts over a sliding minute gives nothing back
before that burst is a minute old. So for a minute nothing is sent that would be more than the figure in the
last minute by our own count, but for one request when the pause is over that the provider asked for: taken
although that minute is full, it says that the provider counts otherwise. A single refusal that asks for a
long pause is treated so, too: a request taken just when our count says that there is room again makes of the
suspicion a figure.

Where fewer calls in flight do not help, or calls fail that are sent with few, a quota is only suspected, and
is tested: calls are sent at half the pace at which they were taken. If about as many of them are refused as
before, the pace is not the cause, and there is no quota. Otherwise the pace is doubled until calls are
refused again, and what is taken then is the figure. A pace that is not reached without a refusal is no
limit. A figure that is lowered, and at which as many calls are refused as before, is forgotten, too.

A provider that counts by the minute takes something again once nothing was taken for a minute. So what was
learned in a longer silence is forgotten. Two shorter silences, each after about as many requests in a minute,
make a figure even where no pause is asked for."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.limits.token_bucket import MINUTE_S, TokenBucket

IN_A_ROW = 3
SHARE_THAT_COUNTS, LEAST_THAT_COUNT = 0.05, 10  # of all that was sent in a period
SHARE_THAT_DOES_NOT = 0.005
USED_SHARE = 0.8
LEAST_SENT = 20  # calls of a period, for its share of refusals
PERIOD_S = 30.0
RECENT_S = 180.0  # a quota that was lowered is noticed after so long
# a provider that counts by the minute asks for longer ones, unless the minute is nearly over
SHORT_PAUSE_S = 5.0
SETTLED_S = 3.0
LEAST_SUSPECTED = 60  # a minute: of fewer, any moment may seem the one when room was made
FIRST_RAISE, LARGEST_RAISE = 0.005, 0.5
PATIENT_RAISES = 4  # before the figure is taken for too low
SILENCE_S = MINUTE_S + 1.5  # no quota a minute lasts longer; the rest is rounding and the way there and back
SILENCE_LEAST_S = 5.0  # shorter ones come by chance where many calls fail
TESTED_PACE = 0.5  # of the pace at which calls were taken
TAKEN_S = 5.0  # that pace is of so many seconds: savings of earlier ones may be spent
TESTED_CALLS, TESTED_S = 16, 4.0  # a step of a test has at least so many calls, and lasts at least so long
TESTED_LEAST = 32.0  # a minute, so that a step ends within half a minute
NOT_LOWERED = 0.5  # of the share of refusals before
HARDLY_REFUSED = 0.02
# why a figure is forgotten
TOO_LONG = "calls were refused for longer than a quota per minute can explain"
NOT_THE_CAUSE = "as many calls were refused at a slower pace"
NO_LIMIT_MET = "no call was refused at any pace"
UNTESTED = "no call was served during the test"
LONG_PAUSE = "the provider asked for a long pause during the test"
ALIKE = 0.2  # two silences' counts of requests differ by no more of the larger one


class _Trial(NamedTuple):
    """A request sent when the asked pause was over. full: the figure or more were sent in the minute before;
    just_freed: no more, but up to a second earlier."""

    sent_s: float
    full: bool
    just_freed: bool


class _Test(NamedTuple):
    """A step of the test of a suspected quota: calls at one pace.

    share   of calls that were refused before the test"""

    share: float
    begin_s: float
    is_first: bool = True
    sent: int = 0
    refused: int = 0


class LearnedQuota:
    """Takes every request sent, taken and refused; paces once it has a figure.

    changes     how often the figure was set, changed or forgotten
    forgotten   why the last figure was forgotten"""

    def __init__(self) -> None:
        self._by_second: dict[int, int] = {}  # requests sent in it and not refused, in order of time
        self._first_s = 0.0
        self._first_refused_s: float | None = None
        self._in_row = 0
        self._period_end_s = float("-inf")
        self._period_sent = self._period_refused = 0
        self._last_share = 0.0
        self._raises = 0  # in a row
        # of refusals in the period after which the figure was last lowered, if calls are still refused
        self._lowered_at_share: float | None = None
        self._looking_back_until_s = float("-inf")
        self._trial_at_s = float("inf")
        self._trial: _Trial | None = None
        self._suspected = 0.0
        self._budget: TokenBucket | None = None
        self._before_silence: float | None = None
        self._silence: tuple[float, float] | None = (
            None  # the last short one: when it began, requests a minute
        )
        self._set_s = float("-inf")
        self._test: _Test | None = None
        self._tested_s = float("-inf")  # until then only whole periods change the figure of a test
        self.changes = 0
        self.forgotten = ""

    @property
    def per_minute(self) -> float | None:
        """Returns the learned quota; None as long as none was learned."""
        return self._budget.per_minute if self._budget else None

    @property
    def is_tested(self) -> bool:
        """Returns whether the figure is the pace of a test, and not yet learned."""
        return self._test is not None

    def wait_s(self, now_s: float) -> float:
        """Returns the seconds until the next request may be sent."""
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
        if self._test is not None:
            self._take_test(self._test._replace(sent=self._test.sent + 1), now_s)
        if now_s >= self._trial_at_s:
            self._begin_trial(now_s)

    @property
    def share_refused(self) -> float:
        """Returns the share of calls that were refused in the last period or, if it is larger, in this one; 0
        while no quota is learned."""
        if self._budget is None:
            return 0.0
        return max(self._last_share, self._period_refused / max(LEAST_SENT, self._period_sent))

    def suspect(self, *, share: float, now_s: float) -> None:
        """Begins to test if there is a quota. share: of the calls that are refused now."""
        if self._budget is not None:
            return
        seconds = min(TAKEN_S, max(1.0, now_s - self._first_s))
        taken = sum(count for second, count in self._by_second.items() if second >= now_s - seconds)
        self._test = _Test(share, now_s)
        self._set(max(TESTED_LEAST, TESTED_PACE * taken * MINUTE_S / seconds), now_s)

    def _take_test(self, test: _Test, now_s: float) -> None:
        """Takes the counts of the present step, and ends it if they suffice."""
        self._test = test
        seconds = now_s - test.begin_s
        if self._budget is None or test.sent < TESTED_CALLS or seconds < TESTED_S:
            return
        share, pace = test.refused / test.sent, test.sent * MINUTE_S / seconds
        if test.is_first and share >= NOT_LOWERED * test.share:
            self._forget_tested(NOT_THE_CAUSE, now_s)
        elif test.is_first:
            self._next_step(self._budget.per_minute, now_s)
        elif share > HARDLY_REFUSED:
            self._end_test((1.0 - share) * pace, now_s)
        elif pace >= USED_SHARE * self._budget.per_minute:
            self._next_step(2.0 * self._budget.per_minute, now_s)
        else:
            self._forget_tested(NO_LIMIT_MET, now_s)

    def stop_test(self, now_s: float) -> None:
        """Ends a test, because no call is served: the pace of the step before the present one is the figure,
        if there was one."""
        if self._test is not None and self._budget is not None:
            if self._test.is_first:
                self._forget_tested(UNTESTED, now_s)
            else:
                self._end_test(self._budget.per_minute / 2.0, now_s)

    def _forget_tested(self, why: str, now_s: float) -> None:
        self._test, self.forgotten = None, why
        self._set(None, now_s)

    def _end_test(self, per_minute: float, now_s: float) -> None:
        self._test = None
        self._set(per_minute, now_s)
        # a minute that holds slower paces says nothing of what can be taken in one
        self._set_s, self._tested_s = now_s, now_s + MINUTE_S

    def _next_step(self, pace: float, now_s: float) -> None:
        """Begins the next step of a test at this pace."""
        self._test = _Test(0.0, now_s, is_first=False)
        self._set(pace, now_s)

    def taken(self, *, sent_s: float) -> None:
        """Takes a request sent then that was not refused."""
        self._in_row = 0
        if self._trial is None or sent_s != self._trial.sent_s:
            return
        trial, self._trial = self._trial, None
        if self._budget is None and trial.just_freed:
            self._set(self._suspected, sent_s)
        elif self._budget is None or trial.full:
            self._looking_back_until_s = float("-inf")

    def refused(self, *, sent_s: float, now_s: float, retry_after_s: float | None, of_rate: bool) -> None:
        """Takes a request sent then that was refused. of_rate: it is known to be too fast, not one too many
        at once."""
        second = int(sent_s)
        if self._by_second.get(second):
            self._by_second[second] -= 1
        long_pause = retry_after_s is not None and retry_after_s >= SHORT_PAUSE_S
        if self._test is not None:
            if not of_rate and not long_pause:
                if sent_s > self._test.begin_s:
                    self._test = self._test._replace(refused=self._test.refused + 1)
                    self._period_refused += 1
                return
            self._forget_tested(LONG_PAUSE, now_s)  # the provider's words say more than the test
        if self._budget is None and not of_rate and not long_pause:
            return
        if sent_s <= self._set_s:  # it was in flight when the first figure was set: the same trouble
            return
        self._in_row += 1
        self._period_refused += 1
        if self._first_refused_s is None:
            self._first_refused_s = sent_s
        if self._budget is not None and now_s < self._tested_s:
            return
        figure = self._figure(sent_s, retry_after_s)
        if self._budget is None:
            if not of_rate and self._in_row < IN_A_ROW and not self._too_many():
                if long_pause and figure >= LEAST_SUSPECTED:
                    self._suspected = figure
                    self._look_back(now_s, retry_after_s)
                return
        elif figure >= self._budget.per_minute:
            return
        self._set(figure, now_s)
        self._look_back(now_s, retry_after_s)

    def begin_silence(self) -> None:
        """Keeps the learned quota for `end_silence`: a call failed, and it is not known whether the next ones
        will."""
        self._before_silence = None if self.is_tested else self.per_minute

    def end_silence(self, *, since_s: float, refused: bool, now_s: float) -> None:
        """Takes that a request was accepted again, the first of those sent since a moment. refused: the
        others were refused as too many."""
        self._period_end_s = now_s + PERIOD_S
        self._period_sent = self._period_refused = self._in_row = 0
        if now_s - since_s > SILENCE_S:
            self._looking_back_until_s, self._trial, self._silence = float("-inf"), None, None
            if self.per_minute != self._before_silence:
                self._test, self.forgotten = None, TOO_LONG
                self._set(self._before_silence, now_s)
        elif refused and now_s - since_s >= SILENCE_LEAST_S and (taken := self._taken_in_minute(since_s)) > 0:
            former, self._silence = self._silence, (since_s, taken)
            if (
                former is not None
                and since_s - former[0] <= RECENT_S
                and abs(taken - former[1]) <= ALIKE * max(taken, former[1])
                and (self._budget is None or taken < self._budget.per_minute)
            ):
                self._set(max(taken, former[1]), now_s)

    def _taken_in_minute(self, end_s: float) -> float:
        return float(
            sum(count for second, count in self._by_second.items() if end_s - MINUTE_S <= second <= end_s)
        )

    def _set(self, per_minute: float | None, now_s: float) -> None:
        self.changes += 1
        if per_minute is None:
            self._budget = None
        elif self._budget is None:
            self._budget = TokenBucket(per_minute, now_s)
            self._set_s = now_s
        else:
            self._budget.change(per_minute, now_s)

    def _look_back(self, now_s: float, retry_after_s: float | None) -> None:
        """Begins a minute in which waits also follow from the requests of the minute before them, with one
        trial when the pause is over."""
        self._looking_back_until_s = now_s + MINUTE_S + 1.0
        self._trial_at_s = now_s + (retry_after_s if retry_after_s is not None else float("inf"))
        self._trial = None

    def _begin_trial(self, now_s: float) -> None:
        """Takes the request that was just sent as the trial."""
        start_s, figure = now_s - MINUTE_S, self.per_minute or self._suspected
        before = sum(count for second, count in self._by_second.items() if second > start_s) - 1
        just_left = sum(
            count for second, count in self._by_second.items() if start_s - 1.0 < second <= start_s
        )
        self._trial = _Trial(now_s, full=before >= figure, just_freed=before < figure <= before + just_left)
        self._trial_at_s = float("inf")

    def _look_back_s(self, now_s: float) -> float:
        """Returns the seconds until the last minute, by whole seconds, holds fewer requests than the figure;
        0 or less if it does."""
        if now_s >= self._trial_at_s:
            return 0.0
        too_many = sum(self._by_second.values()) + 1.0 - (self.per_minute or self._suspected)
        wait_s = 0.0
        for second, count in self._by_second.items():  # those more than a minute old go first, and at once
            if too_many <= 0.0:
                break
            too_many -= count
            wait_s = second + 1.0 + MINUTE_S - now_s
        return wait_s

    def _end_period(self, now_s: float) -> None:
        if self._budget is not None and self._test is None:
            taken = (self._period_sent - self._period_refused) * MINUTE_S / PERIOD_S
            if self._period_refused <= SHARE_THAT_DOES_NOT * self._period_sent:
                self._lowered_at_share = None
                if taken >= USED_SHARE * self._budget.per_minute:
                    step = min(LARGEST_RAISE, FIRST_RAISE * 2.0 ** max(0, self._raises - PATIENT_RAISES))
                    self._set(self._budget.per_minute * (1.0 + step), now_s)
                    self._raises += 1
            else:
                self._raises = 0
                # a period in which hardly anything was sent, as a burst before it is still to be paid for,
                # says nothing
                used = self._period_sent * MINUTE_S / PERIOD_S >= USED_SHARE * self._budget.per_minute
                if used and self._too_many() and 1.0 <= taken < self._budget.per_minute:
                    share, former = self._period_refused / self._period_sent, self._lowered_at_share
                    is_cause = former is None or share < NOT_LOWERED * former
                    self._lowered_at_share = share if is_cause else None
                    self.forgotten = NOT_THE_CAUSE
                    self._set(taken if is_cause else None, now_s)
        self._period_end_s = now_s + PERIOD_S
        self._last_share = self._period_refused / max(LEAST_SENT, self._period_sent)
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
