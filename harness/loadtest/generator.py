"""Generates load for one access method: a number of calls in flight (closed loop) or a rate of calls (open
loop).

Keeps: for every request the moments when it was due, sent, answered first and done, so that waiting in the
client is neither hidden nor counted as the server's; for every stage the client's own CPU and event loop
delay. Nothing is retried."""

from __future__ import annotations

import resource
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import anyio

from harness.core.errors import CallError
from harness.core.protocols import Backend, Clock
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, Prompt

Loop = Literal["closed", "open"]
SendOne = Callable[[float], Coroutine[Any, Any, None]]  # takes the moment when the request is due
PROBE_S = 0.02  # interval at which the event loop delay is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of load. level: calls in flight in a closed loop, requests a second in an open one."""

    loop: Loop
    level: float
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRequest:
    """One request; moments are seconds on the clock.

    due_at         when it was to be sent: its Poisson moment, or when its place in the loop was free
    sent_at        when it was sent, after waiting for the request rate limiter
    first_at       first chunk with text; None if the reply was not streamed
    gap_s_median   between chunks
    error          None if a reply came, else the class of its CallError"""

    due_at: float
    sent_at: float
    first_at: float | None
    done_at: float
    prompt_tokens: int | None
    completion_tokens: int | None
    gap_s_median: float | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLoad:
    """One stage with its requests.

    began_at   on the clock
    cpu_share  share of one core that this process used
    lag_s      mean event loop delay;  lag_s_max  largest, of so many measurements (beats)"""

    stage: Stage
    requests: tuple[TimedRequest, ...]
    began_at: float
    wall_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    beats: int


async def generate_load(
    stage: Stage, backend: Backend, prompts: Iterator[Prompt], *, clock: Clock, seed: int
) -> StageLoad:
    """Runs one stage to its end.

    stage     what to offer
    backend   of the method
    prompts   one for each request; must not run out
    seed      of the arrivals in an open loop"""
    lags: list[float] = []
    began_at, cpu_before = clock.now(), _cpu_s()
    requests: list[TimedRequest] = []

    async def send_one(due_at: float) -> None:
        requests.append(await _send(backend, next(prompts), due_at, clock))

    async with anyio.create_task_group() as measuring:
        measuring.start_soon(_measure_delay, clock, lags.append)
        await (
            _closed_loop(stage, send_one, clock)
            if stage.loop == "closed"
            else _open_loop(stage, send_one, clock, seed)
        )
        measuring.cancel_scope.cancel()
    wall_s = clock.now() - began_at
    return StageLoad(
        stage=stage,
        requests=tuple(requests),
        began_at=began_at,
        wall_s=wall_s,
        cpu_share=(_cpu_s() - cpu_before) / wall_s if wall_s > 0 else 0.0,
        lag_s=sum(lags) / len(lags) if lags else 0.0,
        lag_s_max=max(lags, default=0.0),
        beats=len(lags),
    )


async def _closed_loop(stage: Stage, send_one: SendOne, clock: Clock) -> None:
    left = stage.requests

    async def place() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await send_one(clock.now())

    async with anyio.create_task_group() as places:
        for _ in range(int(stage.level)):
            places.start_soon(place)


async def _open_loop(stage: Stage, send_one: SendOne, clock: Clock, seed: int) -> None:
    chance = stream(seed, "arrivals", str(stage.level))
    due_at = clock.now()
    async with anyio.create_task_group() as arrivals:
        for _ in range(stage.requests):
            due_at += chance.expovariate(stage.level)
            while (wait_s := due_at - clock.now()) > 0:  # timers may fire a little early
                await clock.sleep(wait_s)
            arrivals.start_soon(send_one, due_at)


async def _send(backend: Backend, prompt: Prompt, due_at: float, clock: Clock) -> TimedRequest:
    called_at = clock.now()
    completion, error, held_s = Completion(text=""), None, 0.0
    try:
        completion = await backend.complete(prompt)
        held_s = completion.held_s
    except CallError as failed:
        error, held_s = type(failed).__name__, failed.held_s
    sent_at, pace = called_at + held_s, completion.pace
    return TimedRequest(
        due_at=due_at,
        sent_at=sent_at,
        first_at=sent_at + pace.ttft_s if pace else None,
        done_at=clock.now(),
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        gap_s_median=pace.gap_s_median if pace else None,
        error=error,
    )


async def _measure_delay(clock: Clock, report: Callable[[float], None]) -> None:
    while True:
        due_at = clock.now() + PROBE_S
        await clock.sleep(PROBE_S)
        report(max(0.0, clock.now() - due_at))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
