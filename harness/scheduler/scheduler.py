"""Plays many episodes at once: bounded in number, independent between access methods, cancellable.

Each lane (the plans of one seating) begins its next episode when the gates it needs run low on ready turns.
So memory is bounded by what keeps the gates full, not by the size of the sweep, and no episode waits for a
round to end. A lane ends when its plans are played, its gate closes, one of its episodes meets a closed gate,
or the budget permits no further one; the other lanes go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from harness.core.errors import AllRefused, GameUnavailable, GateClosing
from harness.core.protocols import Clock, RecordSink
from harness.core.records import EpisodeRecord
from harness.core.steps import Playable
from harness.core.vocabulary import EpisodePlan
from harness.limits.gate import Gate
from harness.scheduler.episode import Beginning, LeftPending, PutOff
from harness.scheduler.spending import SpendingBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The episodes of one seating, in playing order, and the gates that its seats call through.

    pace   awaited before each episode, with the lane's tally, and says whether it is still to be played; a
           sweep that may stop early keeps its lanes in step by it
    leave  is called with each episode that is not played any further in this run"""

    name: str
    plans: Iterator[EpisodePlan]
    gates: Sequence[Gate]
    pace: Callable[[EpisodePlan, Tally], Awaitable[bool]] | None = None
    leave: Callable[[EpisodePlan], None] = lambda plan: None


class ExpectedTurns:
    """Estimates how many turns an episode takes: the running mean by game and experiment, beginning with the
    game's own estimate."""

    def __init__(self, games: Mapping[str, Playable]) -> None:
        self._games = games
        self._observed: dict[tuple[str, str], tuple[int, int]] = {}

    def __call__(self, game: str, experiment: str) -> float:
        count, total = self._observed.get((game, experiment), (0, 0))
        prior = self._games[game].turns_typical
        return (total + prior) / (count + 1)

    def learn(self, game: str, experiment: str, turns: int) -> None:
        count, total = self._observed.get((game, experiment), (0, 0))
        self._observed[game, experiment] = (count + 1, total + turns)


@dataclass(slots=True)
class Tally:
    """Running counts of one lane.

    pending   episodes that were begun or planned and left for a later run
    put_off   episodes that were begun and have to be played on later in this run
    closing   why there are such; None: there are none"""

    finished: int = 0
    failed: int = 0
    pending: int = 0
    put_off: int = 0
    live: int = 0
    closing: GateClosing | GameUnavailable | None = None
    failures: Counter[str] = field(default_factory=Counter)
    score_sum: float = 0.0
    scored: int = 0

    def count(self, record: EpisodeRecord | GateClosing) -> None:
        if isinstance(record, GateClosing):
            self.pending += 1
            self.closing = self.closing or record
        elif record.status == "failed":
            self.failed += 1
            self.failures[record.reason] += 1
        else:
            self.finished += 1
            if record.score is not None:
                self.score_sum += record.score
                self.scored += 1


class PlaysEpisodes(Protocol):
    """The part of a Player that the scheduler needs; other processes may do the playing."""

    @property
    def clock(self) -> Clock: ...
    @property
    def budget(self) -> SpendingBudget: ...
    @property
    def sink(self) -> RecordSink: ...

    async def play(
        self, plan: EpisodePlan, beginning: Beginning, on_ask: Callable[[], None]
    ) -> EpisodeRecord | GateClosing | LeftPending | PutOff: ...

    def answered(self, method: str) -> bool:
        """Says whether a call of this method was answered in this run."""
        ...

    async def watch(self, gates: Sequence[Gate]) -> None:
        """Names calls that are stuck, until it is cancelled."""
        ...

    def sent_times(self) -> dict[str, list[float]]:
        """Returns method -> when each of its calls in flight was sent, as far as it is known here."""
        ...


