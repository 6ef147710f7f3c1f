"""Wires `lightbulb bench`: a sweep's access methods, the traffic, stages of load, rows in the store.

Requests do not pass through gates and are not retried, so that the server gets exactly the given load;
refused requests count as errors. A declared limit of requests a second is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from harness.access.connect import Connector, LiveMethods, connector_for_all
from harness.access.context import RunContext
from harness.access.engine_servers import load_reader
from harness.access.game_sets import game_sets, warm_up
from harness.config.episode_plans import GameSet
from harness.config.problems import suggest
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.bench_records import BenchRun
from harness.core.errors import CallError, SpecError
from harness.core.protocols import Backend
from harness.core.seeds import stream
from harness.core.vocabulary import Message, method_key
from harness.loadtest.game_traffic import game_prompts, game_sessions
from harness.loadtest.generator import generate_load
from harness.loadtest.ladder import Ladder, LevelGoal, MethodLoadTest
from harness.loadtest.load_profile import LoadProfile, Loop, Stage
from harness.loadtest.metrics import Objective
from harness.loadtest.prompts import (
    PROBE_WORDS,
    TokenScale,
    read_prompts,
    token_scale,
    words_prompt,
)
from harness.loadtest.run_facts import facts_of, load_facts, run_row
from harness.loadtest.stage_player import StagePlayer
from harness.loadtest.trace import RecordedRequest, read_trace
from harness.loadtest.traffic import Source, TrafficSettings, work_of
from harness.loadtest.work import OpeningOnly
from harness.store.bench_queries import RecordedCall, recorded_calls
from harness.store.file import open_to_read, open_to_write
from harness.store.writer import StoreWriter, writing

WARM_REQUESTS = 4  # before the first stage, not measured: connections, caches


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestPlan:
    """The settings of a load test.

    methods    names; empty: all of the sweep's
    levels     to play, in order; empty if `goal` chooses them
    objective  for goodput
    stream     ask for streamed replies: without it there is no time to first token
    label      the user's word for the run"""

    methods: Sequence[str]
    levels: Sequence[tuple[Loop, float]]
    objective: Objective
    profile: LoadProfile
    traffic: TrafficSettings
    goal: LevelGoal | None = None
    stream: bool = True
    label: str | None = None

    def stages(self) -> list[Stage]:
        """Returns the stages in the order of play; none if a search chooses them."""
        return [
            self.profile.stage(loop, level, repeat=repeat)
            for repeat in range(self.profile.repeats)
            for loop, level in self.levels
        ]


async def loadtest_sweep(
    spec: SweepSpec, plan: LoadTestPlan, context: RunContext
) -> tuple[MethodLoadTest, ...]:
    """Measures every method, one after the other, stage by stage, and stores the rows.

    raises  SpecError, EngineError before anything is measured; StoreError"""
    chosen = restricted(spec, plan)
    sets = game_sets(chosen, context.source)
    recorded = {}  # read first: a process that writes a store cannot also open it to read
    if plan.traffic.trace is not None:
        recorded = await anyio.to_thread.run_sync(
            recorded_requests, plan.traffic.trace, tuple(chosen.methods())
        )
    with open_to_write(context.store, notify=context.notify) as connection:
        ((before,),) = connection.execute("SELECT count(DISTINCT run_id) FROM bench_stages").fetchall()
        run_id = f"bench-{before + 1:04}"
        connector = dataclasses.replace(
            connector_for_all(chosen, context, sets, run_id=run_id), ignore_eos=plan.traffic.ignore_eos
        )
        async with writing(connection, context.store) as writer, connector.connected(writer) as live:
            await connector.prove(live)
            await anyio.to_thread.run_sync(warm_up, sets)
            bench = _Bench(chosen, plan, context, sets, recorded, connector, live, writer, run_id)
            try:
                return tuple([await bench.measure(name) for name in live.routes])
            except anyio.get_cancelled_exc_class():
                store = context.store
                context.notify(
                    f"{run_id} ends early; the stages that ended are in {store}: lightbulb view {store}"
                )
                raise


def restricted(spec: SweepSpec, plan: LoadTestPlan) -> SweepSpec:
    """Returns the sweep with these methods only and without an audit, their replies streamed if the plan says
    so.

    raises  SpecError for a method that the sweep has not, or that cannot answer the traffic"""
    for name in plan.methods:
        if name not in spec.methods():
            raise SpecError(
                f"--method {name}: the sweep has no such access method{suggest(name, list(spec.methods()))}"
            )
    models = {}
    for model, part in spec.models.items():
        methods = {}
        for key, method in part.methods.items():
            name = method_key(model, key)
            if plan.methods and name not in plan.methods:
                continue
            _refuse_foreign_traffic(name, method, plan.traffic)
            methods[key] = dataclasses.replace(method, stream=plan.stream and method.bots is None)
        if methods:
            models[model] = dataclasses.replace(part, methods=methods)
    return dataclasses.replace(
        spec, models=models, pairs=(), audit=dataclasses.replace(spec.audit, reference=None, again=False)
    )


def _refuse_foreign_traffic(name: str, method: MethodPart, traffic: TrafficSettings) -> None:
    """Raises SpecError where players of games would be asked something else.

    An emulator answers random prompts too, with its automaton."""
    plays_games = method.bots is not None or method.emulator is not None
    options = {
        "--prompts": traffic.prompts is not None and plays_games,
        "--prefix unique": traffic.unique_prefix and traffic.prompt_tokens is None and plays_games,
        "--trace": traffic.trace is not None and method.bots is not None,
        "--prompt-tokens": traffic.prompt_tokens is not None and method.bots is not None,
    }
    for option, refused in options.items():
        if refused:
            raise SpecError(
                f"{option}: {name} is played by bots, which answer games only; select other methods with --method"
            )


