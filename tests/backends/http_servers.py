"""Servers of a few lines, and backends that ask them, for the tests of HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import orjson
from aiohttp import web

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from harness.core.clock import RealClock
from harness.core.errors import CallError
from harness.core.vocabulary import Completion, Message, Prompt, ReplyFormat
from tests.world import method

PROMPT = Prompt(
    messages=(Message("user", "Hi"),),
    reply_format=ReplyFormat(regex="[a-z]+"),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)


GOOD = b'{"id": "1", "model": "toy", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}'


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/v1/{rest:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def backend(
    base_url: str,
    *,
    key: str | None = None,
    deadlines: Deadlines | None = None,
    per_second: float | None = None,
    **of_method: Any,
) -> AsyncIterator[HttpBackend]:
    async with open_connection_pool(
        requests_per_second_max=per_second, deadlines=deadlines or Deadlines()
    ) as wire:
        yield HttpBackend(
            replace(method(), base_url=base_url, **of_method),
            DIALECTS["openai_chat"],
            wire,
            key=key,
            clock=RealClock(),
        )


def result_of(
    handler: Handler, *, deadlines: Deadlines | None = None, key: str | None = None
) -> str | CallError:
    """Returns the reply, or the error, of one call to a server with this handler."""

    async def scenario() -> str | CallError:
        async with serving(handler) as url, backend(url, deadlines=deadlines, key=key) as through:
            try:
                return (await through.complete(PROMPT)).text
            except CallError as error:
                return error

    return anyio.run(scenario)


async def good(request: web.Request) -> web.StreamResponse:
    return web.Response(body=GOOD, content_type="application/json")


def events(*chunks: object) -> list[bytes]:
    return [b"data: %s\n\n" % orjson.dumps(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]


def delta(**said: object) -> dict[str, object]:
    return {"id": "1", "model": "toy", "choices": [{"index": 0, "delta": said, "finish_reason": None}]}


END_EVENT = ({**delta(), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},)


STREAM_EVENTS = events(
    delta(role="assistant", content=""),
    delta(content="hel"),
    delta(content="lo"),
    {**delta(), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "1", "model": "toy", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
)


def streaming(pieces: Sequence[bytes], pause_s: float = 0.0, *, hang: bool = False) -> Handler:
    """Returns a handler that streams these pieces."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "x-ratelimit-remaining-requests": "7"}
        )
        await response.prepare(request)
        for piece in pieces:
            await asyncio.sleep(pause_s)
            await response.write(piece)
        if hang:
            await asyncio.sleep(0.8)
        return response

    return handler


def streamed(
    handler: Handler, *, deadlines: Deadlines | None = None, key: str | None = None
) -> Completion | CallError:
    async def scenario() -> Completion | CallError:
        async with (
            serving(handler) as url,
            backend(url, deadlines=deadlines, key=key, stream=True) as through,
        ):
            try:
                return await through.complete(PROMPT)
            except CallError as error:
                return error

    return anyio.run(scenario)


@asynccontextmanager
async def raw_server(
    answers: Callable[[int, int], tuple[bytes, bool]],
) -> AsyncIterator[tuple[str, list[int]]]:
    """Yields the base URL of a server, and the number of requests on each of its connections.

    answers   (number of the connection, number of the request on it) -> the bytes to send, whether to close
              then"""
    requests: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = len(requests)
        requests.append(0)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(size[0].split(b":")[1]))
                requests[connection] += 1
                sent, close = answers(connection, requests[connection])
                writer.write(sent)
                await writer.drain()
                if close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", requests
    finally:
        server.close()


def whole(text: str) -> bytes:
    body = GOOD.replace(b"hello", text.encode())
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