class Scheduler:
    """See the module's header.

    beginning   what the store knows of an unfinished episode
    tallies     lane -> its running counts"""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        player: PlaysEpisodes,
        expected: ExpectedTurns,
        beginning: Callable[[EpisodePlan], Beginning],
    ) -> None:
        self.lanes = lanes
        self.tallies = {lane.name: Tally() for lane in lanes}
        self._player = player
        self._budget = player.budget
        self._expected = expected
        self._beginning = beginning
        self._undecided: dict[str, list[LeftPending]] = {}

    def sent_times(self) -> dict[str, list[float]]:
        """Returns method -> when each of its calls in flight was sent."""
        return self._player.sent_times()

    async def play_all(self) -> None:
        """Plays every lane to its end, or until its gates close."""
        async with anyio.create_task_group() as gates:
            all_gates = tuple({id(gate): gate for lane in self.lanes for gate in lane.gates}.values())
            for gate in all_gates:
                gates.start_soon(gate.run_timer)
            gates.start_soon(self._player.watch, all_gates)
            gates.start_soon(self._budget.watch_clock)
            async with anyio.create_task_group() as episodes:
                for lane in self.lanes:
                    episodes.start_soon(self._feed, lane, episodes)
                    # so its first request is sent before all lanes are started
                    await anyio.lowlevel.checkpoint()
            for lane in self.lanes:
                await self._settle(lane.name)
                self._leave_pending(lane.name)
            gates.cancel_scope.cancel()

    async def _feed(self, lane: Lane, episodes: TaskGroup) -> None:
        tally = self.tallies[lane.name]
        for plan in lane.plans:
            try:
                if lane.pace is not None and not await lane.pace(plan, tally):
                    lane.leave(plan)
                    continue
                for gate in lane.gates:
                    await gate.wait_until_wants_episodes()
                await self._budget.wait_until_affordable(lane.name)
            except GateClosing as closing:
                tally.closing = tally.closing or closing
            if tally.closing:
                for left in chain((plan,), lane.plans):
                    tally.pending += 1
                    lane.leave(left)
                break
            tally.live += 1
            self._budget.begin(lane.name)
            asks = anyio.Event()
            episodes.start_soon(self._play, lane, plan, asks)
            await asks.wait()  # the gate counts the new episode only when its first turn waits there
        self._budget.leave(lane.name)

    async def _play(self, lane: Lane, plan: EpisodePlan, asks: anyio.Event) -> None:
        tally = self.tallies[lane.name]
        began_s = self._player.clock.now()
        record = await self._player.play(plan, self._beginning(plan), asks.set)
        asks.set()  # an episode may end without an ask
        turns = record.turns if isinstance(record, EpisodeRecord) else 0
        self._budget.end(lane.name, turns=turns, seconds=self._player.clock.now() - began_s)
        tally.live -= 1
        if isinstance(record, PutOff):
            tally.put_off += 1
            return
        if not isinstance(record, EpisodeRecord):
            lane.leave(plan)
        if isinstance(record, LeftPending):
            self._undecided.setdefault(lane.name, []).append(record)
            return
        tally.count(record)
        await self._settle(lane.name)
        if isinstance(record, EpisodeRecord) and record.status == "finished":
            self._expected.learn(record.game, record.experiment, record.turns)

    async def _settle(self, lane: str) -> None:
        """Stores the failures of refused calls whose method has answered others since."""
        undecided = self._undecided.pop(lane, None)
        if not undecided:
            return
        for left in undecided:
            if left.failure is None or not self._player.answered(left.method):
                self._undecided.setdefault(lane, []).append(left)
            else:
                await self._player.sink.put(*left.failure)
                self.tallies[lane].count(left.failure[1])

    def _leave_pending(self, lane: str) -> None:
        """Counts what stayed undecided to the end; the first answer of them is the reason."""
        tally, undecided = self.tallies[lane], self._undecided.pop(lane, [])
        tally.pending += len(undecided)
        if undecided and tally.closing is None:
            error, count = undecided[0].error, len(undecided)
            tally.closing = (
                GameUnavailable(
                    f"{count} episodes could not continue, because the process of their game ended: {error}"
                )
                if isinstance(error, GameUnavailable)
                else AllRefused(f"{count} episodes got no usable reply: {error}")
            )
