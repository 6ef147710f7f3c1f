"""Measures what a streamed chunk costs: our backend against bare aiohttp, and against parsing each chunk as
it arrives.

A separate process streams replies on loopback. This process reads the same streams by three clients in turn:
bare (aiohttp, chunks joined, nothing parsed), ours (chunks and their times kept, parsed once at the end, a
Completion made), and eager (line by line, JSON at once, as client libraries do). CPU seconds of this process
for each chunk; medians of interleaved rounds.

    python -m bench.streaming [--streams 64] [--chunks 200] [--rounds 5]"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import aiohttp
import orjson
import uvloop

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from harness.core.clock import RealClock
from harness.core.vocabulary import AccessMethod, Message, Prompt, ReplyFormat, Sampling

PAUSE_S = 0.005
TIMEOUT = aiohttp.ClientTimeout(total=300, sock_read=60)  # our deadlines, by timers of aiohttp's own
PROMPT = Prompt(
    messages=(Message("user", "Hi"),),
    reply_format=ReplyFormat(regex="[a-z]+"),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)


def http_chunk(**delta: object) -> bytes:
    event = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "toy",
        "choices": [{"index": 0, "delta": delta}],
    }
    raw = b"data: " + orjson.dumps(event) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(raw), raw)


class Streamer(asyncio.Protocol):
    """Speaks as much HTTP/1.1 as the three clients need: every request is answered by a stream."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST"):
            self._task = asyncio.ensure_future(self.stream())

    async def stream(self) -> None:
        write = self._transport.write
        write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(self._chunks):
            await asyncio.sleep(PAUSE_S)
            write(http_chunk(content=f" w{number}"))
        end = b"data: [DONE]\n\n"
        write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))


def serve(chunks: int, port: Connection) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: Streamer(chunks), "127.0.0.1", 0, backlog=1024
        )
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(forever())


@contextlib.contextmanager
def streamer(chunks: int) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(chunks, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


async def bare(url: str, streams: int) -> None:
    async def one(session: aiohttp.ClientSession) -> None:
        async with session.post(f"{url}/chat/completions", data=b"{}") as response:
            b"".join([part async for part in response.content.iter_any()])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=TIMEOUT) as session:
        await asyncio.gather(*(one(session) for _ in range(streams)))


async def eager(url: str, streams: int) -> None:
    async def one(session: aiohttp.ClientSession) -> None:
        times, words = [], []
        async with session.post(f"{url}/chat/completions", data=b"{}") as response:
            async for line in response.content:
                if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                    words.append(orjson.loads(line[6:])["choices"][0]["delta"]["content"])
                    times.append(time.perf_counter())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=TIMEOUT) as session:
        await asyncio.gather(*(one(session) for _ in range(streams)))


async def ours(url: str, streams: int) -> None:
    method = AccessMethod(
        name="toy/a",
        model="toy",
        provider="toy",
        dialect="openai_chat",
        base_url=url,
        served_name="toy",
        key_env=None,
        sampling=Sampling(),
        constrain=False,
        concurrency=streams,
        requests_per_second_max=None,
        stream=True,
    )
    async with open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as wire:
        backend = HttpBackend(method, DIALECTS["openai_chat"], wire, key=None, clock=RealClock())
        await asyncio.gather(*(backend.complete(PROMPT) for _ in range(streams)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    clients = {"bare": bare, "ours": ours, "eager": eager}
    spent_us: dict[str, list[float]] = {name: [] for name in clients}
    with streamer(options.chunks) as url:
        for _ in range(options.rounds):
            for name, client in clients.items():
                before = time.process_time()
                uvloop.run(client(url, options.streams))
                spent_us[name].append(
                    1e6 * (time.process_time() - before) / (options.streams * options.chunks)
                )
    print(
        f"{options.streams} streams of {options.chunks} chunks, {options.rounds} rounds; CPU µs a chunk, median (range)"
    )
    for name, each in spent_us.items():
        ratio = statistics.median(mine / base for mine, base in zip(each, spent_us["bare"], strict=True))
        print(
            f"{name:6} {statistics.median(each):6.1f} ({min(each):.1f} - {max(each):.1f})  {ratio:.2f}x bare"
        )


if __name__ == "__main__":
    main()
