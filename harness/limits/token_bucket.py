"""A token bucket for a quota a minute: how long to wait before spending, and what was really spent.
Arithmetic; time is an argument.

The bucket is small on purpose: providers count in windows of their own phase, and some enforce a minute's
quota by the second. b requests at once and then one every w / (quota - b + 1) seconds are at most the quota
in any w seconds; with w = 60 s + jitter no window of 60 s at the provider holds more, whatever its phase,
although one request may arrive later than another by up to the jitter."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_S = 60.0
JITTER_S = 0.5  # by so much one request may arrive later than another; a slow mobile network's round trip
RESET_ROUNDING_S = 1.5  # some providers report resets in whole seconds, each rounded its own way
# of the quota; what is left of it, less the jitter, is what steady use reaches: 98.7 % and more
BURST_SHARE = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReport:
    """A provider's report of one of its quotas; None for a part that it does not report.

    limit      a minute
    remaining  how much is left
    reset_s    seconds until all of it is back"""

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


class TokenBucket:
    """One quota. Costs are in its unit: requests or tokens.

    jitter_s   by so much one request may arrive later than another"""

    def __init__(self, per_minute: float, now_s: float, *, jitter_s: float = JITTER_S) -> None:
        self._quota = per_minute
        self._period_s = MINUTE_S + jitter_s
        self._level = self._burst
        self._at = now_s
        self._allowance: float | None = None  # what the provider's last report left, until its reset
        self._allowance_until = now_s
        self._reported_s = now_s
        self._reported_sent_s = float("-inf")
        self._coming_back = 1.0  # what the provider counts as spent, and gives back until then
        self._gradual = False  # whether it gives that back bit by bit
        self._reset_at_s: float | None = None
        self._reset_remaining = 0.0

    @property
    def per_minute(self) -> float:
        return self._quota

    @property
    def _burst(self) -> float:
        return max(1.0, BURST_SHARE * self._quota)

    @property
    def _refill_per_s(self) -> float:
        return (self._quota - self._burst + 1.0) / self._period_s

    def wait_s(self, cost: float, now_s: float) -> float:
        """Returns the seconds until so much may be spent. More than the burst may be spent once the bucket is
        full: it then owes."""
        self._advance(now_s)
        missing = min(cost, self._burst) - self._level
        wait_s = missing / self._refill_per_s if missing > 1e-9 else 0.0
        if self._allowance is not None and self._allowance < cost:
            wait_s = max(wait_s, self.reported_wait_s(cost, now_s))
        return wait_s

    def reported_wait_s(self, cost: float, now_s: float) -> float:
        """Returns the seconds until the provider's last report leaves so much; 0 if it does so now."""
        if self._allowance is None or self._allowance >= cost:
            return 0.0
        until_s = self._allowance_until
        if self._gradual:
            share = min(1.0, (cost - self._allowance) / self._coming_back)
            until_s = self._reported_s + share * (until_s - self._reported_s)
        return until_s - now_s

    def spend(self, cost: float, now_s: float) -> None:
        """Spends, whether or not the bucket holds as much."""
        self._advance(now_s)
        self._level -= cost
        if self._allowance is not None:
            self._allowance -= cost

    def settle(self, estimate: float, actual: float) -> None:
        """Corrects an earlier spending by what the provider reported."""
        self._level = min(self._burst, self._level + estimate - actual)

    def change(self, per_minute: float, now_s: float) -> None:
        """Sets another quota from now on."""
        self._advance(now_s)
        self._quota = per_minute
        self._level = min(self._level, self._burst)

    def take_report(self, report: QuotaReport, *, spent_since: float, sent_s: float, now_s: float) -> bool:
        """Takes a report; True if it changed the quota.

        spent_since   by calls that were sent after the one that brought the report, which may not count them
                      in `remaining`
        sent_s        when that call was sent; of two reports the one of the later call counts"""
        self._advance(now_s)
        changed = report.limit is not None and report.limit >= 1.0 and report.limit != self._quota
        if changed:
            assert report.limit is not None
            self.change(report.limit, now_s)
        if report.remaining is not None and report.reset_s is not None and sent_s >= self._reported_sent_s:
            self._reported_sent_s = sent_s
            self._learn_law(report.remaining, now_s + report.reset_s)
            self._allowance = report.remaining - spent_since
            self._reported_s, self._allowance_until = now_s, now_s + report.reset_s
            self._coming_back = max(1.0, self._quota - report.remaining)
        return changed

    def _learn_law(self, remaining: float, reset_at_s: float) -> None:
        """Learns whether spendings come back all at once or gradually: a reset that moves on, with nothing
        back, is no window's end."""
        if self._reset_at_s is None or reset_at_s > self._reset_at_s + RESET_ROUNDING_S:
            self._gradual = (
                self._reset_at_s is not None and remaining < (self._reset_remaining + self._quota) / 2
            )
            self._reset_at_s, self._reset_remaining = reset_at_s, remaining

    def _advance(self, now_s: float) -> None:
        self._level = min(self._burst, self._level + (now_s - self._at) * self._refill_per_s)
        self._at = now_s
        if self._allowance is not None and now_s >= self._allowance_until:
            self._allowance = None
