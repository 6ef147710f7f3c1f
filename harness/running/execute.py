"""Executes a RunPlan: makes its access methods live, plays its lanes to their ends, and closes everything
again.

The order: games load their words; the writer and the query server start; engines, connections and gates; one
question to every server (does it serve this model?); the opening rows; then play. Nothing is played before
all of that is true. This is the only file of the room that wires live parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from games import GAMES
from games.playthrough import play_by_bots
from harness.access.connect import Connector, LiveMethods, Problem, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import games_of, items_of, warm_up
from harness.cluster.worker_pool import PoolParts, WorkerPool
from harness.config.episode_plans import GameSet, planned, turn_limits
from harness.core.clock import RealClock
from harness.core.protocols import RecordSink
from harness.core.records import Record
from harness.core.seeds import stream
from harness.core.steps import Playable
from harness.core.vocabulary import game_library
from harness.foreign_games.episodes import playable_games
from harness.limits.gate import Gate
from harness.limits.leases import LEASE_JITTER_S
from harness.limits.token_bucket import JITTER_S
from harness.progress import notebook_bar
from harness.progress.end_estimate import EndEstimator
from harness.progress.event_loop_delay import DelayMonitor
from harness.progress.meters import Meters
from harness.progress.turns_left import EpisodeTurns
from harness.progress.views import LaneView, Progress
from harness.running.opening_rows import opening_rows
from harness.running.prepare import LanePlan, RunPlan, episodes_left
from harness.running.workers import workers_of
from harness.scheduler.call import Caller
from harness.scheduler.episode import Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, PlaysEpisodes, Scheduler
from harness.scheduler.shutdown import Interrupts, RunEnd, play_until_done_or_stopped
from harness.scheduler.spending import LaneProgress, SpendingBudget
from harness.store.query_server import QueryServer
from harness.store.writer import StoreWriter, writing

if TYPE_CHECKING:
    import duckdb

    from harness.cluster.worker_pool import WorkerHandle

BOT_PLAYS = 12  # of each game, to expect the lengths of its episodes; the first real plays correct it
BOT_SKILL = 0.7  # as in planning/workload.py


async def execute(
    plan: RunPlan,
    context: RunContext,
    connection: duckdb.DuckDBPyConnection,
    *,
    clock: RealClock,
    begun: anyio.Event,
) -> RunEnd:
    """Plays all lanes of the plan, until they end or the user stops them.

    connection  of the store, to write
    begun       set once the writer has the opening rows
    raises      SpecError, EngineError before anything is played; StoreError"""
    if not plan.lanes:
        return await _play_nothing(plan, context, connection)
    for line in _opening_lines(plan):
        context.notify(line)
    opening_games = playable_games(games_of(plan.spec, context.source))
    interrupts = Interrupts(context.notify)
    end = None
    async with anyio.create_task_group() as listening:
        await listening.start(interrupts.listen)
        with interrupts.preparing():
            await anyio.to_thread.run_sync(warm_up, plan.sets)
            readers = QueryServer(connection, context.store)
            async with (
                writing(connection, context.store, free_memory=readers.interrupt_all) as writer,
                readers.serving(pause=writer.paused, notify=context.notify),
                opening_games as games,
            ):
                readers.offer("stop", interrupts.interrupt)
                async with (
                    _live_run(plan, context, games, writer, clock=clock, begun=begun) as run,
                    _players(run, games) as player,
                ):
                    end = await _play_lanes(run, player, readers, interrupts)
                end = _with_other_sessions(end, plan)
                if isinstance(player, WorkerPool):
                    end = replace(end, again=player.deaths > 0, used_s=player.budget.used_s)
        listening.cancel_scope.cancel()
    return end or RunEnd(finished=0, failed=0, pending=plan.left, interrupted=True)


def _with_other_sessions(end: RunEnd, plan: RunPlan) -> RunEnd:
    """Returns the end with the episodes of other sessions that lanes which ended early do not play."""
    others = {lane.name: lane.left_in_all - lane.left for lane in plan.lanes}
    return replace(end, unplayed={name: count + others[name] for name, count in end.unplayed.items()})


def _opening_lines(plan: RunPlan) -> Iterator[str]:
    for name, chosen in plan.sets.items():
        source = f" from the instance set {chosen.instances[0].set_name}" if chosen.instances else ""
        yield f"{name}: {len(chosen.instances)} items{source}, rule set {chosen.rules}"
    sessions = plan.spec.audit.sessions
    session = f"session {plan.session + 1} of {sessions}: " if sessions > 1 else ""
    if session or plan.ended:
        yield f"{session}{plan.ended:,} of {plan.planned:,} episodes done, {plan.left:,} to play"
    if plan.waiting:
        yield (
            f"engines take turns, because they do not fit on this machine together: now {_names(plan)}; later "
            f"{', '.join(plan.waiting)}"
        )


def _names(plan: RunPlan) -> str:
    return ", ".join(lane.name for lane in plan.lanes)


async def _play_nothing(plan: RunPlan, context: RunContext, connection: duckdb.DuckDBPyConnection) -> RunEnd:
    failed = plan.stored.failed
    if plan.early_stopping:
        async with writing(connection, context.store) as writer:
            await plan.early_stopping.run_due_analyses(writer)
    context.notify(
        f"nothing is left to play{f', but {failed} episodes failed in earlier runs' if failed else ''}"
    )
    return RunEnd(finished=0, failed=0, pending=plan.left_elsewhere, interrupted=False)


@asynccontextmanager
async def _live_run(
    plan: RunPlan,
    context: RunContext,
    games: Mapping[str, Playable],
    writer: StoreWriter,
    *,
    clock: RealClock,
    begun: anyio.Event,
) -> AsyncIterator[_LiveRun]:
    """Makes the plan's methods live for the block, and writes the opening rows. See execute."""
    connector = Connector(
        spec=plan.spec,
        context=context,
        methods=plan.methods,
        instances=items_of(plan.sets),
        keys=plan.request.keys,
        run_id=plan.run_id,
        clock=clock,
        jitter_s=LEASE_JITTER_S if plan.request.options.workers else JITTER_S,
    )
    async with connector.connected(writer) as live:
        problems = await _problems(plan, connector, live)
        rows = tuple(opening_rows(plan, live, wall_s=clock.wall(), without=problems))
        await writer.put(*rows)
        begun.set()
        closed = {name: connector.closed_gate(name, why, writer) for name, (_, why) in problems.items()}
        gates = live.gate_of | closed
        live.servers.follow_load(live.background, live.gate_of)
        turns = _episode_turns(plan)
        yield _LiveRun(
            plan=plan,
            context=context,
            live=live,
            gates=gates,
            rows=rows,
            writer=writer,
            meters=Meters(writer, clock, scores=plan.stored.points, turns=turns),
            turns=turns,
            budget=_budget(plan, gates, clock),
            expected=ExpectedTurns(games),
            clock=clock,
        )


