"""The coordinator's side of a run whose episodes are played by workers.

Stands where a run in one process has its player: gives each episode that the scheduler begins to the worker
with the fewest, and returns how it ended. Shares the run's gates among the workers by leases, and adds up
what they count. Knows workers by what carries their messages; nothing of Ray. Keeps: an episode that was
open when its worker ended is put off, not lost; its rows are in the worker's store. Another worker takes
the place of one that ended, unless several in a row ended before an episode did. Does not promise: that an
episode is reported as ended only when its rows are on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from harness.cluster.messages import Assignment, Played, Report, ToWorker, WorkerSetup
from harness.core.errors import NotServed, WorkerDied, WorkerFailed, first_error
from harness.core.protocols import Clock, RecordSink
from harness.core.records import EpisodeRecord, Record
from harness.core.vocabulary import EpisodePlan
from harness.limits.gate import Gate
from harness.limits.leases import BATCH_S, STEADY_S, GateLeases
from harness.progress.meters import Meters
from harness.progress.turns_left import EpisodeTurns
from harness.scheduler.episode import Beginning, PutOff
from harness.scheduler.spending import SpendingBudget

PUT_OFF = PutOff()
WAKES_AFTER_S = 2 * BATCH_S  # a worker that waits for an answer sends its message before that
STARTS_WITHIN_S = 120.0  # its first report; its start takes half a minute on a busy machine
SILENT_S = 60.0  # after that; a worker reports every second
ENDS_WITHIN_S = 10.0  # at the end, when it has nothing to play; it closes its store within a second or two
DEATHS_MAX = 3  # of workers in one place, in a row, before an episode of theirs ended


class WorkerHandle(Protocol):
    """A worker, as far as messages go. Each call raises WorkerDied once its process has ended."""

    async def play(self) -> None:
        """Runs the worker until it ends by itself."""
        ...

    async def exchange(self, message: ToWorker) -> Report:
        """See Worker.exchange."""
        ...

    def wake(self) -> None:
        """See Worker.wake."""
        ...

    def stop(self) -> None:
        """Ends the worker's process at once, if it still runs."""
        ...


StartWorker = Callable[[WorkerSetup], Awaitable[WorkerHandle]]
"""Starts a worker."""

OpenWorkers = Callable[[], AbstractAsyncContextManager[tuple[int, StartWorker]]]
"""Opens what workers run on. Inside the block: the number of workers, and the function that starts one."""


@dataclass(slots=True, eq=False)
class _Supply:
    """The episodes of one gate that workers have got and have not begun, as far as it is known here.

    They count as work to come at the gate, so that it wants no more of them than it has use for. Those do not
    count that follow episodes which end meanwhile: as many as ended in two messages. What a worker tells was
    true a message ago, and what it is told takes effect a message later; without that, a worker whose
    episodes are short would have nothing to play between two messages.

    unbegun   how many they are
    counted   how many of them the gate counts
    ended     worker -> episodes that ended, by its last report"""

    gate: Gate
    unbegun: int = 0
    counted: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    def change(self, change: int) -> None:
        """Takes that so many more are not begun, or fewer, and what reports said of ends."""
        self.unbegun += change
        counted = max(0, self.unbegun - 2 * self.ended.total())
        if counted != self.counted:
            self.gate.rest_elsewhere(0, unbegun=counted - self.counted)
            self.counted = counted


@dataclass(slots=True, eq=False)
class _Play:
    """An episode that a worker plays.

    supply   of the gate of its first seat, until its first turn is there"""

    supply: _Supply
    begun: bool = False
    ended: anyio.Event = field(default_factory=anyio.Event)
    played: Played | PutOff = PUT_OFF

    def begin(self) -> None:
        """Takes that its first turn is at its gate, or that it never will be."""
        if not self.begun:
            self.begun = True
            self.supply.change(-1)


