"""Sends requests over sockets: returns an answer or raises a CallError.

Keeps: one session per method, TLS verified, redirects refused, answers bounded in size, four deadlines, and
at most as many requests per second as the method's limit allows (asyncio-throttle, awaited by one dispatcher,
so that requests leave in the order in which the gate admitted them). Sends each request once. The key goes
into one header only; it is removed from every answer and error message."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache

import aiohttp
import anyio
import orjson
from asyncio_throttle import Throttler
from yarl import URL

from backends import turn_header
from backends.deadlines import DeadlineGuard, Deadlines, DeadlineTimer, Limit
from backends.dialects import Dialect, sse
from backends.dialects.providers import provider
from backends.dialects.responses import HttpResponse, split_thoughts
from harness.core.addresses import why_unconnected
from harness.core.errors import (
    CallError,
    ConnectFailed,
    Garbled,
    Rejected,
    TimedOut,
    Unavailable,
    Unreachable,
)
from harness.core.protocols import Clock
from harness.core.vocabulary import AccessMethod, Completion, Prompt

ANSWER_BYTES_MAX = 8 * 2**20
LIMIT_HEADERS = ("x-ratelimit-", "anthropic-ratelimit-")


@lru_cache(1024)
def _limit_header_name(name: str) -> str | None:
    """Returns the name in lower case if the header is about limits."""
    known = name.lower()
    return known if known.startswith(LIMIT_HEADERS) else None


class RequestRateLimiter:
    """Lets a limited number of requests per second go, in the order of their arrival."""

    def __init__(self, requests_per_second: float) -> None:
        burst = max(1, int(requests_per_second))
        self._throttler = Throttler(rate_limit=burst, period=burst / requests_per_second)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._arrival = asyncio.Event()

    async def wait_turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._arrival.set()
        await turn

    async def dispatch(self) -> None:
        """Runs as long as the pool is open. The throttler polls, so one task awaits it for all requests."""
        while True:
            while not self._waiting:
                self._arrival.clear()
                await self._arrival.wait()
            await self._throttler.acquire()
            while self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():  # its call may have been cancelled meanwhile
                    turn.set_result(None)
                    break


class ConnectionPool:
    """The connections of one method; `open_connection_pool` makes it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        rate_limiter: RequestRateLimiter | None,
        timer: DeadlineTimer,
        bytes_max: int,
    ) -> None:
        self._session = session
        self._rate_limiter = rate_limiter
        self._timer = timer
        self._bytes_max = bytes_max

    async def wait_turn(self, clock: Clock) -> float:
        """Waits until the rate limiter lets one more request go; returns the seconds waited."""
        if self._rate_limiter is None:
            return 0.0
        ready_s = clock.now()
        await self._rate_limiter.wait_turn()
        return clock.now() - ready_s

    async def exchange(
        self, verb: str, url: URL, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        """Sends one request and returns the answer, whatever its status.

        raises  ConnectFailed, TimedOut, Unavailable, Garbled, Rejected (a redirect)"""
        guard = self._timer.begin()
        try:
            with guard:
                async with self._session.request(
                    verb, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    _refuse_redirect(response)
                    return HttpResponse(
                        response.status, response.headers, await self._read_body(response, guard)
                    )
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise self._call_error(error, url, guard) from error

    async def _read_body(self, response: aiohttp.ClientResponse, guard: DeadlineGuard) -> bytes:
        if response.content.is_eof():  # the whole body arrived with the head
            body = response.content.read_nowait()
            if len(body) > self._bytes_max:
                raise self._too_long(response)
            return body
        self._timer.piece_arrived(guard)
        pieces, size = [], 0  # it may be longer than it states, or decompress to more
        async for piece in response.content.iter_any():
            self._timer.piece_arrived(guard)
            size += len(piece)
            if size > self._bytes_max:
                raise self._too_long(response)
            pieces.append(piece)
        return b"".join(pieces)

    async def listen(
        self, verb: str, url: URL, *, headers: Mapping[str, str], body: bytes, clock: Clock
    ) -> sse.EventStream | HttpResponse:
        """Sends one request and returns its answer with the time of each piece; whole if it is an error or no
        stream.

        raises  as exchange"""
        sent_s = clock.now()
        guard = self._timer.begin()
        try:
            with guard:
                async with self._session.request(
                    verb, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    _refuse_redirect(response)
                    if response.status != 200 or response.content_type != sse.CONTENT_TYPE:
                        return HttpResponse(
                            status=response.status,
                            headers=response.headers,
                            body=await self._read_body(response, guard),
                        )
                    return await self._read_pieces(response, guard, sent_s, clock)
        except (aiohttp.ClientError, OSError) as error:
            raise self._call_error(error, url, guard) from error

    async def _read_pieces(
        self, response: aiohttp.ClientResponse, guard: DeadlineGuard, sent_s: float, clock: Clock
    ) -> sse.EventStream:
        """Reads a stream. The head does not count as the first byte: servers send it at once."""
        pieces: list[bytes] = []
        ends: list[int] = []
        arrival_s: list[float] = []
        size = 0
        try:
            with guard:
                async for piece in response.content.iter_any():
                    arrival_s.append(clock.now() - sent_s)
                    self._timer.piece_arrived(guard)
                    size += len(piece)
                    if size > self._bytes_max:
                        raise self._too_long(response)
                    pieces.append(piece)
                    ends.append(size)
        except (TimeoutError, aiohttp.ClientPayloadError):
            if not (
                pieces and sse.DONE_MARKER in pieces[-1]
            ):  # the stream is complete, only its end on the connection is missing
                raise
        answer = HttpResponse(status=response.status, headers=response.headers, body=b"".join(pieces))
        return sse.EventStream(answer=answer, ends=ends, arrival_s=arrival_s)

    # --- errors ---------------------------------------------------------------------------------------------

    def _call_error(self, error: aiohttp.ClientError | OSError, url: URL, guard: DeadlineGuard) -> CallError:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return TimedOut(f"no connection to {url} within connect_s = {self._timer.deadlines.connect_s:g}")
        if isinstance(error, TimeoutError):
            return self._timed_out(guard.limit, url)
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return Unreachable(f"the TLS certificate of {url} could not be verified: {error}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return ConnectFailed(f"cannot connect to {url}: {why_unconnected(error.os_error)}")
        if isinstance(error, aiohttp.ClientPayloadError):
            return Garbled(f"the answer of {url} broke off: {error}")
        return Unavailable(f"the connection to {url} was lost: {type(error).__name__}: {error}")

    def _timed_out(self, limit: Limit, url: URL) -> TimedOut:
        within = f"{limit} = {getattr(self._timer.deadlines, limit):g}"
        match limit:
            case "first_byte_s":
                return TimedOut(f"no byte of an answer from {url} within {within}")
            case "between_chunks_s":
                return TimedOut(f"the answer of {url} stopped: nothing more arrived within {within}")
            case "timeout_s":
                return TimedOut(f"the answer of {url} was not complete within {within}")

    def _too_long(self, response: aiohttp.ClientResponse) -> Garbled:
        return Garbled(
            f"the answer is longer than reply_bytes_max = {self._bytes_max}", status=response.status
        )


def _refuse_redirect(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400:
        target = response.headers.get("location", "an unnamed address")
        raise Rejected(
            f"{response.url} redirects to {target}; set base_url to that address if you trust it",
            status=response.status,
        )


@asynccontextmanager
async def open_connection_pool(
    *, requests_per_second_max: float | None, deadlines: Deadlines, bytes_max: int = ANSWER_BYTES_MAX
) -> AsyncIterator[ConnectionPool]:
    """Yields a connection pool and closes it at the end. bytes_max: a longer answer is not read."""
    timer = DeadlineTimer(deadlines)
    timeout = aiohttp.ClientTimeout(total=None, connect=deadlines.connect_s)
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
    no_cookies = aiohttp.DummyCookieJar()  # a cookie could bind all later calls to one machine of a provider
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=no_cookies, auto_decompress=True
    ) as session:
        if requests_per_second_max is None:
            yield ConnectionPool(session, None, timer, bytes_max)
            return
        rate_limiter = RequestRateLimiter(requests_per_second_max)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rate_limiter.dispatch)
            yield ConnectionPool(session, rate_limiter, timer, bytes_max)
            tasks.cancel_scope.cancel()


class HttpBackend:
    """A Backend: one access method over a connection pool."""

    def __init__(
        self, method: AccessMethod, dialect: Dialect, pool: ConnectionPool, *, key: str | None, clock: Clock
    ) -> None:
        self._method = method
        self._dialect = dialect
        self._pool = pool
        self._key = key
        self._raw_key = key.encode() if key else b""
        self._clock = clock
        self._sends_turn_header = turn_header.accepts_turn_header(method)
        self._row = provider(method.provider)
        self._body = dialect.bodies(method)
        self._url = URL(method.base_url.rstrip("/") + dialect.path(method), encoded=True)
        self._headers = {"Content-Type": "application/json", **dialect.headers(self._row, key)}

    async def complete(self, prompt: Prompt) -> Completion:
        """Returns the completion; see Backend."""
        body = self.request_body(prompt)
        limits: dict[str, str] = {}
        headers = (
            {**self._headers, turn_header.HEADER: turn_header.header_value(prompt)}
            if self._sends_turn_header and prompt.item
            else self._headers
        )
        held_s = await self._pool.wait_turn(self._clock)
        try:
            if self._method.stream:
                answer = await self._pool.listen(
                    "POST", self._url, headers=headers, body=body, clock=self._clock
                )
                limits = self._limits(answer.answer if isinstance(answer, sse.EventStream) else answer)
                completion = self._read_streamed(answer)
            else:
                answer = await self._pool.exchange("POST", self._url, headers=headers, body=body)
                limits = self._limits(answer)
                completion = self._dialect.read_answer(self._cleared(answer), self._clock.wall(), self._row)
        except CallError as error:
            error.headers, error.held_s = limits, held_s
            raise self._without_key(error) from error.__cause__
        if self._key and (
            self._key in completion.text or self._key in (completion.reasoning or "")
        ):  # the answer spelled the key with escapes
            thoughts = completion.reasoning and completion.reasoning.replace(self._key, "[key]")
            completion = completion._replace(
                text=completion.text.replace(self._key, "[key]"), reasoning=thoughts
            )
        if self._method.thinks_aloud:
            completion = split_thoughts(completion)
        return completion._replace(headers=limits, held_s=held_s) if limits or held_s else completion

    def request_body(self, prompt: Prompt) -> bytes:
        """Returns the bytes that are sent for this prompt."""
        return orjson.dumps(self._body(prompt))

    def with_method(self, method: AccessMethod) -> HttpBackend:
        """Returns a backend for this method over the same connections."""
        return HttpBackend(method, self._dialect, self._pool, key=self._key, clock=self._clock)

    async def served_models(self) -> tuple[str, ...] | None:
        """Returns the names of the models that the server lists; None if it lists none.

        raises  CallError if the server does not answer or refuses the key"""
        url = URL(self._method.base_url.rstrip("/") + self._dialect.models_path)
        try:
            answer = await self._pool.exchange("GET", url, headers=self._headers, body=None)
            served = self._dialect.read_models(self._cleared(answer), self._row)
        except CallError as error:
            raise self._without_key(error) from error.__cause__
        return served if self._row.lists_models or self._method.served_name in (served or ()) else None

    def _limits(self, answer: HttpResponse) -> dict[str, str]:
        """Returns the headers about limits, under the names that harness/limits/headers.py knows."""
        reported = {
            known: value for name, value in answer.headers.items() if (known := _limit_header_name(name))
        }
        if not self._row.limit_names:
            return reported
        named = ((self._row.limit_names.get(name, name), value) for name, value in reported.items())
        return {name: value for name, value in named if name is not None}

    def _read_streamed(self, met: sse.EventStream | HttpResponse) -> Completion:
        if isinstance(met, HttpResponse):
            return self._dialect.read_answer(self._cleared(met), self._clock.wall(), self._row)
        return self._dialect.read_stream(
            replace(met, answer=self._cleared(met.answer)), self._clock.wall(), self._row
        )

    def _cleared(self, answer: HttpResponse) -> HttpResponse:
        """Returns the answer without the key: a server that quotes it cannot bring it into the store."""
        if self._key is None:
            return answer
        if self._raw_key in answer.body:
            answer = answer._replace(body=answer.body.replace(self._raw_key, b"[key]"))
        if any(self._key in value for value in answer.headers.values()):
            kept = {name.lower(): value.replace(self._key, "[key]") for name, value in answer.headers.items()}
            answer = answer._replace(headers=kept)
        return answer

    def _without_key(self, error: CallError) -> CallError:
        if self._key and self._key in str(error):
            error.args = (str(error).replace(self._key, "[key]"),)
        return error
