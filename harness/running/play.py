"""How what is left of a sweep is played to its end.

In order: local engines, connections, one question to every server (does it serve this model?), then the gates open. Nothing is played
before all of that is true."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import duckdb
import orjson
from anyio.abc import TaskGroup

from backends.local.local_server import LocalServer
from games import GAMES
from harness.access.budgets import find_scopes
from harness.access.connect import Connector, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import items_of, warm_up
from harness.access.methods import request_json
from harness.config.audit_plan import audit_plan
from harness.config.episode_plans import GameSet, lane
from harness.config.sweep import Seating, SweepSpec
from harness.core.clock import RealClock
from harness.core.records import AuditPlanRecord, MethodRecord, ModelRecord, Record, SweepRecord
from harness.core.vocabulary import EpisodePlan, digest
from harness.progress.meters import Meters
from harness.progress.pulse import Pulse
from harness.progress.views import LaneView, Progress
from harness.running.locked_keys import spec_json
from harness.running.resume import Stored, episodes_planned
from harness.scheduler.call import Caller, Route
from harness.scheduler.episode import Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.shutdown import Interrupts, RunEnd, play_until_done_or_stopped
from harness.scheduler.spending import LaneProgress, SpendingBudget
from harness.store.query_server import serve_queries
from harness.store.writer import StoreWriter, writing

if TYPE_CHECKING:
    from harness.running.early_stopping import EarlyStopping


class SweepRun:
    """One run over one store."""

    def __init__(
        self,
        *,
        spec: SweepSpec,
        setting: RunContext,
        sets: Mapping[str, GameSet],
        keys: Mapping[str, str | None],
        stored: Stored,
        run_id: str,
    ) -> None:
        self.spec = spec
        self.setting = setting
        self.sets = sets
        self.keys = keys
        self.stored = stored
        self.run_id = run_id
        self.interrupts = Interrupts(setting.say)
        self.began = False
        self.clock = RealClock()
        self.stopping: EarlyStopping | None = None
        self.planned = episodes_planned(spec, sets)
        self.left = {name: planned - len(stored.ended[name]) for name, planned in self.planned.items()}
        self.open_lanes()

    def stop_early(self, stopping: EarlyStopping) -> None:
        """From here on methods whose question is settled have nothing left to play."""
        self.stopping = stopping
        self.left = {
            name: 0 if name in self.spec.methods() and stopping.is_settled(name) else left
            for name, left in self.left.items()
        }
        self.open_lanes()

    def open_lanes(self) -> None:
        """Who has something left to play, which methods that takes, and what they may spend."""
        self.seatings = {name: seating for name, seating in self.spec.seatings().items() if self.left[name]}
        playing = {name for seating in self.seatings.values() for name in seating.methods}
        self.methods = {name: part for name, (_, part) in self.spec.methods().items() if name in playing}
        self.scopes = find_scopes(self.spec, self.seatings, source=self.setting.source)

    def plans(self, seating: Seating) -> Iterator[EpisodePlan]:
        """What these have to play, in order."""
        spec, name = self.spec, seating.name
        return lane(
            seating,
            self.sets,
            repeats=spec.repeats,
            seed=spec.seed,
            stored=self.stored.ended[name],
            arms=spec.arms(name),
        )

    async def run(self, connection: duckdb.DuckDBPyConnection) -> RunEnd:
        failed = self.stored.failed
        if not self.methods:
            if self.stopping:
                async with writing(connection, self.setting.store) as writer:
                    await self.stopping.run_due_analyses(writer)
            self.setting.say(
                f"nothing is left to play{f', but {failed} episodes failed in earlier runs' if failed else ''}"
            )
            return RunEnd(finished=0, failed=failed, pending=0, interrupted=False)
        for name, chosen in self.sets.items():
            of = chosen.instances[0].set_name if chosen.instances else "nothing"
            self.setting.say(f"{name}: {len(chosen.instances)} instances of {of}, rule set {chosen.rules}")
        end = None
        async with anyio.create_task_group() as listening:
            await listening.start(self.interrupts.listen)
            with self.interrupts.preparing():
                await anyio.to_thread.run_sync(warm_up, self.sets)
                async with (
                    writing(connection, self.setting.store) as writer,
                    serve_queries(connection, self.setting.store),
                ):
                    end = await self.play(writer)
            listening.cancel_scope.cancel()
        if end is None:
            return RunEnd(finished=0, failed=0, pending=sum(self.left.values()), interrupted=True)
        return dataclasses.replace(end, failed=end.failed + failed)

    def ways(self) -> Connector:
        return Connector(
            spec=self.spec,
            setting=self.setting,
            methods=self.methods,
            instances=items_of(self.sets),
            keys=self.keys,
            run_id=self.run_id,
            clock=self.clock,
        )

    async def play(self, writer: StoreWriter) -> RunEnd:
        ways = self.ways()
        async with ways.opened(writer) as (open_ways, background):
            routes, servers = open_ways.routes, open_ways.servers
            await ways.prove(open_ways)
            await writer.put(*self.opening_rows(routes, servers.started))
            self.began = True
            servers.follow_load(background, open_ways.gate_of)
            return await self.play_routes(routes, background, writer)

    def opening_rows(self, routes: Mapping[str, Route], servers: Mapping[str, LocalServer]) -> list[Record]:
        as_json = spec_json(self.spec)
        rows: list[Record] = [
            SweepRecord(
                run_id=self.run_id,
                name=self.spec.name,
                spec_json=as_json,
                spec_hash=digest(as_json),
                seed=self.spec.seed,
                version=version("lightbulb"),
                started_at=self.clock.wall(),
            )
        ]
        if self.spec.references():
            plan = audit_plan(self.spec, self.sets)
            rows.append(
                AuditPlanRecord(
                    run_id=self.run_id, plan_hash=digest(plan), plan_json=plan, made_at=self.clock.wall()
                )
            )
        rows += [
            ModelRecord(run_id=self.run_id, model=name, parameters=part.parameters)
            for name, part in self.spec.models.items()
        ]
        for name, route in routes.items():
            method, server = route.method, servers.get(name)
            rows.append(
                MethodRecord(
                    run_id=self.run_id,
                    method=name,
                    model=method.model,
                    provider=method.provider,
                    dialect=method.dialect,
                    base_url=method.base_url,
                    served_model=method.served_name,
                    sampling_json=orjson.dumps(dataclasses.asdict(method.sampling)).decode(),
                    constrain=method.constrain,
                    concurrency=method.concurrency,
                    engine_json=orjson.dumps(dict(server.facts)).decode() if server else None,
                    gate=route.gate.name,
                    request_json=request_json(method),
                )
            )
        return rows

    def budget(self, routes: Mapping[str, Route]) -> SpendingBudget:
        items = sum(len(chosen.instances) for chosen in self.sets.values())
        turns_typical = (
            sum(GAMES[name].turns_typical * len(chosen.instances) for name, chosen in self.sets.items())
            / items
        )
        ways = {
            name: LaneProgress(
                methods=seating.methods,
                planned=self.planned[name],
                begun=self.planned[name] - self.left[name],
                turns_typical=turns_typical,
            )
            for name, seating in self.seatings.items()
        }
        gates = {name: route.gate for name, route in routes.items()}
        return SpendingBudget(self.scopes, ways=ways, spent=self.stored.spent, gates=gates, clock=self.clock)

    def lane(self, seating: Seating, routes: Mapping[str, Route]) -> Lane:
        name, plans, stopping = seating.name, self.plans(seating), self.stopping
        gates = tuple(dict.fromkeys(routes[method].gate for method in seating.methods))
        if stopping is None or len(seating.methods) > 1:  # a pair is nobody's rival in an audit
            return Lane(name=name, plans=plans, gates=gates)
        return Lane(
            name=name,
            plans=stopping.closing_method(name, stopping.until_settled(name, plans)),
            gates=gates,
            # A budget keeps its lanes in step by itself; two of a mind would wait for each other.
            pace=None
            if self.scopes
            else lambda plan, tally: stopping.wait_for_analysis(name, plan, tally, routes[name].gate),
        )

    async def show(self, progress: Progress) -> None:
        """Whoever looks on sees how it goes, until cancelled: lines where a table cannot be."""
        if self.setting.emit is not None:
            await progress.events(self.setting.emit)
        if self.setting.live:
            table = await anyio.to_thread.run_sync(
                import_module, "harness.progress.live_table"
            )  # calls need not wait for it
            await table.live(progress, clock=self.clock)
        await progress.lines(self.setting.say)

    async def play_routes(
        self, routes: Mapping[str, Route], background: TaskGroup, writer: StoreWriter
    ) -> RunEnd:
        expected = ExpectedTurns(GAMES)
        meters = Meters(writer, self.clock, points=self.stored.points)
        player = Player(
            run_id=self.run_id,
            caller=Caller(
                sink=self.stopping.tap(meters) if self.stopping else meters,
                clock=self.clock,
                policy=retry_policy(self.spec),
                budget=self.budget(routes),
            ),
            games=GAMES,
            routes=routes,
            expected_turns=expected,
            seed=self.spec.seed,
        )
        lanes = [self.lane(seating, routes) for seating in self.seatings.values()]
        scheduler = Scheduler(lanes, player=player, expected=expected, beginning=self.stored.beginning)
        views = [
            LaneView(
                name=name,
                planned=self.planned[name],
                done_before=self.planned[name] - self.left[name],
                tally=scheduler.tallies[name],
                gate=routes[name].gate if name in routes else None,
            )
            for name in self.seatings
        ]
        pulse = Pulse(run_id=self.run_id, clock=self.clock, sink=writer)
        progress = Progress(
            views, clock=self.clock, meters=meters, pulse=pulse, rows_behind=lambda: writer.rows_behind
        )
        background.start_soon(pulse.beat)
        background.start_soon(self.show, progress)
        if self.stopping is None:
            return await play_until_done_or_stopped(scheduler, self.interrupts)
        background.start_soon(self.stopping.run_analyses, writer)
        end = await play_until_done_or_stopped(scheduler, self.interrupts)
        await self.stopping.run_due_analyses(writer)
        return end
