"""What a sweep may cost, and where to stop so that all methods stop at the same place.

Knows what calls cost so far, how far every lane has come and how many turns its episodes take; nothing of quotas.
Keeps: no lane begins an episode beyond the line, the share of its plan that all lanes it is compared with can be expected to reach
within the budget; what was begun is played to its end. The line is drawn anew as costs and lengths are learned. Should episodes turn out
dearer than expected, the budget holds all the same: once it is spent no call is made, calls in flight come home, episodes stay pending.
Does not promise: to stop in the middle of a call, or to count what providers do not report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import anyio

from harness.core.errors import BudgetSpent
from harness.core.protocols import Clock
from harness.limits.gate import Gate

Kind = Literal["calls", "tokens", "cost_usd"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REDRAWN_S = 1.0
UNSEEN_SHARE = 0.01  # of a lane's plan may be begun before it is known what an episode costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What may be spent; None: as much as it takes. wall_s counts from the beginning of this run, the rest over all runs."""

    calls: float | None = None
    tokens: float | None = None
    cost_usd: float | None = None
    wall_s: float | None = None


@dataclass(slots=True)
class Spending:
    """What calls cost so far."""

    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def add(self, calls: int, tokens: int, cost_usd: float) -> None:
        self.calls += calls
        self.tokens += tokens
        self.cost_usd += cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whom an allowance concerns.

    name    as a person reads it: "the sweep", "m/a"
    payers  the methods whose calls are paid from it
    lanes   those that stop at its line: the payers' own, and those they are compared with"""

    name: str
    allowance: Allowance
    payers: frozenset[str]
    lanes: frozenset[str]


@dataclass(slots=True, kw_only=True)
class LaneProgress:
    """How far a lane has come.

    planned         all of its episodes
    begun           of these, in earlier runs too; begun_now: in this one
    turns_typical   of an episode, as long as none was seen
    turns, squares, seconds   sums over the episodes that ended in this run: of turns, of their squares, and of how long they took"""

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
        """Of an episode's turns."""
        if self.ended < 2:
            return self.turns_typical**2
        return max(0.0, self.squares / self.ended - (self.turns / self.ended) ** 2)

    def episodes_by(self, line: float) -> int:
        """How many it will have begun in this run when all stand at the line."""
        return self.begun_now + (max(0, math.floor(line * self.planned) - self.begun) if self.feeding else 0)


@dataclass(slots=True, kw_only=True)
class _Account:
    """A scope, what was spent of its allowance, and where its line is drawn."""

    scope: Scope
    total: Spending
    line: float = 1.0
    drawn_s: float = float("-inf")

    def exhausted(self) -> Kind | None:
        for kind in KINDS:
            limit = getattr(self.scope.allowance, kind)
            if limit is not None and getattr(self.total, kind) >= limit:
                return kind
        return None

    def told(self, kind: Kind) -> str:
        total, limit = getattr(self.total, kind), getattr(self.scope.allowance, kind)
        if kind == "cost_usd":
            return f"{total:.2f} of {limit:.2f} USD"
        return f"{total:,.0f} of {limit:,.0f} {kind}"

    def told_all(self) -> str:
        told = [self.told(kind) for kind in KINDS if getattr(self.scope.allowance, kind) is not None]
        if self.scope.allowance.wall_s is not None:
            told.append(f"{self.scope.allowance.wall_s:g} s")
        return ", ".join(told)


