"""Plays the stages of one method: sends, samples the server, tells how it goes, hands the rows on.

Knows a backend, a clock and a sink of rows; nothing of sockets and sweeps."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from harness.core.bench_records import BenchRequest, BenchStage
from harness.core.plain_data import as_json
from harness.core.protocols import Backend, Clock, RecordSink
from harness.core.records import EngineSample, Record
from harness.core.vocabulary import Prices, ServerLoad
from harness.loadtest.client_cost import process_cpu_s
from harness.loadtest.generator import StageLoad, TimedRequest, generate_load
from harness.loadtest.ladder import Played
from harness.loadtest.load_profile import LoadProfile, Stage
from harness.loadtest.metrics import MeasuredStage, Objective, StageResult, summarise_stage
from harness.loadtest.server_samples import ServerSample, sample_server, server_figures
from harness.loadtest.steady_window import SteadyWindow, steady_window
from harness.loadtest.traffic import Source, TrafficSettings, work_of

TELL_EVERY_S = 10.0


@dataclass(slots=True, kw_only=True)
class StagePlayer:
    """One method under load.

    run_id     of the rows
    base_url   of its server, which names the server's samples
    planned    the stages, as far as they are known beforehand
    ask_load   returns the server's load; None if it reports none
    prices     None: not known
    notify     takes a line for a person
    cpu_s      the CPU seconds of this process so far"""

    method: str
    run_id: str
    base_url: str
    backend: Backend
    profile: LoadProfile
    traffic: TrafficSettings
    source: Source
    objective: Objective
    seed: int
    sink: RecordSink
    clock: Clock
    planned: Sequence[Stage] = ()
    ask_load: Callable[[], Awaitable[ServerLoad | None]] | None = None
    prices: Prices | None = None
    notify: Callable[[str], None] = print
    cpu_s: Callable[[], float] = process_cpu_s
    _number: int = 0
    _cost_usd: float | None = 0.0
    _e2e_s: dict[tuple[str, float], float] = field(default_factory=dict)
    _samples: list[ServerSample] = field(default_factory=list)

    async def play(self, stage: Stage) -> Played:
        """Plays one stage and stores its rows."""
        number, self._number = self._number, self._number + 1
        self._samples = []
        self.notify(f"{self.method}: {self._announcement(stage, number)}")
        load = await self._offer(stage, number)
        ended_at = self.clock.wall()
        window = steady_window(load, warm_up_s=self.profile.warm_up_s, cool_down_s=self.profile.cool_down_s)
        measured = MeasuredStage(load=load, window=window)
        result = summarise_stage(measured, self.objective, server_figures(self._samples))
        if result.figures is not None and result.figures.e2e_s.mean is not None:
            self._e2e_s[stage.loop, stage.level] = result.figures.e2e_s.mean
        await self.sink.put(
            *stage_rows(self.run_id, self.method, number, load, window, result, ended_at),
            *self._sampled(),
        )
        return measured, result

    async def _offer(self, stage: Stage, number: int) -> StageLoad:
        work, moments = work_of(stage, f"{self.run_id}:{number}", self.traffic, self.source, self.seed)
        done: list[TimedRequest] = []
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._tell, done)
            if self.ask_load is not None:
                beside.start_soon(sample_server, self.ask_load, self.clock, self._samples.append)
            load = await generate_load(
                stage,
                self.backend,
                work,
                clock=self.clock,
                moments=moments,
                follow=done.append,
                cpu_s=self.cpu_s,
            )
            beside.cancel_scope.cancel()
        self._spend(done)
        return load

    # --- progress -------------------------------------------------------------------------------------------

    async def _tell(self, done: Sequence[TimedRequest]) -> None:
        began_at = self.clock.now()
        while True:
            await self.clock.sleep(TELL_EVERY_S)
            failed = sum(one.error is not None for one in done)
            passed = _clock(self.clock.now() - began_at)
            self.notify(f"{self.method}: {len(done)} requests done, {failed} failed, after {passed}")

    def _announcement(self, stage: Stage, number: int) -> str:
        units = "games" if self.traffic.sessions else "requests"
        bound = f"{stage.requests} {units}" if stage.requests is not None else "all requests"
        if stage.seconds is not None:
            bound = f"{bound}, at most {stage.seconds:g} s" if stage.requests else f"{stage.seconds:g} s"
        place = f"stage {number + 1}"
        if self.planned:
            place += f" of {len(self.planned)}"
        left = [self._estimate_s(one) for one in self.planned[number:]]
        known = [one for one in left if one is not None]
        ahead = f"; about {_clock(sum(known))} to go" if known and len(known) == len(left) else ""
        cost = f"; {self._cost_usd:.4f} US dollars so far" if self.prices and self._cost_usd else ""
        return f"{place}: {bound}, {stage.load}{ahead}{cost}"

    def _estimate_s(self, stage: Stage) -> float | None:
        """Returns how long a stage takes; None if nothing says it yet."""
        bounds = [] if stage.offering_s is None else [stage.offering_s]
        if stage.loop == "trace":
            recorded = self.source.recorded
            bounds.append((recorded[-1].arrival_s - recorded[0].arrival_s) / stage.level)
        elif stage.loop == "closed" and stage.requests is not None and not self.traffic.sessions:
            known = [e2e_s for (loop, _), e2e_s in self._e2e_s.items() if loop == "closed"]
            e2e_s = self._e2e_s.get(("closed", stage.level), known[-1] if known else None)
            bounds += [] if e2e_s is None else [stage.requests * e2e_s / stage.level]
        return min(bounds, default=None)

    def _spend(self, done: Sequence[TimedRequest]) -> None:
        if self.prices is None:
            return
        for one in done:
            cost = self.prices.cost_usd(
                prompt_tokens=one.prompt_tokens,
                cached_tokens=one.cached_tokens,
                completion_tokens=one.completion_tokens,
            )
            self._cost_usd = (self._cost_usd or 0.0) + (cost or 0.0)

    # --- rows -----------------------------------------------------------------------------------------------

    def _sampled(self) -> list[Record]:
        return [
            EngineSample(
                run_id=self.run_id,
                base_url=self.base_url,
                running=one.load.running,
                waiting=one.load.waiting,
                cache_use=one.load.cache_use,
                prefix_queries=one.load.prefix_queries,
                prefix_hits=one.load.prefix_hits,
                at=one.at,
            )
            for one in self._samples
        ]


def _clock(seconds: float) -> str:
    """Writes 75 s as 1:15."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def stage_rows(
    run_id: str,
    method: str,
    number: int,
    load: StageLoad,
    window: SteadyWindow,
    result: StageResult,
    wall_s: float,
) -> list[Record]:
    """Returns the rows of a stage and its requests.

    number   of the stage in its method's run
    wall_s   when the stage ended, in seconds since 1970"""
    stage, began_at, client = load.stage, load.began_at, load.client
    rows: list[Record] = [
        BenchStage(
            run_id=run_id,
            stage=number,
            method=method,
            loop=stage.loop,
            level=stage.level,
            requests=len(load.requests),
            wall_s=load.wall_s,
            cpu_share=client.cpu_share,
            lag_s=client.lag_s,
            lag_s_max=client.lag_s_max,
            refused=result.refused,
            at=wall_s,
            began_at=wall_s - load.wall_s,
            repeat=stage.repeat,
            offered_s=load.offered_s,
            cpu_s=client.cpu_s,
            window_from_s=window.from_s,
            window_to_s=window.to_s,
            steady=window.steady,
            figures_json=json.dumps(as_json(result)),
        )
    ]
    rows += [
        BenchRequest(
            run_id=run_id,
            stage=number,
            method=method,
            due_s=one.due_at - began_at,
            sent_s=one.sent_at - began_at,
            first_s=None if one.first_at is None else one.first_at - began_at,
            done_s=one.done_at - began_at,
            prompt_tokens=one.prompt_tokens,
            completion_tokens=one.completion_tokens,
            gap_s_median=one.gap_s_median,
            error_class=one.error,
            cached_tokens=one.cached_tokens,
            session=one.session,
            turn=one.turn,
        )
        for one in load.requests
    ]
    return rows
