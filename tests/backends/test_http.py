"""HTTP over sockets, against a real server on loopback that fails in many ways."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from aiohttp import web

from backends.connections import ANSWER_BYTES_MAX, open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from harness.core.clock import RealClock
from harness.core.errors import (
    AccountRefused,
    CallError,
    ConnectFailed,
    Garbled,
    Rejected,
    TimedOut,
    Unavailable,
    Unreachable,
)
from harness.core.vocabulary import Completion, Message, Prompt, ReplyFormat
from harness.limits.headers import read_reports
from harness.limits.token_bucket import QuotaReport
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


def test_a_call_returns_the_reply() -> None:
    """One POST to the dialect's path returns the reply."""
    assert result_of(good) == "hello"


def test_the_key_is_sent_in_its_header_and_removed_from_errors() -> None:
    """A provider that quotes the key in an error message does not bring it into ours."""
    seen = []

    async def quote(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return web.json_response({"error": {"message": "key sk-very-secret is wrong"}}, status=401)

    error = result_of(quote, key="sk-very-secret")
    assert seen == ["Bearer sk-very-secret"]
    assert isinstance(error, AccountRefused)
    assert str(error) == "HTTP 401: key [key] is wrong"
    assert "sk-very-secret" not in repr(error)


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


def test_a_streamed_reply_has_its_pace() -> None:
    """Text, usage of the last event, limits and arrival times are read; the empty first delta does not count
    as text."""
    met = streamed(streaming(STREAM_EVENTS, 0.05))
    assert isinstance(met, Completion)
    assert (met.text, met.finish_reason, met.prompt_tokens, met.completion_tokens) == ("hello", "stop", 5, 2)
    assert met.headers == {"x-ratelimit-remaining-requests": "7"}
    assert met.pace is not None
    assert met.pace.chunks == 2
    assert met.pace.ttft_s >= 0.1
    assert met.pace.gap_s_max == met.pace.gap_s_median == met.pace.gap_s_p95
    assert met.pace.gap_s_max is not None
    assert met.pace.gap_s_max >= 0.03


@pytest.mark.parametrize(
    ("said", "text", "thoughts"),
    [
        ("<think>Hm.</think>\n\nYes. ", "Yes. ", "Hm."),
        ("Hm.</think>Yes.", "Yes.", "Hm."),
        ("\n<think>Hm, and", "", "Hm, and"),
        ("Yes.", "Yes.", None),
    ],
)
def test_thoughts_before_the_reply_are_split_off(said: str, text: str, thoughts: str | None) -> None:
    """With thinks_aloud, text up to </think> is reasoning, and a reply cut within it is empty; without, it
    stays."""

    async def think(request: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})

    async def scenario(aloud: bool) -> Completion:
        async with serving(think) as url, backend(url, thinks_aloud=aloud) as through:
            return await through.complete(PROMPT)

    apart, as_it_is = anyio.run(scenario, True), anyio.run(scenario, False)
    assert (apart.text, apart.reasoning) == (text, thoughts)
    assert (as_it_is.text, as_it_is.reasoning) == (said, None)


def test_limits_are_read_in_the_providers_own_names() -> None:
    """Groq's limit of requests is per day and is ignored; Fireworks limits tokens of prompts and replies
    separately."""
    told = {
        "groq": {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-limit-tokens": "6000",
            "x-ratelimit-remaining-tokens": "10",
        },
        "fireworks": {
            "x-ratelimit-limit-tokens-prompt": "60000",
            "x-ratelimit-limit-tokens-generated": "900",
        },
    }

    async def scenario(name: str) -> Mapping[str, str]:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(body=GOOD, content_type="application/json", headers=told[name])

        async with serving(answer) as url, backend(url, provider=name) as through:
            return (await through.complete(PROMPT)).headers

    assert read_reports(anyio.run(scenario, "groq"), 0.0) == {"tokens": QuotaReport(limit=6000, remaining=10)}
    assert read_reports(anyio.run(scenario, "fireworks"), 0.0) == {
        "input_tokens": QuotaReport(limit=60000),
        "output_tokens": QuotaReport(limit=900),
    }


