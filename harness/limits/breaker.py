"""Tells a time in which a provider serves no one, and how long to pause between probes. Arithmetic.

A circuit breaker (Nygard, Release It!, 2007): after several failures in a row no call is sent for a while,
then one call probes. A probe that fails is followed by a longer pause, a call that is served ends the outage.
Only calls sent after the first failure was known count: those in flight then met the same trouble. Only a
call sent after the first failed one ends an outage: earlier ones were admitted before."""

from __future__ import annotations

FAILURES_IN_ROW = 8  # at a failure share of 20 % they come by chance once in 400,000 calls
FAILED_SHARE = 0.7  # of the calls sent since the first failure; others may be about to be served
FIRST_PAUSE_S = 2.0
# an outage's end is noticed within the first value; after the time between, a provider is asked once a minute
# only
LONGEST_PAUSE_S = 15.0
LONG_OUTAGE_S = 300.0
LONG_OUTAGE_PAUSE_S = 60.0


class Breaker:
    """Takes the failures and services of one gate.

    open             whether nobody is served; one call at a time may probe
    silent_since_s   when the first failure came after which no call was served; None: the last answer was
                     good
    opened_s         when the last pause began
    in_row           failures in a row: the first, and those sent after it was known"""

    def __init__(self) -> None:
        self.open = False
        self.silent_since_s: float | None = None
        self.opened_s = float("-inf")
        self._first_sent_s = 0.0
        self._sent_before = 0
        self.in_row = 0
        self._pause_s = FIRST_PAUSE_S

    def served(self, sent_s: float) -> float | None:
        """Takes a served call sent then; returns when the silence began that it ended, None if it ended
        none."""
        if self.silent_since_s is None or sent_s < self._first_sent_s:
            return None
        since_s, self.silent_since_s = self.silent_since_s, None
        self.open = False
        self.in_row = 0
        self._pause_s = FIRST_PAUSE_S
        return since_s

    def failed(self, *, sent_s: float, sent_calls: int, now_s: float) -> float | None:
        """Takes a call sent then that was refused or not served; returns how long to pause, None: not yet.

        sent_calls   calls sent so far, by which the breaker knows how many were sent since the first
                     failure"""
        if self.silent_since_s is None:
            self.silent_since_s, self._first_sent_s, self.in_row = now_s, sent_s, 1
            self._sent_before = sent_calls
        elif sent_s > max(self.silent_since_s, self.opened_s):
            self.in_row += 1
        else:
            return None
        if not self.open and (
            self.in_row < FAILURES_IN_ROW or self.in_row <= FAILED_SHARE * (sent_calls - self._sent_before)
        ):
            return None
        self.open, self.opened_s = True, now_s
        if now_s - self.silent_since_s >= LONG_OUTAGE_S:
            return LONG_OUTAGE_PAUSE_S
        pause_s, self._pause_s = self._pause_s, min(2.0 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s
