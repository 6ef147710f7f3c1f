"""HTTP over sockets, against a real server on loopback that fails in many ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import anyio
import pytest
from aiohttp import web

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.http import HttpBackend
from harness.core.clock import RealClock
from harness.core.errors import (
    AccountRefused,
    CallError,
)
from harness.core.vocabulary import Completion
from harness.limits.headers import read_reports
from harness.limits.token_bucket import QuotaReport
from tests.backends.http_servers import (
    END_EVENT,
    GOOD,
    PROMPT,
    backend,
    delta,
    events,
    good,
    result_of,
    serving,
    streamed,
    streaming,
)
from tests.world import method


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