def test_events_may_be_cut_anywhere() -> None:
    """A stream that arrives in pieces of seven bytes is read as the same reply."""
    whole = b"".join(STREAM_EVENTS).replace(b"\n", b"\r\n")
    met = streamed(streaming([whole[start : start + 7] for start in range(0, len(whole), 7)]))
    assert isinstance(met, Completion)
    assert (met.text, met.completion_tokens) == ("hello", 2)


def test_a_whole_answer_to_a_stream_request_is_read() -> None:
    """It is a reply without a pace."""
    met = streamed(good)
    assert isinstance(met, Completion)
    assert (met.text, met.pace) == ("hello", None)


def test_a_quoted_key_is_removed_from_replies() -> None:
    """The key is replaced in whole and in streamed replies, and in the request id."""

    async def quote(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=GOOD.replace(b"hello", request.headers["Authorization"].encode()),
            content_type="application/json",
        )

    assert result_of(quote, key="sk-very-secret") == "Bearer [key]"

    async def quote_with_escapes(request: web.Request) -> web.StreamResponse:
        reply = GOOD.replace(b"hello", b"sk-very\\u002dsecret").replace(b'"1"', b"null")
        return web.Response(
            body=reply, content_type="application/json", headers={"x-request-id": "for sk-very-secret"}
        )

    async def scenario() -> Completion:
        async with serving(quote_with_escapes) as url, backend(url, key="sk-very-secret") as through:
            return await through.complete(PROMPT)

    got = anyio.run(scenario)
    assert (got.text, got.request_id) == ("[key]", "for [key]")
    said = streamed(
        streaming(events(delta(content="it is sk-very-secret"), *END_EVENT)), key="sk-very-secret"
    )
    assert isinstance(said, Completion)
    assert said.text == "it is [key]"


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


def test_the_head_of_a_stream_is_not_its_first_byte() -> None:
    """Servers send the head at once, long before the first token."""
    error = streamed(streaming([], hang=True), deadlines=Deadlines(first_byte_s=0.2))
    assert type(error) is TimedOut
    assert "first_byte_s = 0.2" in str(error)


def test_a_stream_with_done_is_complete_however_it_ends() -> None:
    """A server may keep the connection open after [DONE], or close it within HTTP's own framing."""
    left_open = streamed(streaming(STREAM_EVENTS, hang=True), deadlines=Deadlines(between_chunks_s=0.2))
    assert isinstance(left_open, Completion)

    async def hang_up(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(STREAM_EVENTS))
        assert request.transport is not None
        request.transport.close()
        return response

    hung_up = streamed(hang_up)
    assert isinstance(hung_up, Completion)
    assert left_open.text == hung_up.text == "hello"


