"""Measures what the harness itself costs a turn: whole episodes over HTTP against a bare client that posts
the same bodies.

A separate process answers on loopback as fast as a small program can. On one core the harness plays episodes
of taboo and wordle (gates, retries, rows in DuckDB and the writer's thread included); on the same core a bare
aiohttp + orjson + uvloop loop posts the same bodies right before each play and right after it; medians.
bench.instructions counts the same in instructions.

    python -m bench.overhead [--episodes 2000] [--pairs 5]
    python -m bench.overhead --live 10000       so many episodes at once, answered after 5 to 25 s: memory,
                                                lag of the event loop"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import multiprocessing
import operator
import os
import resource
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import cast

import aiohttp
import anyio
import orjson
import uvloop

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from games import GAMES
from harness.core.clock import RealClock
from harness.core.event_loop import run_async
from harness.core.protocols import RecordSink
from harness.core.records import Record
from harness.core.steps import Playable
from harness.core.vocabulary import AccessMethod, Completion, EpisodePlan, Prompt, Sampling
from harness.limits.gate import WINDOW_START, Gate, GateLimits
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.store.file import open_to_write
from harness.store.writer import writing

REPLIES = {
    "describer": "CLUE: a thing like others",
    "guesser": "GUESS: nothing",
    "wordle": "guess: crane\nexplanation: a start",
}
MEMBERS = ("taboo", "wordle")
CHANCE = Random(0)  # of the responder's delays: answers that all come at one moment are no provider's
OPENING_S = 30.0  # of a crowd: until its first answers are there


# --- the other side -----------------------------------------------------------------------------------------


def answers_by_mark() -> list[tuple[bytes, bytes]]:
    """Returns for each seat a mark that its requests hold, and the whole HTTP answer to them."""
    answers: list[tuple[bytes, bytes]] = []
    for game in MEMBERS:
        play = GAMES[game].play(GAMES[game].instances()[0], GAMES[game].rule_sets[0])
        ask = next(play)
        while True:
            mark = orjson.dumps(ask.messages[0].text[:60])[1:-1]
            reply = REPLIES["wordle"] if game == "wordle" else REPLIES[ask.seat]
            if mark not in [known for known, _ in answers]:
                answers.append((mark, _answer(reply)))
            if game == "wordle" or ask.seat == "guesser":
                break
            ask = play.send(reply)
    return answers


def _answer(reply: str) -> bytes:
    body = orjson.dumps(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 1,
            "model": "toy",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312},
        }
    )
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


NO_MODELS = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"data":[]}'


class Responder(asyncio.Protocol):
    """Speaks as much HTTP/1.1 as a keep-alive client with bodies of known length needs."""

    def __init__(self, answers: list[tuple[bytes, bytes]], delay_s: float) -> None:
        self._answers = answers
        self._delay_s = delay_s
        self._buffer = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one in all but ancestry

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            if self._buffer.startswith(b"GET"):  # the list of models, which a run asks for first
                self._buffer = self._buffer[head + 4 :]
                self._transport.write(NO_MODELS)
                continue
            start = self._buffer.lower().index(b"content-length:", 0, head + 4) + 15
            end = head + 4 + int(self._buffer[start : self._buffer.index(b"\r\n", start)])
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            answer = next(answer for mark, answer in self._answers if mark in request)
            if self._delay_s:
                asyncio.get_running_loop().call_later(
                    CHANCE.uniform(1 / 3, 5 / 3) * self._delay_s, self._transport.write, answer
                )
            else:
                self._transport.write(answer)


def respond(answers: list[tuple[bytes, bytes]], port: Connection, core: int, delay_s: float) -> None:
    os.sched_setaffinity(0, {core})

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: Responder(answers, delay_s), "127.0.0.1", 0, backlog=4096
        )
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve())


@contextlib.contextmanager
def responder(core: int, delay_s: float = 0.0) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=respond, args=(answers_by_mark(), theirs, core, delay_s), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


# --- our side -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """turns, and the seconds of wall and of CPU that they took."""

    turns: int
    wall_s: float
    cpu_s: float

    @property
    def per_second(self) -> float:
        return self.turns / self.wall_s

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.cpu_s / self.turns


class NullSink(RecordSink):
    """A sink that drops every row, for the figure without the store."""

    async def put(self, *records: Record) -> None:
        return

    def put_nowait(self, record: Record) -> None:
        return


class RecordingBackend:
    """A backend that keeps the bodies it is asked to send."""

    def __init__(self, inner: HttpBackend, method: AccessMethod) -> None:
        self._inner = inner
        self._method = method
        self.bodies: list[bytes] = []

    async def complete(self, prompt: Prompt) -> Completion:
        self.bodies.append(orjson.dumps(DIALECTS["openai_chat"].request_body(self._method, prompt)))
        return await self._inner.complete(prompt)


def plans(episodes: int, method: str) -> Iterator[EpisodePlan]:
    pool = [(game, instance) for game in MEMBERS for instance in GAMES[game].instances()]
    for number in range(episodes):
        game, instance = pool[number % len(pool)]
        yield EpisodePlan(
            instance=instance,
            rules=GAMES[game].rule_sets[0],
            seating=(method,) * len(GAMES[game].seats),
            repeat=number // len(pool),
        )


@contextlib.asynccontextmanager
async def sink(store: Path | None) -> AsyncIterator[RecordSink]:
    if store is None:
        yield NullSink()
        return
    with open_to_write(store) as connection:
        async with writing(connection, store) as writer:
            yield writer


async def ours(
    url: str,
    *,
    episodes: int,
    window: int,
    store: Path | None,
    tap: list[bytes] | None = None,
    at_once: int = WINDOW_START,
    games: Mapping[str, Playable] = GAMES,
) -> Measured:
    """Plays whole episodes. Opening the file is not measured, as its cost does not grow with turns; the
    writer's last commit is."""
    method = AccessMethod(
        name="m/a",
        model="m",
        provider="responder",
        dialect="openai_chat",
        base_url=url,
        served_name="toy",
        key_env=None,
        sampling=Sampling(),
        constrain=False,
        concurrency=window,
        requests_per_second_max=None,
    )
    clock = RealClock()
    gate = Gate(
        "m/a",
        GateLimits(concurrency=window, at_once=at_once),
        clock=clock,
        on_event=lambda kind, detail: None,
    )
    async with open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as wire:
        backend = HttpBackend(method, DIALECTS["openai_chat"], wire, key=None, clock=clock)
        tapped = RecordingBackend(backend, method)
        async with sink(store) as rows:
            began, cpu = time.perf_counter(), time.process_time()
            route = Route(method=method, gate=gate, backend=backend if tap is None else tapped)
            expected = ExpectedTurns(games)
            player = Player(
                run_id="1",
                caller=Caller(
                    sink=rows, clock=clock, policy=RetryPolicy(), budget=SpendingBudget.unlimited(clock)
                ),
                games=games,
                routes={"m/a": route},
                expected_turns=expected,
                seed=1,
            )
            lanes = [Lane(name="m/a", plans=plans(episodes, "m/a"), gates=(gate,))]
            scheduler = Scheduler(lanes, player=player, expected=expected, beginning=lambda plan: Beginning())
            await scheduler.play_all()
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    assert scheduler.tallies["m/a"].finished == episodes
    if tap is not None:
        tap.extend(tapped.bodies)
    return Measured(turns=gate.statistics().calls, wall_s=wall_s, cpu_s=cpu_s)