class SpendingBudget:
    """See the module's header.

    ways    lane -> how far it has come
    spent   method -> what its calls cost in earlier runs, as far as it counts
    gates   method -> its gate, closed once none of its methods may call any more"""

    def __init__(
        self,
        scopes: Sequence[Scope],
        *,
        ways: Mapping[str, LaneProgress],
        spent: Mapping[str, Spending],
        gates: Mapping[str, Gate],
        clock: Clock,
    ) -> None:
        self._accounts = [
            _Account(scope=scope, total=_sum(spent[one] for one in scope.payers if one in spent))
            for scope in scopes
        ]
        self._ways = ways
        self._gates = gates
        self._clock = clock
        self._began_s = clock.now()
        self._spent = {name: Spending() for name in gates}
        self._broke: dict[str, str] = {}
        self._changed = anyio.Event()
        self._waiting: set[str] = set()

    @classmethod
    def unlimited(cls, clock: Clock) -> SpendingBudget:
        """For those who count nothing."""
        return cls((), ways={}, spent={}, gates={}, clock=clock)

    # --- calls ----------------------------------------------------------------------------------------------------------------

    def may_call(self, method: str) -> None:
        """raises  BudgetSpent if this method may make no more calls"""
        if (why := self._broke.get(method)) is not None:
            raise BudgetSpent(why)

    def begin_call(self, method: str) -> None:
        """A call is sent."""
        if self._accounts:
            self._pay(method, 1, 0, 0.0)

    def end_call(self, method: str, *, tokens: int, cost_usd: float) -> None:
        """A call came home and cost so much."""
        if self._accounts:
            self._pay(method, 0, tokens, cost_usd)

    def _pay(self, method: str, calls: int, tokens: int, cost_usd: float) -> None:
        self._spent[method].add(calls, tokens, cost_usd)
        for account in self._accounts:
            if method in account.scope.payers:
                account.total.add(calls, tokens, cost_usd)
                if kind := account.exhausted():
                    self._end(
                        account.scope, f"{account.scope.name} has spent its budget: {account.told(kind)}"
                    )

    async def watch_clock(self) -> None:
        """Ends every scope whose time is over; runs as long as the sweep."""
        async with anyio.create_task_group() as tasks:
            for account in self._accounts:
                if account.scope.allowance.wall_s is not None:
                    tasks.start_soon(self._time, account.scope, account.scope.allowance.wall_s)

    async def _time(self, scope: Scope, wall_s: float) -> None:
        await self._clock.sleep(wall_s)
        self._end(scope, f"the {wall_s:g} seconds of {scope.name} are over")

    def _end(self, scope: Scope, why: str) -> None:
        for method in scope.payers:
            self._broke.setdefault(method, why)
        for gate in {id(gate): gate for gate in self._gates.values()}.values():
            if all(method in self._broke for method, its in self._gates.items() if its is gate):
                gate.close(BudgetSpent(why))

    # --- episodes -------------------------------------------------------------------------------------------------------------

    async def wait_until_affordable(self, lane: str) -> None:
        """Until the lane may begin its next episode.

        raises  BudgetSpent once it is certain that it never will"""
        while (stop := self._line_before(lane)) is not None:
            self._waiting.add(lane)
            if self._nothing_can_change():
                self._tell()
                raise BudgetSpent(stop)
            await self._changed.wait()
        self._waiting.discard(lane)

    def begin(self, lane: str) -> None:
        if not self._accounts:
            return
        way = self._ways[lane]
        way.begun += 1
        way.begun_now += 1

    def end(self, lane: str, *, turns: int, seconds: float) -> None:
        """An episode of the lane is over, well or badly."""
        if not self._accounts:
            return
        way = self._ways[lane]
        way.ended += 1
        way.turns += turns
        way.squares += turns**2
        way.seconds += seconds
        self._tell()

    def leave(self, lane: str) -> None:
        """The lane begins nothing more: what it does not use is there for others, unless it is the purse that stopped it."""
        if not self._accounts:
            return
        way = self._ways[lane]
        if any(method in self._broke for method in way.methods):
            self._waiting.add(lane)
        if lane not in self._waiting:
            way.feeding = False
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _nothing_can_change(self) -> bool:
        """No episode is live, and every lane that has more to play waits."""
        return self._idle() and all(
            not way.feeding or lane in self._waiting for lane, way in self._ways.items()
        )

    def _idle(self) -> bool:
        return all(way.begun_now == way.ended for way in self._ways.values())

    # --- the line -------------------------------------------------------------------------------------------------------------

    def _line_before(self, lane: str) -> str | None:
        """What keeps the lane from its next episode, in words; None if nothing does."""
        for account in self._accounts:
            if lane not in account.scope.lanes:
                continue
            way = self._ways[lane]
            if way.begun_now >= max(1.0, UNSEEN_SHARE * way.planned) and not any(
                self._ways[one].ended for one in account.scope.lanes
            ):
                return f"{account.scope.name}: what an episode costs is not known yet"
            now_s = self._clock.now()
            if now_s - account.drawn_s >= REDRAWN_S or self._idle():
                account.line, account.drawn_s = self._draw(account, now_s), now_s
            if way.begun + 1 > account.line * way.planned + 1e-9:
                reach = f"{100 * way.begun / way.planned:.0f} % of each method's episodes"
                return f"the budget of {account.scope.name} reaches to {reach}: {account.told_all()}"
        return None

    def _draw(self, account: _Account, now_s: float) -> float:
        """The largest share of their plans at which all lanes of the scope can stand within its allowance."""
        low, high = 0.0, 1.0
        if self._fits(account, 1.0):
            low = 1.0
        else:
            for _ in range(20):
                middle = (low + high) / 2
                low, high = (middle, high) if self._fits(account, middle) else (low, middle)
        return min(low, self._reached_in_time(account.scope, now_s))

    def _fits(self, account: _Account, line: float) -> bool:
        """Whether what the payers will have spent, and a standard deviation more, is within the allowance."""
        calls, squares = dict.fromkeys(account.scope.payers, 0.0), dict.fromkeys(account.scope.payers, 0.0)
        for way in self._ways.values():
            episodes = way.episodes_by(line)
            for method in account.scope.payers.intersection(way.methods):
                calls[method] += episodes * self._episode_turns(way) / len(way.methods)
                squares[method] += (episodes - way.ended) * way.variance / len(way.methods) ** 2
        for kind in KINDS:
            limit = getattr(account.scope.allowance, kind)
            if limit is not None:
                prices = {method: self._price(method, kind) for method in account.scope.payers}
                ahead = sum(
                    max(0.0, calls[method] - self._spent[method].calls) * price
                    for method, price in prices.items()
                )
                doubt = math.sqrt(sum(squares[method] * price**2 for method, price in prices.items()))
                if getattr(account.total, kind) + ahead + doubt > limit:
                    return False
        return True

    def _episode_turns(self, way: LaneProgress) -> float:
        """Turns of an episode: all turns so far over the episodes that ended.

        Were only the turns of ended episodes counted, the short ones, which end first, would speak for all (so the maximum likelihood
        estimate of a mean from censored exponential lives is the time on test over the deaths: Epstein & Sobel 1953)."""
        turns = 0.0
        for method in way.methods:
            sharing = sum(other.begun_now for other in self._ways.values() if method in other.methods)
            turns += self._spent[method].calls * way.begun_now / max(1, sharing)
        return (turns + way.turns_typical) / (way.ended + 1)

    def _price(self, method: str, kind: Kind) -> float:
        """The mean cost of a call: the method's, or as long as it made none the mean of all."""
        spent = self._spent[method] if self._spent[method].calls else _sum(self._spent.values())
        return float(getattr(spent, kind)) / max(1, spent.calls)

    def _reached_in_time(self, scope: Scope, now_s: float) -> float:
        """Where the slowest lane will stand when time is up, less what an episode takes to end."""
        if scope.allowance.wall_s is None:
            return 1.0
        elapsed_s = max(now_s - self._began_s, 1e-9)
        line = 1.0
        for lane in scope.lanes:
            way = self._ways[lane]
            if way.feeding and way.ended:
                left_s = max(0.0, scope.allowance.wall_s - elapsed_s - way.seconds / way.ended)
                line = min(line, (way.begun + left_s * way.ended / elapsed_s) / way.planned)
        return line


def _sum(spent: Iterable[Spending]) -> Spending:
    total = Spending()
    for one in spent:
        total.add(one.calls, one.tokens, one.cost_usd)
    return total
