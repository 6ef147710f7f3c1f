"""The provider's side of its quotas: what is admitted, how long a refused request must wait, what the headers
report.

Knows three laws (sliding window, fixed windows, token bucket) and the account that joins them; arithmetic
only, the caller passes the time. The emulator on a socket and the simulated provider both use it, so that a
quota means the same in both. Keeps: what is admitted in any window that the law names is within the quota.
`wait_s` is exact: no earlier moment admits the request if nothing else is admitted meanwhile. A cost that is
unknown on arrival is settled when the reply is known; the sum may then exceed the quota until the window has
passed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from harness.core.emulation import Quotas

ROUNDING = 1e-9  # sums of floats that exceed the quota by less are rounding errors


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """The state of one quota as headers report it: the limit, what remains, and seconds until all of it is
    available again."""

    limit: float
    remaining: float
    reset_s: float


class QuotaLaw(Protocol):
    """One quota under one law. `set_quota` changes the quota from now on."""

    def wait_s(self, cost: float, now_s: float) -> float: ...
    def take(self, cost: float, now_s: float) -> None: ...
    def state(self, now_s: float) -> QuotaState: ...
    def set_quota(self, quota: float, now_s: float) -> None: ...


class SlidingWindow:
    """A quota that no window of this length, whatever its phase, exceeds."""

    def __init__(self, quota: float, window_s: float) -> None:
        self._quota = quota
        self._window_s = window_s
        self._taken: deque[tuple[float, float]] = deque()  # (second at which it stops counting, cost)
        self._sum = 0.0

    def wait_s(self, cost: float, now_s: float) -> float:
        """Returns seconds until the cost fits; a cost above the whole quota fits into an empty window."""
        self._expire(now_s)
        excess = self._sum + min(cost, self._quota) - self._quota
        if excess <= ROUNDING:
            return 0.0
        for until_s, taken in self._taken:
            excess -= taken
            if excess <= ROUNDING:
                return until_s - now_s
        return self._window_s

    def take(self, cost: float, now_s: float) -> None:
        self._taken.append((now_s + self._window_s, cost))
        self._sum += cost

    def state(self, now_s: float) -> QuotaState:
        self._expire(now_s)
        reset_s = self._taken[-1][0] - now_s if self._taken else 0.0
        return QuotaState(limit=self._quota, remaining=max(0.0, self._quota - self._sum), reset_s=reset_s)

    def set_quota(self, quota: float, now_s: float) -> None:
        self._quota = quota

    def _expire(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s:
            self._sum -= self._taken.popleft()[1]


class FixedWindows:
    """A quota for each of a series of windows; the first begins at `phase_s`."""

    def __init__(self, quota: float, window_s: float, phase_s: float) -> None:
        self._quota = quota
        self._window_s = window_s
        self._phase_s = phase_s
        self._number: float | None = None
        self._sum = 0.0

    def wait_s(self, cost: float, now_s: float) -> float:
        """Returns seconds until the cost fits: 0, or the time to the next window."""
        self._advance(now_s)
        fits = self._sum + min(cost, self._quota) <= self._quota + ROUNDING
        return 0.0 if fits else self._remaining_s(now_s)

    def take(self, cost: float, now_s: float) -> None:
        self._advance(now_s)
        self._sum += cost

    def state(self, now_s: float) -> QuotaState:
        self._advance(now_s)
        remaining = max(0.0, self._quota - self._sum)
        return QuotaState(limit=self._quota, remaining=remaining, reset_s=self._remaining_s(now_s))

    def set_quota(self, quota: float, now_s: float) -> None:
        self._quota = quota

    def _advance(self, now_s: float) -> None:
        number = (now_s - self._phase_s) // self._window_s
        if number != self._number:
            self._number, self._sum = number, 0.0

    def _remaining_s(self, now_s: float) -> float:
        return self._window_s - (now_s - self._phase_s) % self._window_s


class RefilledBucket:
    """A bucket that is full at first and refilled evenly: the law that OpenAI's reset headers describe."""

    def __init__(self, quota: float, window_s: float, now_s: float) -> None:
        self._quota = quota
        self._window_s = window_s
        self._level = quota
        self._at_s = now_s

    def wait_s(self, cost: float, now_s: float) -> float:
        """Returns seconds until the bucket holds the cost."""
        self._refill(now_s)
        missing = min(cost, self._quota) - self._level - ROUNDING
        return max(0.0, missing / self._per_s)

    def take(self, cost: float, now_s: float) -> None:
        self._refill(now_s)
        self._level -= cost

    def state(self, now_s: float) -> QuotaState:
        self._refill(now_s)
        reset_s = (self._quota - self._level) / self._per_s
        return QuotaState(limit=self._quota, remaining=max(0.0, self._level), reset_s=reset_s)

    def set_quota(self, quota: float, now_s: float) -> None:
        self._refill(now_s)
        self._quota, self._level = quota, min(self._level, quota)

    @property
    def _per_s(self) -> float:
        return self._quota / self._window_s

    def _refill(self, now_s: float) -> None:
        self._level = min(self._quota, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s


class QuotaAccount:
    """All quotas of one account, each under the account's law. A request is admitted by all of them or by
    none."""

    def __init__(self, quotas: Quotas, now_s: float) -> None:
        def law(quota: float) -> QuotaLaw:
            if quotas.law == "sliding":
                return SlidingWindow(quota, quotas.window_s)
            if quotas.law == "fixed":
                return FixedWindows(quota, quotas.window_s, now_s + quotas.phase_s)
            return RefilledBucket(quota, quotas.window_s, now_s)

        limits = {
            "requests": quotas.requests,
            "tokens": quotas.tokens,
            "input-tokens": quotas.input_tokens,
            "output-tokens": quotas.output_tokens,
        }
        self._limits = {kind: limit for kind, limit in limits.items() if limit is not None}
        self._laws = {kind: law(limit) for kind, limit in self._limits.items()}
        self._second_limit = max(1.0, (quotas.per_second or 0.0) * (quotas.requests or 0.0))
        self._second = (
            SlidingWindow(self._second_limit, 1.0) if quotas.per_second and quotas.requests else None
        )

    @property
    def counts_output(self) -> bool:
        return "tokens" in self._laws or "output-tokens" in self._laws

    def admit(self, *, input_tokens: float, output_tokens: float, now_s: float) -> tuple[str, float] | None:
        """Takes the cost of one request from every quota.

        returns  None; or, if a quota refuses the request, its name and the seconds after which it would admit
                 it"""
        if not self._laws:
            return None
        costs = {
            "requests": 1.0,
            "tokens": input_tokens + output_tokens,
            "input-tokens": input_tokens,
            "output-tokens": output_tokens,
        }
        waits = [(law.wait_s(costs[kind], now_s), kind) for kind, law in self._laws.items()]
        if self._second is not None:
            waits.append((self._second.wait_s(1.0, now_s), "requests a second"))
        wait_s, kind = max(waits)
        if wait_s > 0:
            return kind, wait_s
        for name, law in self._laws.items():
            law.take(costs[name], now_s)
        if self._second is not None:
            self._second.take(1.0, now_s)
        return None

    def settle(self, *, input_tokens: float, output_tokens: float, now_s: float) -> None:
        """Takes what a reply cost beyond the cost that was known when its request was admitted."""
        costs = {
            "tokens": input_tokens + output_tokens,
            "input-tokens": input_tokens,
            "output-tokens": output_tokens,
        }
        for kind, cost in costs.items():
            if kind in self._laws:
                self._laws[kind].take(cost, now_s)

    def scale(self, factor: float, now_s: float) -> None:
        """Sets every quota to this many times its first value."""
        for kind, law in self._laws.items():
            law.set_quota(factor * self._limits[kind], now_s)
        if self._second is not None:
            self._second.set_quota(factor * self._second_limit, now_s)

    def states(self, now_s: float) -> dict[str, QuotaState]:
        """Returns the state of each quota, by the name that headers use."""
        return {kind: law.state(now_s) for kind, law in self._laws.items()}