@asynccontextmanager
async def _players(run: _LiveRun, games: Mapping[str, Playable]) -> AsyncIterator[PlaysEpisodes]:
    """Gives what plays the episodes: this process, or workers."""
    if run.plan.request.options.workers is None:
        yield _player(run, games)
    else:
        async with workers_of(run.plan, run.context, run.live, run.rows, run.pool_parts) as workers:
            yield workers


@dataclass(frozen=True, slots=True, kw_only=True)
class _LiveRun:
    """A run whose methods are live. rows: its opening rows."""

    plan: RunPlan
    context: RunContext
    live: LiveMethods
    gates: Mapping[str, Gate]
    rows: Sequence[Record]
    writer: StoreWriter
    meters: Meters
    turns: EpisodeTurns
    budget: SpendingBudget
    expected: ExpectedTurns
    clock: RealClock

    @property
    def sink(self) -> RecordSink:
        """Returns what counts rows, shows them to the interim analyses, and hands them to the writer."""
        stopping = self.plan.early_stopping
        return stopping.tap(self.meters) if stopping else self.meters

    def pool_parts(self, size: int, start_worker: Callable[[str], Awaitable[WorkerHandle]]) -> PoolParts:
        """Returns what so many workers need of it."""
        stopping = self.plan.early_stopping
        return PoolParts(
            size=size,
            start_worker=start_worker,
            gates=self.gates,
            meters=self.meters,
            turns=self.turns,
            observe=stopping.observe if stopping else lambda record: None,
            budget=self.budget,
            sink=self.sink,
            clock=self.clock,
            notify=self.context.notify,
        )


async def _play_lanes(
    run: _LiveRun, player: PlaysEpisodes, readers: QueryServer, interrupts: Interrupts
) -> RunEnd:
    plan, clock, writer, early_stopping = run.plan, run.clock, run.writer, run.plan.early_stopping
    background = run.live.background
    lanes = [_lane(plan, one, run.gates, run.turns) for one in plan.lanes]
    scheduler = Scheduler(lanes, player=player, expected=run.expected, beginning=plan.stored.beginning)
    delay = DelayMonitor(run_id=plan.run_id, clock=clock, sink=writer)
    views = _views(plan, run.gates, scheduler)
    progress = Progress(
        views,
        clock=clock,
        meters=run.meters,
        delay=delay,
        rows_behind=lambda: writer.rows_behind,
        ends=EndEstimator(
            views,
            clock=clock,
            meters=run.meters,
            turns=run.turns,
            sent_times=scheduler.sent_times,
            call_s_max=plan.spec.retry.timeout_s,
        ),
    )
    readers.offer("progress", progress.plain)
    background.start_soon(delay.measure)
    background.start_soon(_expect_lengths, run.turns, plan)
    background.start_soon(_show, progress, run.context, clock)
    if early_stopping is None:
        return await play_until_done_or_stopped(scheduler, interrupts)
    background.start_soon(early_stopping.run_analyses, writer)
    end = await play_until_done_or_stopped(scheduler, interrupts)
    await early_stopping.run_due_analyses(writer)
    return end


