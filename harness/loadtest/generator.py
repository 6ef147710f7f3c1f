"""Generates load for one access method: a closed loop keeps units in flight, an open loop begins them at
given moments, whatever is in flight.

Keeps: for every request the moments when it was due, sent, answered first and done, so that waiting in the
client is neither hidden nor counted as the server's; for every stage the client's own cost. Latency counts
from the due moment: a server that stalls delays all requests that were due in the stall, and each of them
shows it. Nothing is retried. A stage without one good answer ends early."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from harness.core.errors import CallError, TimedOut
from harness.core.protocols import Backend, Clock
from harness.core.vocabulary import Completion, Prompt
from harness.loadtest.client_cost import ClientCost, ClientMeter, process_cpu_s
from harness.loadtest.load_profile import Stage
from harness.loadtest.work import Work

# Takes the moment when the unit is due; returns whether there was a unit.
PlayOne = Callable[[float], Coroutine[Any, Any, bool]]
EARLY_S = 1e-6  # a wait that is shorter may be less than a clock's smallest step
HOPELESS = 10  # failed requests without one good answer: whoever asks a dead server waits minutes for each


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRequest:
    """One request; moments are seconds on the clock.

    due_at         when it was to be sent: its moment of arrival, or when its place in the loop was free
    sent_at        when it was sent, after waiting for the request rate limiter
    first_at       first chunk with text; None if the reply was not streamed
    gap_s_median   between chunks;  gaps_s  all of them, as long as the request is in memory
    cached_tokens  the part of prompt_tokens that the server found in its cache; None: it does not say
    error          None if a reply came, else the class of its CallError
    error_text     the words of that error
    session, turn  of a whole game; None and 0 for a single request"""

    due_at: float
    sent_at: float
    first_at: float | None
    done_at: float
    prompt_tokens: int | None
    completion_tokens: int | None
    gap_s_median: float | None
    error: str | None
    cached_tokens: int | None = None
    session: int | None = None
    turn: int = 0
    error_text: str | None = None
    gaps_s: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLoad:
    """One stage with its requests.

    began_at    on the clock
    offered_s   seconds until no unit began any more; the rest of wall_s waited for replies"""

    stage: Stage
    requests: tuple[TimedRequest, ...]
    began_at: float
    offered_s: float
    wall_s: float
    client: ClientCost


def ignore(request: TimedRequest) -> None:
    """Takes a request and does nothing: nobody follows the stage."""


async def generate_load(
    stage: Stage,
    backend: Backend,
    work: Iterator[Work],
    *,
    clock: Clock,
    moments: Iterable[float] = (),
    follow: Callable[[TimedRequest], None] = ignore,
    cpu_s: Callable[[], float] = process_cpu_s,
) -> StageLoad:
    """Runs one stage to its end.

    stage     what to offer
    backend   of the method
    work      the units; the stage ends when they run out
    moments   of an open loop or a trace: when units are due, in seconds since the stage began
    follow    takes each request when it is done
    cpu_s     the CPU seconds of this process so far"""
    timeouts_max = min(HOPELESS, int(stage.level)) if stage.loop == "closed" else HOPELESS
    sender = _Sender(backend, clock, follow, timeouts_max)
    meter, began_at = ClientMeter(clock, cpu_s), clock.now()

    async def play_one(due_at: float) -> bool:
        if (unit := next(work, None)) is None:
            return False
        await unit.play(sender.send, due_at)
        return True

    async with anyio.create_task_group() as measuring:
        measuring.start_soon(meter.measure_delay)
        offered_s = await (
            _closed_loop(stage, play_one, clock, sender, began_at)
            if stage.loop == "closed"
            else _open_loop(stage, play_one, clock, moments, sender, began_at)
        )
        measuring.cancel_scope.cancel()
    return StageLoad(
        stage=stage,
        requests=tuple(sender.requests),
        began_at=began_at,
        offered_s=offered_s,
        wall_s=clock.now() - began_at,
        client=meter.cost(),
    )


async def _closed_loop(
    stage: Stage, play_one: PlayOne, clock: Clock, sender: _Sender, began_at: float
) -> float:
    """Returns the seconds until the last unit began."""
    left, places = stage.requests, int(stage.level)
    last_at = began_at

    async def place(after_s: float) -> None:
        nonlocal left, last_at
        if after_s > 0:
            await clock.sleep(after_s)
        while (left is None or left > 0) and not sender.hopeless:
            if stage.seconds is not None and clock.now() - began_at >= stage.seconds:
                return
            left = None if left is None else left - 1
            last_at = clock.now()
            if not await play_one(last_at):
                return

    async with anyio.create_task_group() as running:
        for number in range(places):
            running.start_soon(place, stage.ramp_s * number / places)
    return last_at - began_at


async def _open_loop(
    stage: Stage,
    play_one: PlayOne,
    clock: Clock,
    moments: Iterable[float],
    sender: _Sender,
    began_at: float,
) -> float:
    """Returns the seconds until the last unit was due.

    began_at  when the stage began: the moments, like all its times, count from there"""
    last_s = 0.0
    async with anyio.create_task_group() as running:
        for number, due_s in enumerate(moments):
            if stage.requests is not None and number >= stage.requests:
                break
            if stage.seconds is not None and due_s > stage.seconds:
                break
            due_at, last_s = began_at + due_s, due_s
            while (wait_s := due_at - clock.now()) > EARLY_S:  # timers may fire a little early
                await clock.sleep(wait_s)
            if sender.hopeless:
                break
            running.start_soon(play_one, due_at)
    return last_s


class _Sender:
    """Sends prompts and notes what happened.

    timeouts_max   so many timeouts without one good answer are enough: one for each place of a closed loop"""

    def __init__(
        self, backend: Backend, clock: Clock, follow: Callable[[TimedRequest], None], timeouts_max: int
    ) -> None:
        self.requests: list[TimedRequest] = []
        self._backend, self._clock, self._follow = backend, clock, follow
        self._timeouts_max = timeouts_max
        self._answered = self._timeouts = 0

    @property
    def hopeless(self) -> bool:
        """Says whether nothing was answered so far and further requests would hardly be."""
        if self._answered:
            return False
        return len(self.requests) >= HOPELESS or self._timeouts >= self._timeouts_max

    async def send(self, prompt: Prompt, due_at: float, session: int | None, turn: int) -> Completion | None:
        """Sends one prompt; returns None if the call failed. See work.SendPrompt."""
        called_at = self._clock.now()
        completion, error, error_text, held_s = Completion(text=""), None, None, 0.0
        try:
            completion = await self._backend.complete(prompt)
            held_s = completion.held_s
        except CallError as failed:
            error, error_text, held_s = type(failed).__name__, str(failed), failed.held_s
        sent_at, pace = called_at + held_s, completion.pace
        request = TimedRequest(
            due_at=due_at,
            sent_at=sent_at,
            first_at=sent_at + pace.ttft_s if pace else None,
            done_at=self._clock.now(),
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            gap_s_median=pace.gap_s_median if pace else None,
            error=error,
            cached_tokens=completion.cached_tokens,
            session=session,
            turn=turn,
            error_text=error_text,
            gaps_s=pace.gaps_s if pace else (),
        )
        self.requests.append(request)
        self._answered += error is None
        self._timeouts += error == TimedOut.__name__
        self._follow(request)
        return None if error else completion
