"""Wires `lightbulb bench`: a sweep's access methods, prompts of its games, stages of load, rows in the store.

Requests do not pass through gates and are not retried, so that the server gets exactly the given load;
refused requests count as errors. A declared limit of requests a second is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from games import GAMES
from games.playthrough import play_by_bots
from harness.access.connect import connector_for_all
from harness.access.context import RunContext
from harness.access.game_sets import game_sets, warm_up
from harness.config.episode_plans import GameSet
from harness.config.load import suggest
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError
from harness.core.protocols import Backend, Clock
from harness.core.records import BenchRequest, BenchStage
from harness.core.seeds import stream
from harness.core.vocabulary import EpisodePlan, Prompt, game_library, method_key
from harness.loadtest.generator import Stage, StageLoad, generate_load
from harness.loadtest.metrics import Objective, StageResult, knee, summarise_stage
from harness.loadtest.prompts import read_prompts, repeat_shuffled
from harness.store.file import open_to_write
from harness.store.writer import StoreWriter, writing

WARM_REQUESTS = 4  # before the first stage, not measured: connections, caches
BOT_SKILL = 0.8  # of a good model: prompts as long as in its sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestPlan:
    """The settings of a load test.

    methods       names; empty: all of the sweep's
    objective     for goodput
    prompts       a file of them; None: those of the sweep's games, as bots play them
    tokens_max    of a reply to a prompt of the file
    stream        ask for streamed replies: without it there is no time to first token"""

    methods: Sequence[str]
    stages: Sequence[Stage]
    objective: Objective
    prompts: Path | None
    tokens_max: int
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodLoadTest:
    """One method's stages.

    knee   the least concurrency that reaches nine tenths of the best throughput; None if unknown"""

    method: str
    stages: tuple[StageResult, ...]
    knee: float | None


async def loadtest_sweep(
    spec: SweepSpec, plan: LoadTestPlan, context: RunContext
) -> tuple[MethodLoadTest, ...]:
    """Measures every method, one after the other, stage by stage, and stores the rows.

    raises  SpecError, EngineError before anything is measured; StoreError"""
    for name in plan.methods:
        if name not in spec.methods():
            raise SpecError(
                f"--method {name}: the sweep has no such access method{suggest(name, list(spec.methods()))}"
            )
    chosen = _restricted(spec, plan)
    sets = game_sets(chosen, context.source)
    connector = connector_for_all(chosen, context, sets, run_id="bench")
    with open_to_write(context.store, notify=context.notify) as connection:
        ((before,),) = connection.execute("SELECT count(DISTINCT run_id) FROM bench_stages").fetchall()
        async with writing(connection, context.store) as writer, connector.connected(writer) as live:
            await connector.prove(live)
            await anyio.to_thread.run_sync(warm_up, sets)
            prompts = (
                read_prompts(plan.prompts, tokens_max=plan.tokens_max)
                if plan.prompts
                else game_prompts(sets, spec.seed)
            )
            return tuple(
                [
                    await _Bench(
                        name,
                        route.backend,
                        prompts,
                        plan,
                        context,
                        writer,
                        connector.clock,
                        spec.seed,
                        f"bench-{before + 1:04}",
                    ).run()
                    for name, route in live.routes.items()
                ]
            )


def _restricted(spec: SweepSpec, plan: LoadTestPlan) -> SweepSpec:
    """Returns the sweep with these methods only and without an audit, their replies streamed if the plan says
    so.

    raises  SpecError for a file of prompts with a method of bots, which answer games only"""
    models = {}
    for model, part in spec.models.items():
        methods = {}
        for key, method in part.methods.items():
            name = method_key(model, key)
            if plan.methods and name not in plan.methods:
                continue
            if plan.prompts is not None and (method.bots is not None or method.emulator is not None):
                raise SpecError(
                    f"--prompts: {name} is played by bots, which answer games only; select other methods with --method"
                )
            methods[key] = dataclasses.replace(method, stream=plan.stream and method.bots is None)
        if methods:
            models[model] = dataclasses.replace(part, methods=methods)
    return dataclasses.replace(
        spec, models=models, pairs=(), audit=dataclasses.replace(spec.audit, reference=None, again=False)
    )


def game_prompts(sets: Mapping[str, GameSet], seed: int) -> list[Prompt]:
    """Returns every ask of every item as bots play it: prompts as long, and as similar, as in a sweep.

    raises  SpecError if the sweep has no game that bots play"""
    prompts = []
    for game, chosen in sets.items():
        if game_library(game) is not None:  # no bots play it
            continue
        for instance in chosen.instances:
            plan = EpisodePlan(instance=instance, rules=chosen.rules, seating=("bench",))
            played = play_by_bots(
                GAMES[game],
                instance,
                chosen.rules,
                skill=BOT_SKILL,
                chance=stream(seed, "bench", instance.content_hash),
            )
            prompts += [
                Prompt(
                    messages=ask.messages,
                    reply_format=ask.reply_format,
                    episode=plan.key,
                    item=plan.item,
                    seat=ask.seat,
                    turn=turn,
                )
                for turn, ask in enumerate(played.asks)
            ]
    if not prompts:
        raise SpecError(
            "no bots play the games of this sweep, so that they give no prompts; name some: --prompts"
        )
    return prompts


class _Bench:
    """Runs every stage of one method and stores its rows."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        prompts: Sequence[Prompt],
        plan: LoadTestPlan,
        context: RunContext,
        writer: StoreWriter,
        clock: Clock,
        seed: int,
        run_id: str,
    ) -> None:
        self._name, self._backend, self._plan, self._run_id = name, backend, plan, run_id
        self._context, self._writer, self._clock, self._seed = context, writer, clock, seed
        self._prompts = repeat_shuffled(prompts, seed=seed)

    async def run(self) -> MethodLoadTest:
        warm = Stage(loop="closed", level=WARM_REQUESTS, requests=WARM_REQUESTS)
        await generate_load(warm, self._backend, self._prompts, clock=self._clock, seed=self._seed)
        measured = []
        for number, stage in enumerate(self._plan.stages):
            load = f"{stage.level:g} {'in flight' if stage.loop == 'closed' else 'requests a second'}"
            self._context.notify(f"{self._name}: {stage.requests} requests, {load}")
            offered = await generate_load(
                stage, self._backend, self._prompts, clock=self._clock, seed=self._seed
            )
            measured.append(summarise_stage(offered, self._plan.objective))
            await self._keep(number, offered, measured[-1])
        return MethodLoadTest(method=self._name, stages=tuple(measured), knee=knee(measured))

    async def _keep(self, number: int, offered: StageLoad, measured: StageResult) -> None:
        stage, began_at = offered.stage, offered.began_at
        await self._writer.put(
            BenchStage(
                run_id=self._run_id,
                stage=number,
                method=self._name,
                loop=stage.loop,
                level=stage.level,
                requests=stage.requests,
                wall_s=offered.wall_s,
                cpu_share=offered.cpu_share,
                lag_s=offered.lag_s,
                lag_s_max=offered.lag_s_max,
                refused=measured.refused,
                at=self._clock.wall(),
            ),
            *(
                BenchRequest(
                    run_id=self._run_id,
                    stage=number,
                    method=self._name,
                    due_s=request.due_at - began_at,
                    sent_s=request.sent_at - began_at,
                    first_s=None if request.first_at is None else request.first_at - began_at,
                    done_s=request.done_at - began_at,
                    prompt_tokens=request.prompt_tokens,
                    completion_tokens=request.completion_tokens,
                    gap_s_median=request.gap_s_median,
                    error_class=request.error,
                )
                for request in offered.requests
            ),
        )
