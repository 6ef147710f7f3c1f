"""A provider's side of a quota: what a window holds, what is refused, what the headers say. Arithmetic; the caller says what time it is.

Keeps: what is admitted in any window that the law names is within the quota; `wait_s` is exact: no earlier moment would admit, if nothing
else is admitted meanwhile. A cost that was guessed at the door is settled when the answer is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from harness.core.emulation import Quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """What a provider says of one quota: a limit, what is left of it, and seconds until all of it is back."""

    limit: float
    remaining: float
    reset_s: float


class Law(Protocol):
    """One quota under one law."""

    def wait_s(self, cost: float, now_s: float) -> float: ...
    def take(self, cost: float, now_s: float) -> None: ...
    def told(self, now_s: float) -> QuotaState: ...


class Sliding:
    """No window of any phase holds more than the quota."""

    def __init__(self, quota: float, window_s: float) -> None:
        self._quota = quota
        self._window_s = window_s
        self._taken: deque[tuple[float, float]] = deque()  # when it is forgotten, and how much it was
        self._sum = 0.0

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until so much fits; more than the whole quota fits once nothing else is there."""
        self._forget(now_s)
        over = self._sum + min(cost, self._quota) - self._quota
        if over <= 1e-9:
            return 0.0
        for until_s, taken in self._taken:
            over -= taken
            if over <= 1e-9:
                return until_s - now_s
        return self._window_s

    def take(self, cost: float, now_s: float) -> None:
        self._taken.append((now_s + self._window_s, cost))
        self._sum += cost

    def told(self, now_s: float) -> QuotaState:
        self._forget(now_s)
        reset_s = self._taken[-1][0] - now_s if self._taken else 0.0
        return QuotaState(limit=self._quota, remaining=max(0.0, self._quota - self._sum), reset_s=reset_s)

    def _forget(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s:
            self._sum -= self._taken.popleft()[1]


class Fixed:
    """Windows that follow each other, each with the whole quota."""

    def __init__(self, quota: float, window_s: float, phase_s: float) -> None:
        self._quota = quota
        self._window_s = window_s
        self._phase_s = phase_s
        self._number: float | None = None
        self._sum = 0.0

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until so much fits: now, or when the next window begins."""
        self._turn(now_s)
        return 0.0 if self._sum + min(cost, self._quota) <= self._quota + 1e-9 else self._left_s(now_s)

    def take(self, cost: float, now_s: float) -> None:
        self._turn(now_s)
        self._sum += cost

    def told(self, now_s: float) -> QuotaState:
        self._turn(now_s)
        return QuotaState(
            limit=self._quota, remaining=max(0.0, self._quota - self._sum), reset_s=self._left_s(now_s)
        )

    def _turn(self, now_s: float) -> None:
        number = (now_s - self._phase_s) // self._window_s
        if number != self._number:
            self._number, self._sum = number, 0.0

    def _left_s(self, now_s: float) -> float:
        return self._window_s - (now_s - self._phase_s) % self._window_s


class Bucket:
    """Full at first and refilled evenly: what OpenAI's reset headers describe."""

    def __init__(self, quota: float, window_s: float, now_s: float) -> None:
        self._quota = quota
        self._per_s = quota / window_s
        self._level = quota
        self._at_s = now_s

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until so much has flowed in."""
        self._flow(now_s)
        return max(0.0, (min(cost, self._quota) - self._level - 1e-9) / self._per_s)

    def take(self, cost: float, now_s: float) -> None:
        self._flow(now_s)
        self._level -= cost

    def told(self, now_s: float) -> QuotaState:
        self._flow(now_s)
        return QuotaState(
            limit=self._quota,
            remaining=max(0.0, self._level),
            reset_s=(self._quota - self._level) / self._per_s,
        )

    def _flow(self, now_s: float) -> None:
        self._level = min(self._quota, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s


class Ledger:
    """All quotas of one account: what a request asks of each is refused or taken as one."""

    def __init__(self, quotas: Quotas, now_s: float) -> None:
        def law(quota: float) -> Law:
            if quotas.law == "sliding":
                return Sliding(quota, quotas.window_s)
            if quotas.law == "fixed":
                return Fixed(quota, quotas.window_s, now_s + quotas.phase_s)
            return Bucket(quota, quotas.window_s, now_s)

        kinds = {
            "requests": quotas.requests,
            "tokens": quotas.tokens,
            "input-tokens": quotas.input_tokens,
            "output-tokens": quotas.output_tokens,
        }
        self._laws = {kind: law(quota) for kind, quota in kinds.items() if quota is not None}
        self._second = (
            Sliding(max(1.0, quotas.per_second * quotas.requests), 1.0)
            if quotas.per_second and quotas.requests
            else None
        )

    @property
    def counts_output(self) -> bool:
        return "tokens" in self._laws or "output-tokens" in self._laws

    def admit(self, *, input_tokens: float, output_tokens: float, now_s: float) -> tuple[str, float] | None:
        """Takes one request, or says which quota it breaks and how many seconds from now it would not."""
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

    def settle(self, output_tokens: float, now_s: float) -> None:
        """Takes what a reply cost that was let in before its length was known."""
        for kind in ("tokens", "output-tokens"):
            if kind in self._laws:
                self._laws[kind].take(output_tokens, now_s)

    def told(self, now_s: float) -> dict[str, QuotaState]:
        """What the account's headers say, by quota."""
        return {kind: law.told(now_s) for kind, law in self._laws.items()}
