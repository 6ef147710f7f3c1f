"""A process that plays episodes of a run whose coordinator is elsewhere.

Has the player and the caller of a run in one process; its gates lease from the coordinator's, its rows go
into a store of its own, which the coordinator merges when the run ends. Knows two calls of the coordinator:
`play` lasts as long as the worker, `exchange` brings messages and returns a report. Keeps: a report comes
at most every BATCH_S, unless a call was refused or a gate closed; STEADY_S after the last one where no answer
would change anything; and after IDLE_S where nothing happens. Does not promise: rows of its last second, if
the process is killed."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from harness.access.connect import Connector, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import games_of, items_of, warm_up
from harness.cluster.messages import Assignment, Played, Report, ToWorker, WorkerSetup
from harness.core.clock import RealClock
from harness.core.errors import GameUnavailable, HarnessError, Rejected, SpecError, first_error
from harness.core.protocols import RecordSink
from harness.core.records import EpisodeRecord, TurnRecord
from harness.foreign_games.episodes import playable_games
from harness.limits.leased_gate import LeasedGate
from harness.limits.leases import BATCH_S, LEASE_S, STEADY_S, Haste
from harness.progress.event_loop_delay import DelayMonitor
from harness.progress.meters import Meters
from harness.scheduler.call import Caller, Route
from harness.scheduler.episode import LeftPending, Player
from harness.scheduler.scheduler import ExpectedTurns
from harness.scheduler.spending import Spending, SpendingBudget
from harness.store.file import open_to_write
from harness.store.writer import writing

IDLE_S = 1.0  # between reports of a worker to which nothing happens
TOKEN = "token"  # the file in the folder of the workers' stores that proves that the folder is shared


class Worker:
    """See the module's header."""

    def __init__(self, setup: WorkerSetup, *, clock: RealClock) -> None:
        self._setup = setup
        self._clock = clock
        self._gates = {
            name: LeasedGate(name, clock=clock, on_news=self._note)
            for name in dict.fromkeys(route.gate for route in setup.routes)
        }
        self._spending = _ReportedSpending(clock)
        self._player: Player | None = None
        self._expected: ExpectedTurns | None = None
        self._episodes: TaskGroup | None = None
        self._instances = items_of(setup.sets)
        self._meters: Meters | None = None
        self._turns = _AnsweredTurns()
        self._unbegun: set[int] = set()
        self._begun: list[int] = []
        self._ended: list[tuple[int, Played]] = []
        self._answered: set[str] = set()
        self._lines: list[str] = []
        self._failure = ""
        self._is_over = False
        self._reported_s = clock.now()
        self._ready, self._end = anyio.Event(), anyio.Event()
        self._news, self._soon, self._urgent = anyio.Event(), anyio.Event(), anyio.Event()

    async def play(self) -> None:
        """Plays what is assigned until the coordinator ends it. An error is the last report's failure."""
        try:
            await self._play()
        except* HarnessError as group:
            self._failure = str(first_error(group))
        except* OSError as group:
            self._failure = str(first_error(group))
        finally:
            self._is_over = True
            self._ready.set()
            self._note("now")

    async def exchange(self, message: ToWorker) -> Report:
        """Takes the coordinator's message, and returns a report once there is something to tell, or after
        IDLE_S."""
        await self._ready.wait()
        if not self._is_over:
            self._take(message)
        with anyio.move_on_after(LEASE_S if any(gate.has_spare for gate in self._gates.values()) else IDLE_S):
            await self._news.wait()
        for period_s, event in ((STEADY_S, self._soon), (BATCH_S, self._urgent)):
            with anyio.move_on_after(max(0.0, self._reported_s + period_s - self._clock.now())):
                await event.wait()
        return self._report()

    def wake(self) -> None:
        """Lets `exchange` return: the coordinator has a message."""
        self._note("now")

    # --- messages -------------------------------------------------------------------------------------------

    def _note(self, haste: Haste) -> None:
        self._news.set()
        if haste != "later" or self._setup.counts_soon:
            self._soon.set()
        if haste == "now":
            self._urgent.set()

    def _take(self, message: ToWorker) -> None:
        assert self._episodes is not None
        for name, answer in message.leases.items():
            self._gates[name].take(answer)
        self._spending.exhausted.update(message.exhausted)
        for assignment in message.assignments:
            self._unbegun.add(assignment.number)
            self._episodes.start_soon(self._play_one, assignment)
        if message.end:
            self._end.set()

    def _report(self) -> Report:
        self._news, self._soon, self._urgent = anyio.Event(), anyio.Event(), anyio.Event()
        self._reported_s = self._clock.now()
        answered = self._newly_answered()
        report = Report(
            sent_s=self._reported_s,
            leases={
                name: request for name, gate in self._gates.items() if (request := gate.request()) is not None
            },
            begun=tuple(self._begun),
            ended=tuple(self._ended),
            traffic=self._meters.take_traffic() if self._meters is not None else {},
            turns=self._turns.reached,
            spent=self._spending.spent,
            answered=answered,
            lines=tuple(self._lines),
            is_over=self._is_over,
            failure=self._failure,
        )
        self._begun, self._ended, self._lines = [], [], []
        self._turns.reached, self._spending.spent = {}, {}
        return report

    def _newly_answered(self) -> tuple[str, ...]:
        if self._player is None:
            return ()
        new = tuple(
            route.method.name
            for route in self._setup.routes
            if route.method.name not in self._answered and self._player.answered(route.method.name)
        )
        self._answered.update(new)
        return new

    # --- play -----------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        setup = self._setup
        _prove_shared(setup)
        await anyio.to_thread.run_sync(warm_up, setup.sets)
        opening_games = playable_games(games_of(setup.spec, setup.source))
        with open_to_write(setup.store) as connection:
            async with writing(connection, setup.store) as writer, opening_games as games:
                await writer.put(*setup.rows)
                self._expected = ExpectedTurns(games)
                self._meters = Meters(writer, self._clock, scores={}, turns=self._turns)
                async with AsyncExitStack() as open_things:
                    self._player = Player(
                        run_id=setup.run_id,
                        caller=Caller(
                            sink=self._meters,
                            clock=self._clock,
                            policy=retry_policy(setup.spec),
                            budget=self._spending,
                        ),
                        games=games,
                        routes=await self._routes(open_things),
                        expected_turns=self._expected,
                        seed=setup.spec.seed,
                    )
                    await self._play_until_end(self._player, writer)

    async def _play_until_end(self, player: Player, sink: RecordSink) -> None:
        delay = DelayMonitor(run_id=self._setup.run_id, clock=self._clock, sink=sink)
        async with anyio.create_task_group() as background:
            background.start_soon(player.watch, tuple(self._gates.values()))
            background.start_soon(delay.measure)
            async with anyio.create_task_group() as self._episodes:
                self._ready.set()
                await self._end.wait()
                self._episodes.cancel_scope.cancel()
            background.cancel_scope.cancel()

    async def _play_one(self, assignment: Assignment) -> None:
        assert self._player is not None
        assert self._expected is not None
        plan = assignment.plan(self._instances)
        played = await self._player.play(plan, assignment.beginning, partial(self._begin, assignment.number))
        self._begin(assignment.number)  # an episode may end without an ask
        if isinstance(played, EpisodeRecord) and played.status == "finished":
            self._expected.learn(played.game, played.experiment, played.turns)
        self._ended.append((assignment.number, _portable(played)))
        self._note("later" if isinstance(played, EpisodeRecord) else "soon")

    def _begin(self, number: int) -> None:
        if number in self._unbegun:
            self._unbegun.remove(number)
            self._begun.append(number)
            self._note("later")

    async def _routes(self, open_things: AsyncExitStack) -> dict[str, Route]:
        setup, parts = self._setup, self._setup.spec.methods()
        connector = Connector(
            spec=setup.spec,
            context=RunContext(
                source=setup.source, store=setup.store, environ=os.environ, notify=self._lines.append
            ),
            methods={route.method.name: parts[route.method.name][1] for route in setup.routes},
            instances=self._instances,
            keys=setup.keys,
            run_id=setup.run_id,
            clock=self._clock,
        )
        return {
            route.method.name: Route(
                method=route.method,
                gate=self._gates[route.gate],
                backend=await connector.backend(route.method, parts[route.method.name][1], open_things),
                account=tuple(self._gates[name] for name in route.account),
                alone=route.alone,
                sole=route.sole,
                key_users=route.key_users,
            )
            for route in setup.routes
        }


