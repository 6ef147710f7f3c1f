"""Every failure on a socket becomes one error of ours; deadlines name themselves."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from backends.connections import ANSWER_BYTES_MAX
from backends.deadlines import Deadlines
from harness.core.errors import (
    CallError,
    ConnectFailed,
    Garbled,
    Rejected,
    TimedOut,
    Unavailable,
    Unreachable,
)
from tests.backends.http_servers import (
    GOOD,
    PROMPT,
    STREAM_EVENTS,
    Handler,
    backend,
    good,
    raw_server,
    result_of,
    serving,
    streamed,
    streaming,
    whole,
)


async def reset_before_headers(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_in_the_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(GOOD[:40])
    assert request.transport is not None
    request.transport.close()
    return response


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1)
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(ANSWER_BYTES_MAX // 2**20 + 2):
        await response.write(b" " * 2**20)
    return response


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("https://elsewhere.example/v1/chat/completions")


async def overloaded(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "busy"}}, status=503)


@pytest.mark.parametrize(
    ("handler", "deadlines", "words"),
    [
        (streaming(STREAM_EVENTS[:1], hang=True), Deadlines(between_chunks_s=0.2), "between_chunks_s = 0.2"),
        (silent, Deadlines(first_byte_s=0.2), "first_byte_s = 0.2"),
        (streaming([b": alive\n\n"] * 40, 0.02), Deadlines(timeout_s=0.3), "timeout_s = 0.3"),
    ],
)
def test_an_error_names_the_deadline_that_passed(handler: Handler, deadlines: Deadlines, words: str) -> None:
    """No first byte, a pause between pieces and an endless answer are three limits; the error names the one
    that passed."""
    for error in (streamed(handler, deadlines=deadlines), result_of(handler, deadlines=deadlines)):
        assert type(error) is TimedOut
        assert words in str(error)


def test_the_connection_has_its_own_deadline() -> None:
    """A server with a full backlog accepts no connection."""

    async def scenario() -> None:
        with ExitStack() as sockets:
            full = sockets.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(4):
                other = sockets.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            async with backend(
                f"http://127.0.0.1:{full.getsockname()[1]}/v1", deadlines=Deadlines(connect_s=0.2)
            ) as through:
                with pytest.raises(TimedOut, match=r"no connection .* within connect_s = 0\.2"):
                    await through.complete(PROMPT)

    anyio.run(scenario)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (reset_before_headers, Unavailable),
        (cut_in_the_body, Garbled),
        (silent, TimedOut),
        (endless, Garbled),
        (elsewhere, Rejected),
        (overloaded, Unavailable),
    ],
)
def test_every_failure_is_a_call_error(handler: Handler, expected: type[CallError]) -> None:
    """No foreign exception leaves the backend; each becomes the class that says who must act."""
    error = result_of(handler, deadlines=Deadlines(first_byte_s=0.5))
    assert type(error) is expected


def test_a_server_with_an_unverified_certificate_gets_no_request() -> None:
    """A self-signed certificate is final: no retry would help, and nothing is sent."""
    heard = []

    async def note(request: web.Request) -> web.StreamResponse:
        heard.append(request.path)
        return await good(request)

    async def scenario() -> None:
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(Path(__file__).with_name("self_signed.pem"))
        async with serving(note, tls=own) as url, backend(url) as through:
            with pytest.raises(Unreachable, match="could not be verified"):
                await through.complete(PROMPT)

    anyio.run(scenario)
    assert heard == []


def test_a_refused_connection_is_a_failed_connection() -> None:
    """A refused connection and a lost one have different classes."""

    async def scenario() -> None:
        async with serving(good) as url:
            pass
        async with backend(url) as through:
            with pytest.raises(ConnectFailed, match=r"cannot connect to http.*: no server is running there$"):
                await through.complete(PROMPT)

    anyio.run(scenario)


def test_a_connection_that_the_server_closed_costs_no_try() -> None:
    """A server that closes after each reply without a word: the next request is sent again at once, on a new
    connection, and is not counted as an attempt."""

    async def scenario() -> tuple[list[str], list[int]]:
        async with raw_server(lambda connection, number: (whole(f"{connection}"), True)) as (url, requests):
            async with backend(url) as through:
                return [(await through.complete(PROMPT)).text for _ in range(5)], requests

    texts, requests = anyio.run(scenario)
    assert texts == ["0", "1", "2", "3", "4"]
    assert requests == [1] * 5


def test_a_new_connection_that_ends_at_once_is_an_error() -> None:
    """Only a used connection is replaced without a word; the server got one request."""

    async def scenario() -> list[int]:
        async with raw_server(lambda connection, number: (b"", True)) as (url, requests):
            async with backend(url) as through:
                with pytest.raises(Unavailable):
                    await through.complete(PROMPT)
            return requests

    assert anyio.run(scenario) == [1]


def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    """A used connection that ends within an answer: the provider may have made the reply already."""

    async def scenario() -> list[int]:
        def answers(connection: int, number: int) -> tuple[bytes, bool]:
            return (whole("fine"), False) if number == 1 else (whole("cut")[:60], True)

        async with raw_server(answers) as (url, requests), backend(url) as through:
            assert (await through.complete(PROMPT)).text == "fine"
            with pytest.raises((Unavailable, Garbled)):
                await through.complete(PROMPT)
            return requests

    assert anyio.run(scenario) == [2]


@pytest.mark.parametrize("delay_s", [0.0, 0.02])
def test_an_answer_to_no_request_closes_its_connection(delay_s: float) -> None:
    """A second answer right behind the first, or a moment later, is never taken for that of the next
    request."""

    async def scenario() -> list[str]:
        async with (
            raw_server(lambda *_: (whole("asked") + whole("STRAY"), False)) as (url, _),
            backend(url) as through,
        ):
            texts = []
            for _ in range(4):
                texts.append((await through.complete(PROMPT)).text)
                await asyncio.sleep(delay_s)
            return texts

    assert anyio.run(scenario) == ["asked"] * 4