def test_a_stream_is_bounded_too() -> None:
    """A stream that exceeds reply_bytes_max is Garbled."""
    error = streamed(streaming([b": " + b" " * 2**20 + b"\n\n"] * (ANSWER_BYTES_MAX // 2**20 + 1)))
    assert type(error) is Garbled
    assert "reply_bytes_max" in str(error)


def test_a_stream_that_ends_early_is_garbled() -> None:
    """A stream without a finish_reason or [DONE] may be incomplete."""
    for pieces in (STREAM_EVENTS[:2], [b"data: {"], []):
        assert type(streamed(streaming(pieces))) is Garbled


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


def test_the_rate_limit_holds_on_the_socket() -> None:
    """No second has more than five of twelve calls at five per second, and each call reports how long it
    waited."""
    arrivals: list[float] = []
    held: list[float] = []

    async def stamped(request: web.Request) -> web.StreamResponse:
        arrivals.append(time.perf_counter())
        return await good(request)

    async def scenario() -> None:
        async with serving(stamped) as url, backend(url, per_second=5) as through:

            async def one() -> None:
                held.append((await through.complete(PROMPT)).held_s)

            async with anyio.create_task_group() as calls:
                for _ in range(12):
                    calls.start_soon(one)

    anyio.run(scenario)
    assert len(arrivals) == 12
    assert max(held) > 1.5
    assert all(later - earlier > 0.9 for earlier, later in zip(arrivals, arrivals[5:], strict=False))


def test_a_cancelled_call_uses_no_request_of_the_rate_limit() -> None:
    """A call that is cancelled while it waits for the rate limiter sends nothing and uses no place."""

    async def scenario() -> str:
        async with serving(good) as url, backend(url, per_second=1) as through:
            await through.complete(PROMPT)
            with anyio.move_on_after(0.1):
                await through.complete(PROMPT)
            with anyio.fail_after(2.5):
                return (await through.complete(PROMPT)).text

    assert anyio.run(scenario) == "hello"


def test_the_server_lists_its_models() -> None:
    """GET /models is sent and read by the dialect."""

    async def models(request: web.Request) -> web.StreamResponse:
        assert request.path == "/v1/models"
        return web.json_response({"data": [{"id": "toy"}]})

    async def scenario() -> tuple[str, ...] | None:
        async with serving(models) as url, backend(url) as through:
            return await through.served_models()

    assert anyio.run(scenario) == ("toy",)


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


def test_a_request_carries_the_headers_and_the_query_of_the_sweep() -> None:
    """Headers of a gateway, and the query of Azure's classic address behind the path; secrets do not come
    back."""
    received = []

    async def answer(request: web.Request) -> web.StreamResponse:
        received.append((request.path_qs, request.headers["x-portkey-config"]))
        return web.Response(body=GOOD.replace(b"hello", b"pc-secret-1"), content_type="application/json")

    async def scenario() -> str:
        async with (
            serving(answer) as url,
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
        ):
            at = replace(method(), base_url=f"{url}/openai/deployments/d1/?api-version=2024-10-21")
            through = HttpBackend(
                at,
                DIALECTS["openai_chat"],
                pool,
                key=None,
                clock=RealClock(),
                headers={"x-portkey-config": "pc-secret-1"},
                secrets=("pc-secret-1",),
            )
            return (await through.complete(PROMPT)).text

    assert anyio.run(scenario) == "[key]"
    assert received == [("/v1/openai/deployments/d1/chat/completions?api-version=2024-10-21", "pc-secret-1")]


def test_calls_go_through_a_proxy() -> None:
    """An HTTP proxy gets the whole address; an error names the proxy without its password."""

    async def scenario() -> tuple[str, str]:
        seen: list[str] = []

        async def proxy(request: web.Request) -> web.StreamResponse:
            seen.append(f"{request.method} {request.raw_path}")
            return web.Response(body=GOOD, content_type="application/json")

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", proxy)
        address = "http://models.invalid/v1"
        texts = []
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for proxy_url in (f"http://user:word@{at}", "http://user:word@127.0.0.1:9"):
            async with open_connection_pool(
                requests_per_second_max=None, deadlines=Deadlines(), proxy=proxy_url
            ) as pool:
                through = HttpBackend(
                    replace(method(), base_url=address),
                    DIALECTS["openai_chat"],
                    pool,
                    key=None,
                    clock=RealClock(),
                )
                try:
                    texts.append((await through.complete(PROMPT)).text)
                except CallError as error:
                    texts.append(f"{type(error).__name__}: {error}")
        await runner.cleanup()
        assert seen == ["POST http://models.invalid/v1/chat/completions"]
        return texts[0], texts[1]

    reply, error = anyio.run(scenario)
    assert reply == "hello"
    assert error.startswith(
        "ConnectFailed: cannot connect to http://models.invalid/v1/chat/completions through the proxy http://127.0.0.1:9"
    )
    assert "word" not in error


@pytest.mark.parametrize(
    ("listed", "lists_models", "expected"),
    [
        (["toy", "other"], True, ("toy", "other")),
        (["other"], True, ("other",)),
        (["to*"], True, None),
        (["*"], True, None),
        (["other"], False, None),
    ],
)
def test_a_list_of_models_may_not_decide(
    listed: list[str], lists_models: bool, expected: tuple[str, ...] | None
) -> None:
    """A wildcard that matches, or a sweep that says so."""

    async def models(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": name} for name in listed]})

    async def scenario() -> tuple[str, ...] | None:
        async with serving(models) as url, backend(url, lists_models=lists_models) as through:
            return await through.served_models()

    assert anyio.run(scenario) == expected