@dataclass(slots=True, eq=False)
class _Link:
    """A worker, its open episodes, and what it is to be told.

    due        gates that have something to say to it
    news       it is to be told something
    urgent     something that it does not wait for
    heard_s    when its last report came
    patience   how long the next one is waited for
    exhausted  methods of which it knows that they may make no more calls
    any_ended  an episode of it ended"""

    name: str
    handle: WorkerHandle
    plays: dict[int, _Play] = field(default_factory=dict)
    assignments: list[Assignment] = field(default_factory=list)
    due: set[str] = field(default_factory=set)
    exhausted: set[str] = field(default_factory=set)
    news: anyio.Event = field(default_factory=anyio.Event)
    urgent: anyio.Event = field(default_factory=anyio.Event)
    heard_s: float = float("-inf")
    patience: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    any_ended: bool = False

    def note(self, gate: str) -> None:
        self.due.add(gate)
        self.hurry()

    def hurry(self) -> None:
        self.news.set()
        self.urgent.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolParts:
    """The parts of a run that a pool works with.

    size          number of workers
    start_worker  (name) -> a new worker of that name
    gates         method -> its gate
    observe       is called with the row of each episode that ended
    sink          takes the rows that the coordinator writes itself"""

    size: int
    start_worker: Callable[[str], Awaitable[WorkerHandle]]
    gates: Mapping[str, Gate]
    meters: Meters
    turns: EpisodeTurns
    observe: Callable[[Record], None]
    budget: SpendingBudget
    sink: RecordSink
    clock: Clock
    notify: Callable[[str], None]


@asynccontextmanager
async def worker_pool(parts: PoolParts) -> AsyncIterator[WorkerPool]:
    """Gives a pool whose workers all play; ends them when the block is left."""
    made = WorkerPool(parts)
    async with anyio.create_task_group() as serving:
        async with anyio.create_task_group() as starting:
            for _ in range(parts.size):
                starting.start_soon(serving.start, made.serve)
        try:
            yield made
        finally:
            made.end()