async def bare(url: str, *, bodies: list[bytes], window: int) -> Measured:
    """Does the least that a client can: post, read, parse."""
    left = iter(bodies)
    address = f"{url}/chat/completions"
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for body in left:
                async with session.post(
                    address, data=orjson.dumps(orjson.Fragment(body)), headers=headers
                ) as response:
                    orjson.loads(await response.read())["choices"][0]["message"]["content"]

        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as workers:
            for _ in range(window):
                workers.create_task(worker())
        return Measured(
            turns=len(bodies), wall_s=time.perf_counter() - began, cpu_s=time.process_time() - cpu
        )


@contextlib.contextmanager
def pace() -> Iterator[Callable[[], float]]:
    """Yields a function that measures the machine's pace: CPU µs that a turn of the bare loop takes on one
    core."""
    cores = os.sched_getaffinity(0)
    with responder(max(cores)) as url:
        bodies: list[bytes] = []
        run_async(lambda: ours(url, episodes=200, window=64, store=None, tap=bodies))

        def measured() -> float:
            os.sched_setaffinity(0, {min(cores)})
            try:
                return uvloop.run(bare(url, bodies=bodies, window=256)).cpu_us
            finally:
                os.sched_setaffinity(0, cores)

        yield measured


@dataclass(frozen=True, slots=True)
class PairedPlay:
    """A play, and the bare loop right before and right after it: a machine whose pace drifts moves all
    three."""

    ours: Measured
    bares: tuple[Measured, Measured]

    @property
    def ratio(self) -> float:
        """Our turns a second over the bare loop's."""
        return self.ours.per_second / statistics.mean(one.per_second for one in self.bares)

    @property
    def beyond(self) -> float:
        """CPU time that a turn takes beyond the bare loop's, in units of the bare loop's."""
        return self.ours.cpu_us / statistics.mean(one.cpu_us for one in self.bares) - 1.0


