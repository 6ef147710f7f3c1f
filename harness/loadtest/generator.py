"""Offers load to one access method: so many calls at once (closed loop), or so many a second whatever comes back (open loop).

Keeps: of every request the moment when it was due, when it was sent, when its first piece came and when it was done, so that waiting in
the client is never taken for the server's speed, nor hidden; of every stage what the client itself spent. Nothing is tried twice."""

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
Shoot = Callable[[float], Coroutine[Any, Any, None]]
BEAT_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is offered. level: calls in flight in a closed loop, requests a second in an open one."""

    loop: Loop
    level: float
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRequest:
    """One request; moments are seconds on the clock.

    due_at     when it was to be sent: its Poisson moment, or when its place was free
    sent_at    when it was, after any ceiling on the wire
    first_at   first piece with text; None if the reply was not streamed
    gap_s_median   between pieces
    error      None if a reply came, else the class of errors.py"""

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
    """One stage with what came of it.

    began_at   on the clock
    cpu_share  of one core, that this process used meanwhile
    lag_s      how late the event loop woke those who asked: mean and worst, of so many beats"""

    stage: Stage
    shots: tuple[TimedRequest, ...]
    began_at: float
    wall_s: float
    cpu_share: float
    lag_s: float
    lag_s_max: float
    beats: int


async def generate_load(
    stage: Stage, backend: Backend, prompts: Iterator[Prompt], *, clock: Clock, seed: int
) -> StageLoad:
    """One stage to its end; prompts must not run out."""
    lags: list[float] = []
    began_at, cpu_before = clock.now(), _cpu_s()
    shots: list[TimedRequest] = []

    async def shoot(due_at: float) -> None:
        shots.append(await _shot(backend, next(prompts), due_at, clock))

    async with anyio.create_task_group() as beside:
        beside.start_soon(_beat, clock, lags.append)
        await (_closed(stage, shoot, clock) if stage.loop == "closed" else _open(stage, shoot, clock, seed))
        beside.cancel_scope.cancel()
    wall_s = clock.now() - began_at
    return StageLoad(
        stage=stage,
        shots=tuple(shots),
        began_at=began_at,
        wall_s=wall_s,
        cpu_share=(_cpu_s() - cpu_before) / wall_s if wall_s > 0 else 0.0,
        lag_s=sum(lags) / len(lags) if lags else 0.0,
        lag_s_max=max(lags, default=0.0),
        beats=len(lags),
    )


async def _closed(stage: Stage, shoot: Shoot, clock: Clock) -> None:
    left = stage.requests

    async def place() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await shoot(clock.now())

    async with anyio.create_task_group() as places:
        for _ in range(int(stage.level)):
            places.start_soon(place)


async def _open(stage: Stage, shoot: Shoot, clock: Clock, seed: int) -> None:
    chance = stream(seed, "arrivals", str(stage.level))
    due_at = clock.now()
    async with anyio.create_task_group() as arrivals:
        for _ in range(stage.requests):
            due_at += chance.expovariate(stage.level)
            while (wait_s := due_at - clock.now()) > 0:  # timers may be a little early
                await clock.sleep(wait_s)
            arrivals.start_soon(shoot, due_at)


async def _shot(backend: Backend, prompt: Prompt, due_at: float, clock: Clock) -> TimedRequest:
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


async def _beat(clock: Clock, late: Callable[[float], None]) -> None:
    while True:
        due_at = clock.now() + BEAT_S
        await clock.sleep(BEAT_S)
        late(max(0.0, clock.now() - due_at))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
