"""Keeps a sweep within its budget, and stops all methods at the same place.

Knows what calls cost so far, how far every lane has come and how many turns its episodes take; nothing of
quotas. Keeps: no lane begins an episode beyond the stop share, the share of its plan that all lanes it is
compared with can be expected to reach within the budget; what was begun is played to its end. The stop share
is computed again as costs and lengths are learned. Where episodes cost more than expected the budget holds
all the same: once it is spent no call is made, calls in flight are answered, episodes stay pending. Does not
promise: to stop in the middle of a call, or to count what providers do not report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import anyio

from harness.core.errors import BudgetSpent
from harness.core.protocols import Clock
from harness.limits.admission import CallGate

Kind = Literal["calls", "tokens", "cost_usd"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RECOMPUTED_S = 1.0  # a stop share is at most so old; a computation takes milliseconds
FIRST_SHARE = 0.01  # of a lane's plan may be begun before it is known what an episode costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The amounts that may be spent; None: no limit. wall_s counts from the beginning of this run, the others
    over all runs."""

    calls: float | None = None
    tokens: float | None = None
    cost_usd: float | None = None
    wall_s: float | None = None


@dataclass(slots=True)
class Spending:
    """The cost of the calls so far."""

    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def add(self, calls: int, tokens: int, cost_usd: float) -> None:
        self.calls += calls
        self.tokens += tokens
        self.cost_usd += cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The methods and lanes that an allowance concerns.

    name    as a person reads it: "the sweep", "m/a"
    payers  the methods whose calls are paid from it
    lanes   those that stop at its stop share: the payers' own, and those they are compared with"""

    name: str
    allowance: Allowance
    payers: frozenset[str]
    lanes: frozenset[str]


@dataclass(slots=True, kw_only=True)
class LaneProgress:
    """The progress of one lane.

    planned         all of its episodes
    begun           of these, in earlier runs too; begun_now: in this one
    turns_typical   turns of an episode, until one has ended
    ended, turns, squares, seconds   episodes that ended in this run; sums over them of turns, of squared
                                     turns, of durations
    feeding         whether it may begin further episodes"""

    methods: tuple[str, ...]
    planned: int
    begun: int
    turns_typical: float
    begun_now: int = 0
    ended: int = 0
    turns: float = 0.0
    squares: float = 0.0
    seconds: float = 0.0
    feeding: bool = True

    @property
    def variance(self) -> float:
        """Returns the variance of the number of turns of an episode."""
        if self.ended < 2:
            return self.turns_typical**2
        return max(0.0, self.squares / self.ended - (self.turns / self.ended) ** 2)

    def episodes_at(self, share: float) -> int:
        """Returns how many it will have begun in this run when it has begun this share of its plan."""
        return self.begun_now + (max(0, math.floor(share * self.planned) - self.begun) if self.feeding else 0)


@dataclass(slots=True, kw_only=True)
class _Account:
    """A scope, what was spent of its allowance, and its stop share."""

    scope: Scope
    total: Spending
    stop_share: float = 1.0
    computed_s: float = float("-inf")

    def exhausted(self) -> Kind | None:
        for kind in KINDS:
            limit = getattr(self.scope.allowance, kind)
            if limit is not None and getattr(self.total, kind) >= limit:
                return kind
        return None

    def describe(self, kind: Kind) -> str:
        total, limit = getattr(self.total, kind), getattr(self.scope.allowance, kind)
        if kind == "cost_usd":
            return f"{total:.2f} of {limit:.2f} USD"
        return f"{total:,.0f} of {limit:,.0f} {kind}"

    def describe_all(self) -> str:
        parts = [self.describe(kind) for kind in KINDS if getattr(self.scope.allowance, kind) is not None]
        if self.scope.allowance.wall_s is not None:
            parts.append(f"{self.scope.allowance.wall_s:g} s")
        return ", ".join(parts)