def _prove_shared(setup: WorkerSetup) -> None:
    """raises  SpecError if this machine does not see the folder in which the coordinator collects stores"""
    token = setup.store.with_name(TOKEN)
    try:
        shared = token.read_text("utf-8") == setup.token
    except OSError:
        shared = False
    if not shared:
        raise SpecError(
            f"{setup.store.parent}: {socket.gethostname()} does not see the file {TOKEN} in it; workers on other"
            " machines need a folder that all of them share: name a store in such a folder with --store"
        )


def _portable(played: Played) -> Played:
    """Returns what became of an episode without what cannot travel: an error's response."""
    if isinstance(played, EpisodeRecord):
        return played
    if isinstance(played, LeftPending):
        lost = isinstance(played.error, GameUnavailable)
        return replace(played, error=played.error if lost else Rejected(str(played.error)))
    return played.copied()


class _AnsweredTurns:
    """Notes the turns that were answered; see Report.turns."""

    def __init__(self) -> None:
        self.reached: dict[str, tuple[int, int]] = {}

    def count(self, record: TurnRecord | EpisodeRecord) -> None:
        if isinstance(record, TurnRecord):
            episode, turn = record.episode_id, record.turn + 1
            first, last = self.reached.get(episode, (turn, turn - 1))
            self.reached[episode] = (first if last + 1 == turn else turn, turn)


class _ReportedSpending(SpendingBudget):
    """Notes what calls cost, for the coordinator's budget; its decisions come as `exhausted`."""

    def __init__(self, clock: RealClock) -> None:
        super().__init__((), lanes={}, spent={}, gates={}, clock=clock)
        self.spent: dict[str, Spending] = {}

    def begin_call(self, method: str) -> None:
        self._of(method).add(1, 0, 0.0)

    def end_call(self, method: str, *, tokens: int, cost_usd: float) -> None:
        self._of(method).add(0, tokens, cost_usd)

    def _of(self, method: str) -> Spending:
        spent = self.spent.get(method)
        if spent is None:
            spent = self.spent[method] = Spending()
        return spent