@dataclass(frozen=True, slots=True)
class _Bench:
    """One run: measures its methods."""

    spec: SweepSpec
    plan: LoadTestPlan
    context: RunContext
    sets: Mapping[str, GameSet]
    recorded: Mapping[str, Sequence[RecordedRequest]]
    connector: Connector
    live: LiveMethods
    writer: StoreWriter
    run_id: str

    async def measure(self, name: str) -> MethodLoadTest:
        """Plays the stages of one method."""
        plan, clock, route = self.plan, self.connector.clock, self.live.routes[name]
        source = await self._source(name, route.backend)
        row = await self._run_row(name, source)
        await self.writer.put(row)
        url = self.live.servers.reporting_url(name)
        player = StagePlayer(
            method=name,
            run_id=self.run_id,
            base_url=route.method.base_url,
            backend=route.backend,
            profile=plan.profile,
            traffic=plan.traffic,
            source=source,
            objective=plan.objective,
            seed=self.spec.seed,
            sink=self.writer,
            clock=clock,
            planned=plan.stages(),
            ask_load=load_reader(url) if url is not None else None,
            prices=route.method.prices,
            notify=self.context.notify,
        )
        await self._warm(route.backend, source)
        ladder = Ladder(plan.profile, plan.objective, player.play)
        await ladder.play_levels(plan.levels)
        highest = await ladder.search(plan.goal) if plan.goal is not None else None
        found = ladder.result(name, self.run_id, highest)
        if found.stopped is not None:
            self.context.notify(f"{name}: stopped: {found.stopped}")
        return dataclasses.replace(found, facts=facts_of(row))

    async def _run_row(self, name: str, source: Source) -> BenchRun:
        """Returns what is measured; asks a server that this run did not start for its version."""
        plan = self.plan
        load = load_facts(
            plan.profile,
            plan.traffic,
            plan.objective,
            stream=plan.stream,
            distinct_prompts=len({prompt.messages for prompt in source.prompts}),
        )
        attached = name in self.live.wired and name not in self.live.servers.started
        return run_row(
            self.run_id,
            name,
            self.spec,
            self.live,
            load=load,
            reported=await self.live.wired[name].server_facts() if attached else {},
            label=plan.label,
            wall_s=self.connector.clock.wall(),
        )

    async def _source(self, name: str, backend: Backend) -> Source:
        traffic, clock, seed = self.plan.traffic, self.connector.clock, self.spec.seed
        if traffic.trace is not None:
            recorded = self.recorded[name]
            needs_scale = any(one.messages is None for one in recorded)
            scale = await self._scale(name, backend) if needs_scale else TokenScale()
            return Source(recorded=recorded, scale=scale)
        if traffic.sessions:
            return Source(
                sessions=lambda stage: game_sessions(
                    self.sets,
                    traffic.think_s,
                    clock=clock,
                    seed=seed,
                    unique_in=stage if traffic.unique_prefix else None,
                )
            )
        if traffic.prompt_tokens is not None:
            return Source(scale=await self._scale(name, backend))
        if traffic.prompts is not None:
            return Source(prompts=read_prompts(traffic.prompts, tokens_max=traffic.tokens_max))
        return Source(prompts=game_prompts(self.sets, seed))

    async def _scale(self, name: str, backend: Backend) -> TokenScale:
        """Asks the server for its count of two prompts."""
        chance = stream(self.spec.seed, "probe")
        try:
            counts = [
                (await backend.complete(words_prompt(words, chance=chance, tokens_max=1))).prompt_tokens
                for words in PROBE_WORDS
            ]
        except CallError as failed:
            self.context.notify(
                f"{name}: the server did not count the tokens of a prompt ({type(failed).__name__}: {failed}); one "
                "word counts as one token"
            )
            return TokenScale()
        return token_scale(counts)

    async def _warm(self, backend: Backend, source: Source) -> None:
        warm = Stage(
            loop="trace" if source.recorded else "closed", level=WARM_REQUESTS, requests=WARM_REQUESTS
        )
        plain = dataclasses.replace(self.plan.traffic, think_s=TrafficSettings().think_s)
        work, _ = work_of(warm, f"{self.run_id}:warm", plain, source, self.spec.seed)
        closed = dataclasses.replace(warm, loop="closed")
        await generate_load(closed, backend, map(OpeningOnly, work), clock=self.connector.clock)


def recorded_requests(path: Path, methods: Sequence[str]) -> dict[str, list[RecordedRequest]]:
    """Reads a trace file, which is the same for all methods, or the calls of a store.

    raises  SpecError if there are none"""
    if path.suffix != ".duckdb":
        return dict.fromkeys(methods, read_trace(path))
    with open_to_read(path) as connection:
        calls = {method: recorded_calls(connection, method) for method in methods}
    if not all(calls.values()):
        raise SpecError(f"--trace {path}: the store holds no call with a time; play a sweep into it first")
    return {method: _requests(calls[method]) for method in methods}


def _requests(calls: Sequence[RecordedCall]) -> list[RecordedRequest]:
    return [
        RecordedRequest(
            arrival_s=call.sent_at,
            messages=tuple(Message(role, text) for role, text in call.messages),  # type: ignore[arg-type]
            prompt_tokens=None,
            output_tokens=call.completion_tokens,
        )
        for call in calls
    ]