class WorkerPool:
    """See the module's header; for the scheduler it is what plays episodes.

    deaths   workers that ended before the run did"""

    def __init__(self, parts: PoolParts) -> None:
        self.deaths = 0
        self._parts = parts
        self._leases = {
            gate.name: GateLeases(gate, clock=parts.clock)
            for gate in {id(gate): gate for gate in parts.gates.values()}.values()
        }
        self._supplies = {name: _Supply(leases.gate) for name, leases in self._leases.items()}
        self._links: list[_Link] = []
        self._places = parts.size
        self._changed = anyio.Event()  # a worker came, or no other will
        self._started = self._numbers = 0
        self._answered: set[str] = set()
        self._ending = False

    # --- what the scheduler asks for ------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self._parts.clock

    @property
    def budget(self) -> SpendingBudget:
        return self._parts.budget

    @property
    def sink(self) -> RecordSink:
        return self._parts.sink

    def answered(self, method: str) -> bool:
        """Says whether a call of this method was answered in this run."""
        return method in self._answered

    async def watch(self, gates: Sequence[Gate]) -> None:
        """Tells the workers when a gate closes; each of them watches its own calls."""
        async with anyio.create_task_group() as telling:
            for leases in self._leases.values():
                telling.start_soon(leases.tell_when_closed)

    def sent_times(self) -> dict[str, list[float]]:
        """Returns nothing: workers do not tell when their calls were sent."""
        return {}

    async def play(
        self, plan: EpisodePlan, beginning: Beginning, on_ask: Callable[[], None]
    ) -> Played | PutOff:
        """Lets a worker play the episode; see Player.play."""
        while not self._links:
            if not self._places:
                return NotServed(f"every worker ended, {DEATHS_MAX} times in a row; see the lines above")
            await self._changed.wait()
        link = min(self._links, key=lambda one: len(one.plays))
        self._numbers += 1
        play = link.plays[self._numbers] = _Play(self._supplies[self._parts.gates[plan.seating[0]].name])
        play.supply.change(1)
        link.assignments.append(Assignment.of(self._numbers, plan, beginning))
        link.news.set()
        on_ask()
        await play.ended.wait()
        if isinstance(play.played, EpisodeRecord):
            self._parts.meters.count(play.played)
            self._parts.observe(play.played)
        return play.played

    # --- workers --------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Lets all workers end. One that sends nothing for ENDS_WITHIN_S is stopped, which loses at most what
        a kill would."""
        self._ending = True
        for link in self._links:
            link.patience.deadline = min(link.patience.deadline, anyio.current_time() + ENDS_WITHIN_S)
            link.hurry()

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Keeps one worker at work, until the pool ends.

        raises  WorkerFailed if a worker cannot go on, and another could not either"""
        deaths = 0
        while deaths < DEATHS_MAX and not self._ending:
            link = await self._start_worker()
            if not deaths:
                task_status.started()
            try:
                await self._serve(link)
            except* WorkerDied as group:
                self.deaths += 1
                deaths = 1 if link.any_ended else deaths + 1
                self._parts.notify(f"worker {link.name} ended: {first_error(group)}")
            finally:
                link.handle.stop()
                self._leave(link)
        self._places -= 1
        self._signal_change()

    async def _start_worker(self) -> _Link:
        self._started += 1
        name = str(self._started)
        link = _Link(name, await self._parts.start_worker(name))
        for gate, leases in self._leases.items():
            leases.join(name, partial(link.note, gate))
        self._links.append(link)
        self._signal_change()
        return link

    def _leave(self, link: _Link) -> None:
        """Takes leave of a worker that ended; what it had open is put off."""
        self._links.remove(link)
        for leases in self._leases.values():
            leases.lose(link.name)
        for supply in self._supplies.values():
            del supply.ended[link.name]
        for play in link.plays.values():
            play.begin()
            play.ended.set()

    def _signal_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # --- messages -------------------------------------------------------------------------------------------

    async def _serve(self, link: _Link) -> None:
        async with anyio.create_task_group() as playing:
            playing.start_soon(link.handle.play)
            is_over = False
            while not is_over:
                report = await self._exchange(link)
                self._take(link, report)
                is_over = report.is_over
                if report.failure:
                    raise WorkerFailed(f"worker {link.name}: {report.failure}")

    async def _exchange(self, link: _Link) -> Report:
        message = self._message(link)
        link.news, link.urgent = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as waking:
            waking.start_soon(self._wake, link)
            with anyio.move_on_after(self._patience_s(link)) as link.patience:
                report = await link.handle.exchange(message)
            waking.cancel_scope.cancel()
        if link.patience.cancelled_caught:
            raise WorkerDied(f"it did not answer for {self._patience_s(link):.0f} s, and is stopped")
        link.heard_s = self._parts.clock.now()
        return report

    def _patience_s(self, link: _Link) -> float:
        """Returns how long its next report is waited for."""
        if self._ending:
            return ENDS_WITHIN_S
        return STARTS_WITHIN_S if link.heard_s == float("-inf") else SILENT_S

    async def _wake(self, link: _Link) -> None:
        """Wakes a worker that waits for something to happen, once there is something to tell it. To a worker
        at work that is told with its next message, unless it is urgent."""
        await link.news.wait()
        with anyio.move_on_after(max(0.0, link.heard_s + STEADY_S - self._parts.clock.now())):
            await link.urgent.wait()
        await self._parts.clock.sleep(WAKES_AFTER_S)
        link.handle.wake()

    def _message(self, link: _Link) -> ToWorker:
        exhausted = self._parts.budget.exhausted
        message = ToWorker(
            leases={gate: self._leases[gate].answer(link.name) for gate in link.due},
            assignments=tuple(link.assignments),
            exhausted={method: why for method, why in exhausted.items() if method not in link.exhausted},
            end=self._ending,
        )
        link.due.clear()
        link.assignments.clear()
        link.exhausted.update(exhausted)
        return message

    def _take(self, link: _Link, report: Report) -> None:
        parts = self._parts
        for gate, request in report.leases.items():
            self._leases[gate].take(link.name, request, sent_s=report.sent_s)
            link.note(gate)  # it waits for an answer
        for number in report.begun:
            link.plays[number].begin()
        self._take_ends(link, report.ended)
        for episode_id, (first, last) in report.turns.items():
            for turns in range(first, last + 1):
                parts.turns.reach(episode_id, turns)
        parts.meters.add_traffic(report.traffic)
        self._answered.update(report.answered)
        for method, spent in report.spent.items():
            parts.budget.pay(method, spent.calls, spent.tokens, spent.cost_usd)
        for one in self._links:
            if parts.budget.exhausted.keys() - one.exhausted:
                one.hurry()
        for line in report.lines:
            parts.notify(f"worker {link.name}: {line}")

    def _take_ends(self, link: _Link, ends: Sequence[tuple[int, Played]]) -> None:
        for supply in self._supplies.values():
            supply.ended[link.name] = 0
        for number, played in ends:
            play = link.plays.pop(number)
            play.played = played
            play.supply.ended[link.name] += 1
            play.ended.set()
            link.any_ended = True
        for supply in self._supplies.values():
            supply.change(0)