class SpendingBudget:
    """See the module's header.

    lanes   lane -> how far it has come
    spent   method -> what its calls cost in earlier runs, as far as it counts
    used_s  seconds of wall_s that this run has used before
    gates   method -> its gate, closed once none of its methods may call any more

    exhausted   method -> why it may make no more calls"""

    def __init__(
        self,
        scopes: Sequence[Scope],
        *,
        lanes: Mapping[str, LaneProgress],
        spent: Mapping[str, Spending],
        gates: Mapping[str, CallGate],
        clock: Clock,
        used_s: float = 0.0,
    ) -> None:
        self._accounts = [
            _Account(scope=scope, total=_sum(spent[one] for one in scope.payers if one in spent))
            for scope in scopes
        ]
        self._lanes = lanes
        self._gates = gates
        self._clock = clock
        self._began_s = clock.now()
        self._used_s = used_s
        self._spent = {name: Spending() for name in gates}
        self.exhausted: dict[str, str] = {}
        self._changed = anyio.Event()
        self._waiting: set[str] = set()

    @classmethod
    def unlimited(cls, clock: Clock) -> SpendingBudget:
        """Returns a budget without a limit, which counts nothing."""
        return cls((), lanes={}, spent={}, gates={}, clock=clock)

    @property
    def used_s(self) -> float:
        """Returns the seconds of wall_s that this run has used."""
        return self._used_s + self._clock.now() - self._began_s

    # --- calls ----------------------------------------------------------------------------------------------

    def may_call(self, method: str) -> None:
        """raises  BudgetSpent if this method may make no more calls"""
        if (reason := self.exhausted.get(method)) is not None:
            raise BudgetSpent(reason)

    def begin_call(self, method: str) -> None:
        """Counts a call that is sent."""
        if self._accounts:
            self.pay(method, 1, 0, 0.0)

    def end_call(self, method: str, *, tokens: int, cost_usd: float) -> None:
        """Counts what an answered call cost."""
        if self._accounts:
            self.pay(method, 0, tokens, cost_usd)

    def pay(self, method: str, calls: int, tokens: int, cost_usd: float) -> None:
        """Counts calls; those of other processes may come many at once."""
        self._spent[method].add(calls, tokens, cost_usd)
        for account in self._accounts:
            if method in account.scope.payers:
                account.total.add(calls, tokens, cost_usd)
                if kind := account.exhausted():
                    self._end(
                        account.scope, f"{account.scope.name} has spent its budget: {account.describe(kind)}"
                    )

    async def watch_clock(self) -> None:
        """Ends each scope when its time is over; runs as long as the sweep."""
        async with anyio.create_task_group() as tasks:
            for account in self._accounts:
                if account.scope.allowance.wall_s is not None:
                    tasks.start_soon(self._time, account.scope, account.scope.allowance.wall_s)

    async def _time(self, scope: Scope, wall_s: float) -> None:
        await self._clock.sleep(max(0.0, wall_s - self._used_s))
        self._end(scope, f"{scope.name} has used its {wall_s:g} seconds of this run")

    def _end(self, scope: Scope, reason: str) -> None:
        for method in scope.payers:
            self.exhausted.setdefault(method, reason)
        for gate in {id(gate): gate for gate in self._gates.values()}.values():
            if all(method in self.exhausted for method, other in self._gates.items() if other is gate):
                gate.close(BudgetSpent(reason))

    # --- episodes -------------------------------------------------------------------------------------------

    async def wait_until_affordable(self, lane: str) -> None:
        """Waits until the lane may begin its next episode.

        raises  BudgetSpent once it is certain that it never may"""
        while (obstacle := self._obstacle(lane)) is not None:
            self._waiting.add(lane)
            if self._nothing_can_change():
                self._signal_change()
                raise BudgetSpent(obstacle)
            await self._changed.wait()
        self._waiting.discard(lane)

    def begin(self, lane: str) -> None:
        if not self._accounts:
            return
        progress = self._lanes[lane]
        progress.begun += 1
        progress.begun_now += 1

    def end(self, lane: str, *, turns: int, seconds: float) -> None:
        """Counts an episode of the lane that ended, whatever its outcome."""
        if not self._accounts:
            return
        progress = self._lanes[lane]
        progress.ended += 1
        progress.turns += turns
        progress.squares += turns**2
        progress.seconds += seconds
        self._signal_change()

    def leave(self, lane: str) -> None:
        """Ends a lane: what it does not use is left to the others, unless the budget itself ended it."""
        if not self._accounts:
            return
        progress = self._lanes[lane]
        if any(method in self.exhausted for method in progress.methods):
            self._waiting.add(lane)
        if lane not in self._waiting:
            progress.feeding = False
        self._signal_change()

    def _signal_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _nothing_can_change(self) -> bool:
        """Returns whether no episode is live and every lane that has more to play waits."""
        return self._idle() and all(
            not progress.feeding or lane in self._waiting for lane, progress in self._lanes.items()
        )

    def _idle(self) -> bool:
        return all(progress.begun_now == progress.ended for progress in self._lanes.values())

    # --- the stop share -------------------------------------------------------------------------------------

    def _obstacle(self, lane: str) -> str | None:
        """Returns what keeps the lane from its next episode, in words; None if nothing does."""
        for account in self._accounts:
            if lane not in account.scope.lanes:
                continue
            progress = self._lanes[lane]
            if progress.begun_now >= max(1.0, FIRST_SHARE * progress.planned) and not any(
                self._lanes[one].ended for one in account.scope.lanes
            ):
                return f"{account.scope.name}: the cost of an episode is not known yet"
            now_s = self._clock.now()
            if now_s - account.computed_s >= RECOMPUTED_S or self._idle():
                account.stop_share, account.computed_s = self._compute_stop_share(account, now_s), now_s
            if progress.begun + 1 > account.stop_share * progress.planned + 1e-9:
                reach = f"{100 * progress.begun / progress.planned:.0f} % of each method's episodes"
                return f"the budget of {account.scope.name} is enough for {reach} (spent: {account.describe_all()})"
        return None

    def _compute_stop_share(self, account: _Account, now_s: float) -> float:
        """Returns the largest share of their plans that all lanes of the scope can play within its
        allowance."""
        low, high = 0.0, 1.0
        if self._fits(account, 1.0):
            low = 1.0
        else:
            for _ in range(20):
                middle = (low + high) / 2
                low, high = (middle, high) if self._fits(account, middle) else (low, middle)
        return min(low, self._reached_in_time(account.scope, now_s))

    def _fits(self, account: _Account, share: float) -> bool:
        """Returns whether what the payers will have spent, and a standard deviation more, is within the
        allowance."""
        calls, squares = dict.fromkeys(account.scope.payers, 0.0), dict.fromkeys(account.scope.payers, 0.0)
        for progress in self._lanes.values():
            episodes = progress.episodes_at(share)
            for method in account.scope.payers.intersection(progress.methods):
                calls[method] += episodes * self._episode_turns(progress) / len(progress.methods)
                squares[method] += (
                    (episodes - progress.ended) * progress.variance / len(progress.methods) ** 2
                )
        for kind in KINDS:
            limit = getattr(account.scope.allowance, kind)
            if limit is not None:
                prices = {method: self._price(method, kind) for method in account.scope.payers}
                ahead = sum(
                    max(0.0, calls[method] - self._spent[method].calls) * price
                    for method, price in prices.items()
                )
                deviation = math.sqrt(sum(squares[method] * price**2 for method, price in prices.items()))
                if getattr(account.total, kind) + ahead + deviation > limit:
                    return False
        return True

    def _episode_turns(self, progress: LaneProgress) -> float:
        """Returns the estimated turns of an episode: all turns so far over the number of episodes that ended.

        Short episodes end first, so the mean over ended ones is too small. The total over the number of ends
        is the maximum likelihood estimate of the mean of censored exponential durations (Epstein & Sobel
        1953)."""
        turns = 0.0
        for method in progress.methods:
            sharing = sum(other.begun_now for other in self._lanes.values() if method in other.methods)
            turns += self._spent[method].calls * progress.begun_now / max(1, sharing)
        return (turns + progress.turns_typical) / (progress.ended + 1)

    def _price(self, method: str, kind: Kind) -> float:
        """Returns the mean cost of a call: the method's own, or that of all methods until it has made one."""
        spent = self._spent[method] if self._spent[method].calls else _sum(self._spent.values())
        return float(getattr(spent, kind)) / max(1, spent.calls)

    def _reached_in_time(self, scope: Scope, now_s: float) -> float:
        """Returns the share at which the slowest lane will stand when time is up, less what an episode takes
        to end."""
        if scope.allowance.wall_s is None:
            return 1.0
        elapsed_s = max(now_s - self._began_s, 1e-9)
        share = 1.0
        for lane in scope.lanes:
            progress = self._lanes[lane]
            if progress.feeding and progress.ended:
                ahead_s = scope.allowance.wall_s - self._used_s - elapsed_s
                left_s = max(0.0, ahead_s - progress.seconds / progress.ended)
                share = min(share, (progress.begun + left_s * progress.ended / elapsed_s) / progress.planned)
        return share


def _sum(spent: Iterable[Spending]) -> Spending:
    total = Spending()
    for one in spent:
        total.add(one.calls, one.tokens, one.cost_usd)
    return total
