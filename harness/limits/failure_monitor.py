"""Tells a share of failures above a method's usual one from chance. Arithmetic.

Random errors say nothing of load: a few of a hundred calls fail at some providers all day. Page's cumulative
sum adds for each call the logarithm of how much more likely it is at a raised share of failures than at the
usual one, and never falls below 0; the sum passes a threshold after some failures in quick succession, and
hardly ever by chance. Source: Page, Continuous Inspection Schemes, Biometrika 41 (1954); the sum of
log-likelihood ratios is the optimal test (Moustakides 1986)."""

from __future__ import annotations

from math import log

USUAL_LEAST = 0.01  # less is not believed: errors come in bursts, and a pair of them says nothing
FIRST_WEIGHT = 100.0  # calls that the value above counts for at first
MEMORY = 2_000.0  # calls; of more than these, older ones count half
FALSE_ALARM = 1e-4  # a call's chance to raise one at the usual share is at most about that
THRESHOLD = -log(FALSE_ALARM)
RAISED_NEAR_LIMIT = 5.0  # times the usual share; one call too many at a quick provider makes some 10 % fail


class FailureMonitor:
    """Takes the calls of one gate as they are sent, and those of them that fail.

    A call counts as served from the moment it is sent until it fails: refusals are known within milliseconds
    and services after seconds, so that by their answers alone the last seconds would seem to hold nothing but
    failures. A failure while the sum is 0 begins a run, which lasts until the sum is 0 again. Its failures
    and the calls that were sent in it count for the usual share only when it is over.

    near_limit   set where failures have become more frequent before: a smaller rise is evidence there"""

    def __init__(self) -> None:
        self._calls = FIRST_WEIGHT
        self._failures = USUAL_LEAST * FIRST_WEIGHT
        self._sum = 0.0
        self._step_served = 0.0
        self._run_calls = 0
        self._run_failures = 0
        self._in_flight = 0  # when the run began, the call that failed included
        self.near_limit = False

    @property
    def usual(self) -> float:
        """The usual share of failures."""
        return max(USUAL_LEAST, self._failures / self._calls)

    @property
    def quiet(self) -> bool:
        """True if the sum is 0: the last calls are as usual."""
        return self._sum == 0.0

    def share(self, served_from_before: int) -> float:
        """Returns failures in the run for each call that was sent in it or served in it, at most 1. Calls
        that were sent before the run and are not answered do not count: nobody knows if they fail.

        served_from_before   calls that were sent before the run and served in it"""
        return min(1.0, self._run_failures / (1 + self._run_calls + served_from_before))

    @property
    def counts(self) -> tuple[int, int]:
        """The failures in the run, and the calls that were in flight when it began or were sent since."""
        return self._run_failures, self._run_calls + self._in_flight

    def sent(self) -> None:
        if self._sum == 0.0:
            self._calls += 1.0
            return
        self._run_calls += 1
        self._sum -= self._step_served
        if self._sum <= 0.0:
            self._calls += self._run_calls
            self._failures += self._run_failures
            if self._calls > MEMORY:
                self._calls /= 2.0
                self._failures /= 2.0
            self.reset()

    def failed(self, in_flight: int) -> bool:
        """Takes a failed call; returns whether failures are significantly more frequent than usual.

        in_flight   calls in flight when it failed, itself included"""
        usual = self.usual
        # the raised share is halfway to certain failure: below some 15 % failures cost less than fewer calls
        # would
        raised = (1.0 + usual) / 2.0
        if self.near_limit:
            raised = min(raised, RAISED_NEAR_LIMIT * usual)
        self._step_served = log((1.0 - usual) / (1.0 - raised))
        if self._sum == 0.0:
            self._in_flight = in_flight
            self._sum = log(raised / usual)
        else:
            self._sum += log(raised / usual) + self._step_served
        self._run_failures += 1
        return self._sum >= THRESHOLD

    def accept(self, share: float) -> None:
        """Takes a share of failures as the usual one."""
        self._calls = FIRST_WEIGHT
        self._failures = share * FIRST_WEIGHT
        self.reset()

    def reset(self) -> None:
        """Drops the run; the usual share stays."""
        self._sum = 0.0
        self._run_calls = self._run_failures = self._in_flight = 0