def measure(
    url: str, bodies: list[bytes], *, episodes: int, window: int, pairs: int, folder: Path
) -> dict[str, list[PairedPlay]]:
    """Plays with the store and without it, so many times each."""
    found: dict[str, list[PairedPlay]] = {"all on": [], "without": []}
    before = uvloop.run(bare(url, bodies=bodies, window=window))
    for pair in range(pairs):
        for kind, store in (("all on", folder / f"{window}-{pair}.duckdb"), ("without", None)):
            own = run_async(functools.partial(ours, url, episodes=episodes, window=window, store=store))
            after = uvloop.run(bare(url, bodies=bodies, window=window))
            found[kind].append(PairedPlay(own, (before, after)))
            before = after
    return found


@dataclass(slots=True)
class Lags:
    """Event loop delays: how late a task wakes that sleeps 10 ms at a time, once all episodes are live."""

    seconds: list[float]

    async def watch(self) -> None:
        await asyncio.sleep(OPENING_S)
        while True:
            due_s = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            self.seconds.append(time.perf_counter() - due_s)

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


async def crowded(url: str, *, live: int, store: Path) -> tuple[Measured, Lags]:
    """Plays half as many episodes again as are live at once; the window is wide open from the beginning."""
    lags = Lags([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lags.watch)
        measured = await ours(url, episodes=live + live // 2, window=live, store=store, at_once=live)
        tasks.cancel_scope.cancel()
    return measured, lags


def measure_crowd(live: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with responder(cores[-1], delay_s=15.0) as url, TemporaryDirectory() as folder:
        os.sched_setaffinity(0, {cores[0]})
        store = Path(folder) / "crowd.duckdb"
        measured, lags = run_async(lambda: crowded(url, live=live, store=store))
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        "| live episodes | turns/s | CPU µs a turn | memory MiB | loop lag p50 ms | p99 ms | p99.9 ms | worst ms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    lag = " | ".join(f"{1000 * lags.percentile(share):.1f}" for share in (0.5, 0.99, 0.999, 1.0))
    print(f"| {live:,} | {measured.per_second:,.0f} | {measured.cpu_us:.0f} | {memory_mib:,.0f} | {lag} |")


PER_SECOND, CPU_US = operator.attrgetter("per_second"), operator.attrgetter("cpu_us")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--live", type=int, metavar="EPISODES")
    arguments = parser.parse_args()
    if arguments.live:
        measure_crowd(arguments.live)
        return
    cores = sorted(os.sched_getaffinity(0))
    with responder(cores[-1]) as url, TemporaryDirectory() as folder:
        os.sched_setaffinity(0, {cores[0]})
        bodies: list[bytes] = []
        run_async(lambda: ours(url, episodes=arguments.episodes, window=64, store=None, tap=bodies))
        print("| in flight | | turns/s | of the bare loop | CPU µs a turn | bare | beyond it, of it |")
        print("|---|---|---|---|---|---|---|")
        for window in (256, 1024):
            found = measure(
                url,
                bodies,
                episodes=arguments.episodes,
                window=window,
                pairs=arguments.pairs,
                folder=Path(folder),
            )
            for kind, runs in found.items():
                speed, cpu_us = (
                    statistics.median(figure(run.ours) for run in runs) for figure in (PER_SECOND, CPU_US)
                )
                bare_us = statistics.median(one.cpu_us for run in runs for one in run.bares)
                ratios = sorted(run.ratio for run in runs)
                ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                beyond = statistics.median(run.beyond for run in runs)
                print(
                    f"| {window:,} | {kind} | {speed:,.0f} | {ratio} | {cpu_us:.0f} | {bare_us:.0f} | {beyond:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
