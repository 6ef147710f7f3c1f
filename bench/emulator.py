"""Measures the emulator's requests a second on one core against an aiohttp server with one constant answer.

Both run in processes of their own on one core, one after the other in interleaved pairs; a bare client on
another core keeps 64 posts in flight: first asks of taboo and wordle, which the emulator's bots answer with a
quota counted and a fault drawn for each. Two figures: requests a second of wall time, and of the server's own
CPU time, which says on a busy machine what a quiet one would do.

    python -m bench.emulator [--seconds 3] [--pairs 5]"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import orjson
import uvloop
from aiohttp import web

from backends import turn_header
from backends.emulator.server import serving
from games import GAMES
from harness.core.emulation import Emulation, Faults, Quotas
from harness.core.vocabulary import EpisodePlan, Prompt

IN_FLIGHT = 64
WARM_UP = 2_000  # requests before the clock starts: every puzzle has been read by then
EMULATED = Emulation(skill=0.8, quotas=Quotas(requests=1e9), faults=Faults(rate=0.01, kinds=("500",)))
CONSTANT = orjson.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1,
        "model": "toy",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "CLUE: a thing like others"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    requests: int
    wall_s: float
    cpu_s: float


# --- the servers ----------------------------------------------------------------------------------------


async def emulate(ready: Callable[[int], None]) -> None:
    async with serving(EMULATED) as emulator:
        ready(int(emulator.base_url.split(":")[2].split("/")[0]))
        await emulator.dead.wait()


async def answer_constantly(ready: Callable[[int], None]) -> None:
    async def constant(request: web.BaseRequest) -> web.StreamResponse:
        orjson.loads(await request.read())
        return web.Response(body=CONSTANT, content_type="application/json")

    server = await asyncio.get_running_loop().create_server(
        web.Server(constant), "127.0.0.1", 0, backlog=4096
    )
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(what: Callable[[Callable[[int], None]], Awaitable[None]], pipe: Connection, core: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {core})

    async def served() -> None:
        def tell() -> None:
            pipe.recv()
            pipe.send(time.process_time())

        asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
        await what(pipe.send)

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(served())


@contextlib.contextmanager
def served(
    what: Callable[[Callable[[int], None]], Awaitable[None]], core: int
) -> Iterator[tuple[int, Callable[[], float]]]:
    """Starts a server in a process of its own; yields its port and a function that returns its CPU time."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(what, theirs, core), daemon=True
    )
    process.start()

    def cpu_s() -> float:
        ours.send(None)
        return float(ours.recv())

    try:
        yield ours.recv(), cpu_s
    finally:
        process.terminate()
        process.join()


# --- the client -----------------------------------------------------------------------------------------


def requests() -> list[bytes]:
    """Returns whole HTTP requests: the first asks of many items, with the turn header."""
    made = []
    for game in ("taboo", "wordle"):
        for instance in GAMES[game].instances():
            ask = next(GAMES[game].play(instance, "v1.6b"))
            plan = EpisodePlan(instance=instance, rules="v1.6b", seating=("m/a",) * len(GAMES[game].seats))
            prompt = Prompt(
                messages=ask.messages,
                reply_format=ask.reply_format,
                episode=plan.key,
                item=plan.item,
                seat=ask.seat,
                turn=0,
            )
            body = orjson.dumps(
                {
                    "model": "toy",
                    "messages": [{"role": message.role, "content": message.text} for message in ask.messages],
                    "max_tokens": ask.reply_format.tokens_max,
                    "temperature": 0.0,
                }
            )
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n{turn_header.HEADER}: {turn_header.header_value(prompt)}\r\n"
            made.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return made


class Load:
    """The counters and the queue of requests that all connections share."""

    def __init__(self) -> None:
        self.queue = itertools.cycle(requests())
        self.answered = 0
        self.warm = asyncio.Event()

    def count(self) -> None:
        self.answered += 1
        if self.answered == WARM_UP:
            self.warm.set()


class Poster(asyncio.Protocol):
    """A connection that posts the next request as soon as the last is answered."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(next(self._load.queue))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._buffer.lower().index(b"content-length:") + 15
        end = head + 4 + int(self._buffer[start : self._buffer.index(b"\r\n", start)])
        if len(self._buffer) >= end:
            self._buffer = self._buffer[end:]
            self._load.count()
            self._transport.write(next(self._load.queue))


async def post(port: int, seconds: float, cpu_s: Callable[[], float]) -> Measured:
    load, loop = Load(), asyncio.get_running_loop()
    transports = [
        (await loop.create_connection(lambda: Poster(load), "127.0.0.1", port))[0] for _ in range(IN_FLIGHT)
    ]
    await load.warm.wait()
    answered, began, used = load.answered, time.perf_counter(), cpu_s()
    await asyncio.sleep(seconds)
    measured = Measured(
        requests=load.answered - answered, wall_s=time.perf_counter() - began, cpu_s=cpu_s() - used
    )
    for transport in transports:
        transport.abort()
    return measured


def measure(what: Callable[[Callable[[int], None]], Awaitable[None]], seconds: float) -> Measured:
    cores = sorted(os.sched_getaffinity(0))
    with served(what, cores[0]) as (port, cpu_s):
        return uvloop.run(post(port, seconds, cpu_s))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    ratios = []
    for _ in range(arguments.pairs):
        bare, ours = measure(answer_constantly, arguments.seconds), measure(emulate, arguments.seconds)
        ratios.append((ours.requests / ours.cpu_s) / (bare.requests / bare.cpu_s))
        for name, one in (("bare aiohttp", bare), ("emulator", ours)):
            print(
                f"{name:12} {one.requests / one.wall_s:8.0f} requests/s of wall, {one.requests / one.cpu_s:8.0f} of its CPU,"
                f" {1e6 * one.cpu_s / one.requests:6.0f} us each",
                flush=True,
            )
    print(
        f"emulator / bare aiohttp, by CPU: median {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    )


if __name__ == "__main__":
    main()