async def _problems(plan: RunPlan, connector: Connector, live: LiveMethods) -> dict[str, Problem]:
    """Returns why methods cannot be used; the lanes without them are played.

    raises  SpecError if the run is to play all or nothing, or no lane is left and no other turn follows or
            came before"""
    problems = await connector.problems(live)
    usable = [lane for lane in plan.lanes if problems.keys().isdisjoint(lane.seating.methods)]
    if problems and (plan.request.options.all_or_nothing or not (usable or plan.in_turns)):
        raise connector.refusal(problems)
    return problems


def _player(run: _LiveRun, games: Mapping[str, Playable]) -> Player:
    """Returns what plays the episodes in this process."""
    return Player(
        run_id=run.plan.run_id,
        caller=Caller(
            sink=run.sink,
            clock=run.clock,
            policy=retry_policy(run.plan.spec),
            budget=run.budget,
        ),
        games=games,
        routes=run.live.routes,
        expected_turns=run.expected,
        seed=run.plan.spec.seed,
    )


def _lane(plan: RunPlan, part: LanePlan, gates: Mapping[str, Gate], turns: EpisodeTurns) -> Lane:
    name, methods, stopping = part.name, part.seating.methods, plan.early_stopping
    episodes = episodes_left(plan.request, plan.stored, part)
    own_gates = tuple(dict.fromkeys(gates[method] for method in methods))
    if stopping is None or len(methods) > 1:  # a pair is compared with nothing in an audit
        return Lane(name=name, plans=turns.following(name, episodes), gates=own_gates, leave=turns.leave)
    return Lane(
        name=name,
        plans=turns.following(name, stopping.closing_method(name, stopping.until_settled(name, episodes))),
        gates=own_gates,
        leave=turns.leave,
        # A budget keeps its lanes in step by itself; the two waits together would wait for each other.
        pace=None
        if plan.scopes
        else lambda episode, tally: stopping.wait_for_analysis(name, episode, tally, gates[name]),
    )


def _budget(plan: RunPlan, gates: Mapping[str, Gate], clock: RealClock) -> SpendingBudget:
    items = sum(len(chosen.instances) for chosen in plan.sets.values())
    turns = sum(chosen.turns * len(chosen.instances) for chosen in plan.sets.values())
    progress = {
        one.name: LaneProgress(
            methods=one.seating.methods,
            planned=one.planned_in_all,
            begun=one.planned_in_all - one.left_in_all,
            turns_typical=turns / items,
        )
        for one in plan.lanes
    }
    return SpendingBudget(
        plan.scopes, lanes=progress, spent=plan.stored.spent, gates=gates, clock=clock, used_s=plan.used_s
    )


def _views(plan: RunPlan, gates: Mapping[str, Gate], scheduler: Scheduler) -> list[LaneView]:
    return [
        LaneView(
            name=one.name,
            planned=one.planned,
            done_before=one.planned - one.left,
            tally=scheduler.tallies[one.name],
            gate=gates.get(one.name),
        )
        for one in plan.lanes
    ]


def _episode_turns(plan: RunPlan) -> EpisodeTurns:
    """Returns what will follow the run's episodes."""
    planned = {lane.name: _episodes_by_game(plan, lane) for lane in plan.lanes}
    return EpisodeTurns(planned, turn_limits=turn_limits(plan.sets))


def _episodes_by_game(plan: RunPlan, lane: LanePlan) -> dict[str, int]:
    """Returns how many episodes of each game a lane has left; what is stored is spread over its games."""
    arms = plan.spec.arms(lane.name)
    return {
        game: round(
            planned(lane.seating, {game: chosen}, repeats=len(lane.repeats), arms=arms)
            * lane.left
            / max(1, lane.planned)
        )
        for game, chosen in plan.sets.items()
    }


async def _expect_lengths(turns: EpisodeTurns, plan: RunPlan) -> None:
    """Tells how long plays by the games' bots are: what `plan` reckons with, too."""
    for game, chosen in plan.sets.items():
        lengths = await anyio.to_thread.run_sync(_bot_lengths, game, chosen, plan.spec.seed)
        turns.expect(game, lengths)


def _bot_lengths(game: str, chosen: GameSet, seed: int) -> list[int]:
    if game_library(game) is not None or not GAMES[game].bots:  # no bots: the game's own estimate
        return [round(chosen.turns)]
    step = max(1, len(chosen.instances) // BOT_PLAYS)
    return [
        len(
            play_by_bots(
                GAMES[game],
                instance,
                chosen.rules,
                skill=BOT_SKILL,
                chance=stream(seed, "expected", instance.game, instance.id),
            ).asks
        )
        for instance in chosen.instances[::step][:BOT_PLAYS]
    ]


async def _show(progress: Progress, context: RunContext, clock: RealClock) -> None:
    """Shows progress until it is cancelled: as events, as a bar in a notebook, as a table on a terminal, or
    else as lines."""
    if context.emit is not None:
        await progress.events(context.emit)
    if context.display is not None:
        await notebook_bar.live(progress, context.display, clock=clock)
    if context.live:
        module = "harness.progress.live_table"  # slow to load: calls need not wait for it
        table = await anyio.to_thread.run_sync(import_module, module)
        with suppress(OSError):  # the terminal may be closed while the run goes on
            await table.live(progress, clock=clock)
    await progress.lines(context.notify)
