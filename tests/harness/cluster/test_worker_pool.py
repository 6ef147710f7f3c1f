"""A pool whose workers play short episodes, or fall silent, on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from harness.cluster.messages import Report, ToWorker
from harness.cluster.worker_pool import (
    DEATHS_MAX,
    ENDS_WITHIN_S,
    SILENT_S,
    STARTS_WITHIN_S,
    PoolParts,
    WorkerHandle,
    worker_pool,
)
from harness.limits.estimates import CallCost
from harness.limits.leases import STEADY_S, LeaseRequest, WaitingTurn
from harness.progress.meters import Meters
from harness.progress.turns_left import EpisodeTurns
from harness.scheduler.episode import Beginning
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler, Tally
from harness.scheduler.spending import SpendingBudget
from tests.harness.store.test_store import EPISODE
from tests.world import GAMES, World, plan, run

IDLE_S = 1.0


@dataclass(eq=False)
class Process:
    """A worker's process as messages show it: an episode that one message brings has ended by the next.

    silent_after   it sends nothing after so many reports, but lives; None: never
    period_s       between its reports"""

    silent_after: int | None = None
    period_s: float = 0.0
    is_stopped: bool = False
    reports: int = 0
    open_episodes: tuple[int, ...] = ()
    woken: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    async def play(self) -> None:
        await self.ended.wait()

    async def exchange(self, message: ToWorker) -> Report:
        if self.reports == self.silent_after:
            await anyio.sleep_forever()
        await anyio.sleep(self.period_s)
        self.reports += 1
        before, self.open_episodes = self.open_episodes, tuple(one.number for one in message.assignments)
        if message.end:
            self.ended.set()
        elif not before and not self.open_episodes:
            with anyio.move_on_after(IDLE_S):
                await self.woken.wait()
            self.woken = anyio.Event()
        return Report(
            sent_s=anyio.current_time(),
            leases={"m/a": LeaseRequest(turns=(WaitingTurn(1, 1.0, CallCost()),))}
            if self.silent_after == self.reports
            else {},
            begun=self.open_episodes,
            ended=tuple((number, EPISODE) for number in before),
            is_over=message.end,
        )

    def wake(self) -> None:
        self.woken.set()

    def stop(self) -> None:
        self.is_stopped = True


@dataclass
class Played:
    """A run that has ended: its processes, its tally, its lines, and how long it took."""

    processes: list[Process]
    tally: Tally
    lines: list[str]
    took_s: float
    calls: int
    in_flight: int
    deaths: int
    resting_max: int


async def played(
    silent_after: Callable[[int], int | None], *, episodes: int, size: int, period_s: float = 0.0
) -> Played:
    """Plays so many episodes with a pool of this size.

    silent_after   (number of a process, from 1) -> see Process
    period_s       see Process"""
    world = World()
    world.add("m/a")
    gate, clock = world.gates["m/a"], world.clock
    processes, lines = list[Process](), list[str]()
    resting_max = 0

    async def watch() -> None:
        nonlocal resting_max
        while True:
            await anyio.sleep(STEADY_S / 4)
            resting_max = max(resting_max, gate.statistics().resting)

    async def start_worker(name: str) -> WorkerHandle:
        processes.append(Process(silent_after(int(name)), period_s))
        return processes[-1]

    parts = PoolParts(
        size=size,
        start_worker=start_worker,
        gates=world.gates,
        meters=Meters(world.rows, clock, scores={}),
        turns=EpisodeTurns({"m/a": {"count": episodes}}, turn_limits={"count": None}),
        observe=lambda record: None,
        budget=SpendingBudget.unlimited(clock),
        sink=world.rows,
        clock=clock,
        notify=lines.append,
    )
    async with worker_pool(parts) as pool:
        scheduler = Scheduler(
            [Lane(name="m/a", plans=iter([plan(number) for number in range(episodes)]), gates=(gate,))],
            player=pool,
            expected=ExpectedTurns(GAMES),
            beginning=lambda plan: Beginning(),
        )
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch)
            await scheduler.play_all()
            watching.cancel_scope.cancel()
        in_flight = gate.statistics().in_flight
    statistics = gate.statistics()
    return Played(
        processes,
        scheduler.tallies["m/a"],
        lines,
        clock.now(),
        statistics.calls,
        in_flight,
        pool.deaths,
        resting_max,
    )


def test_workers_with_short_episodes_are_given_some_ahead() -> None:
    """Workers whose episodes end between two messages get more with each message, as fast as they play:
    however few calls may be in flight, few messages carry many episodes."""

    async def scenario() -> Played:
        return await played(lambda number: None, episodes=2000, size=2, period_s=STEADY_S)

    end = run(scenario)
    assert end.tally.finished == 2000
    assert sum(process.reports for process in end.processes) <= 120


def test_episodes_that_a_worker_has_not_begun_are_no_calls_that_pause() -> None:
    """They count as work to come at the gate, but not in the column `retrying` of what a run shows."""

    async def scenario() -> Played:
        return await played(lambda number: None, episodes=40, size=2, period_s=STEADY_S)

    assert run(scenario).resting_max == 0


def test_a_silent_worker_is_stopped_and_replaced() -> None:
    """A worker that lives but sends nothing for a minute is ended: its episode is put off, the call that
    it was admitted counts as sent, its place is free again, and another worker takes its part."""

    async def scenario() -> Played:
        return await played(lambda number: 1 if number == 1 else None, episodes=12, size=2)

    end = run(scenario)
    assert end.lines == [f"worker 1 ended: it did not answer for {SILENT_S:.0f} s, and is stopped"]
    assert len(end.processes) == 3
    assert end.processes[0].is_stopped
    assert (end.tally.finished, end.tally.put_off, end.tally.pending) == (11, 1, 0)
    assert (end.calls, end.in_flight, end.deaths) == (1, 0, 1)
    assert SILENT_S <= end.took_s < SILENT_S + 5 * IDLE_S


def test_a_silent_worker_that_plays_nothing_does_not_hold_up_the_end() -> None:
    """It is stopped a few seconds after the last episode ended, and no other takes its place."""

    async def scenario() -> Played:
        return await played(lambda number: 0 if number == 2 else None, episodes=1, size=2)

    end = run(scenario)
    assert end.lines == [f"worker 2 ended: it did not answer for {ENDS_WITHIN_S:.0f} s, and is stopped"]
    assert [process.is_stopped for process in end.processes] == [True, True]
    assert (end.tally.finished, end.tally.put_off, end.deaths) == (1, 0, 1)
    assert ENDS_WITHIN_S <= end.took_s < ENDS_WITHIN_S + 5 * IDLE_S


def test_a_worker_that_hangs_in_its_start_is_replaced() -> None:
    """It never sends a report; what it never took is played by the next one."""

    async def scenario() -> Played:
        return await played(lambda number: 0 if number == 1 else None, episodes=3, size=1)

    end = run(scenario)
    assert (end.tally.finished, end.tally.put_off, end.deaths) == (2, 1, 1)
    assert STARTS_WITHIN_S <= end.took_s < STARTS_WITHIN_S + 5 * IDLE_S


def test_a_pool_of_silent_workers_is_given_up() -> None:
    """After so many silent workers in a row the lane closes with a sentence; its episodes stay pending."""

    async def scenario() -> Played:
        return await played(lambda number: 0, episodes=9, size=1)

    end = run(scenario)
    assert len(end.processes) == end.deaths == DEATHS_MAX
    assert all(process.is_stopped for process in end.processes)
    assert (end.tally.finished, end.tally.pending + end.tally.put_off) == (0, 9)
    assert str(end.tally.closing).startswith(f"every worker ended, {DEATHS_MAX} times in a row")
    assert end.took_s < DEATHS_MAX * STARTS_WITHIN_S + 5 * IDLE_S
