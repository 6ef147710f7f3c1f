"""Sends requests over sockets: returns an answer or raises a CallError.

Keeps: one session per method, TLS verified, redirects refused, answers bounded in size, four deadlines, and
at most as many requests per second as the method's limit allows (asyncio-throttle, awaited by one dispatcher,
so that requests leave in the order in which the gate admitted them). Sends each request once. The key goes
into one header only; it is removed from every answer and error message."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from types import MappingProxyType
from weakref import WeakKeyDictionary

import aiohttp
import anyio
import orjson
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from asyncio_throttle import Throttler
from yarl import URL

from backends import turn_header
from backends.deadlines import DeadlineGuard, Deadlines, DeadlineTimer, Limit
from backends.dialects import Dialect
from backends.dialects.providers import provider
from backends.dialects.responses import Arrivals, HttpResponse, one_line, split_thoughts
from backends.network import CA_REMEDY, without_password
from backends.redaction import Redaction
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
UPSTREAM_PREFIX = "llm_provider-"  # LiteLLM's, for the headers of its upstream
LIMIT_HEADERS = (
    "x-ratelimit-",
    "anthropic-ratelimit-",
    f"{UPSTREAM_PREFIX}x-ratelimit-",
    f"{UPSTREAM_PREFIX}anthropic-",
)


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


class _Connector(aiohttp.TCPConnector):
    """A connector that hands out a used connection only if nothing unread is on it.

    Bytes on an idle connection are an answer to no request of ours; the next request would take them for its
    own."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(limit=0, ttl_dns_cache=300, ssl=True if tls is None else tls)
        self._newest: ResponseHandler | None = None
        self._made_s: WeakKeyDictionary[asyncio.Task[object], float] = WeakKeyDictionary()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None, "a connection has its protocol until it is released"
            if not protocol.should_close or protocol is self._newest:
                return connection
            connection.close()

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        # Noted here, once for a connection, because noting the use of each one costs every request.
        made = await super()._create_connection(req, traces, timeout)
        self._newest = made
        if (task := asyncio.current_task()) is not None:
            self._made_s[task] = self._loop.time()
        return made

    def made_since(self, moment_s: float) -> bool:
        """Says whether the current task has made a connection since then, by the event loop's clock."""
        task = asyncio.current_task()
        return task is not None and self._made_s.get(task, float("-inf")) >= moment_s


class ConnectionPool:
    """The connections of one method; `open_connection_pool` makes it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        connector: _Connector,
        rate_limiter: RequestRateLimiter | None,
        timer: DeadlineTimer,
        bytes_max: int,
        proxy: str | None,
    ) -> None:
        self._session = session
        self._connector = connector
        self._rate_limiter = rate_limiter
        self._timer = timer
        self._bytes_max = bytes_max
        self._via = f" through the proxy {without_password(proxy)}" if proxy else ""

    async def wait_turn(self, clock: Clock) -> float:
        """Waits until the rate limiter lets one more request go; returns the seconds waited."""
        if self._rate_limiter is None:
            return 0.0
        ready_s = clock.now()
        await self._rate_limiter.wait_turn()
        return clock.now() - ready_s

    async def exchange(
        self,
        verb: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        clock: Clock | None = None,
    ) -> HttpResponse:
        """Sends one request and returns its answer, whatever its status.

        A request that meets the end of a used connection before a byte of an answer is sent again at once:
        servers close idle connections without notice.
        clock   given for a stream: the answer has the arrival of each of its pieces
        raises  ConnectFailed, TimedOut, Unavailable, Garbled, Rejected (a redirect)"""
        guard = self._timer.begin()
        sent_s = clock.now() if clock is not None else 0.0
        try:
            with guard:
                while True:
                    try:
                        async with self._session.request(
                            verb, url, data=body, headers=headers, allow_redirects=False
                        ) as response:
                            _refuse_redirect(response)
                            return await self._read(response, guard, sent_s, clock)
                    except (aiohttp.ServerDisconnectedError, ConnectionError, aiohttp.ClientOSError) as error:
                        if _may_have_answered(error) or self._connector.made_since(guard.began_s):
                            raise
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise self._call_error(error, url, guard) from error

    async def _read(
        self, response: aiohttp.ClientResponse, guard: DeadlineGuard, sent_s: float, clock: Clock | None
    ) -> HttpResponse:
        """Reads the body; one whose end is missing is returned as far as it came: the dialect judges it.

        The head does not count as the first byte of a stream: servers send it at once."""
        if clock is None and response.content.is_eof():  # the whole body arrived with the head
            body = response.content.read_nowait()
            if len(body) > self._bytes_max:
                raise self._too_long(response)
            return HttpResponse(response.status, response.headers, body)
        if clock is None:
            self._timer.piece_arrived(guard)
        pieces: list[bytes] = []
        ends: list[int] = []
        times_s: list[float] = []
        size, broken = 0, None
        try:
            with guard:
                async for piece in response.content.iter_any():
                    if clock is not None:
                        times_s.append(clock.now() - sent_s)
                    self._timer.piece_arrived(guard)
                    size += len(piece)  # it may be longer than it states, or decompress to more
                    if size > self._bytes_max:
                        raise self._too_long(response)
                    pieces.append(piece)
                    ends.append(size)
        except (aiohttp.ClientError, OSError) as error:
            broken = self._call_error(error, response.url, guard)
            if not pieces:
                raise broken from error
        arrivals = None if clock is None else Arrivals(ends, times_s)
        return HttpResponse(response.status, response.headers, b"".join(pieces), arrivals, broken)

    # --- errors
    # -----------------------------------------------------------------------------------------------

    def _call_error(self, error: aiohttp.ClientError | OSError, url: URL, guard: DeadlineGuard) -> CallError:
        at = f"{url}{self._via}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return TimedOut(f"no connection to {at} within connect_s = {self._timer.deadlines.connect_s:g}")
        if isinstance(error, TimeoutError):
            return self._timed_out(guard.limit, url)
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return Unreachable(f"the TLS certificate of {url} could not be verified: {error}; {CA_REMEDY}")
        if isinstance(error, aiohttp.ClientHttpProxyError):
            refused = f"the connection to {at} was refused by the proxy: HTTP {error.status} {error.message}"
            return (Unreachable if error.status in (403, 407) else Unavailable)(refused)
        if isinstance(error, aiohttp.ClientConnectorError):
            return ConnectFailed(f"cannot connect to {at}: {why_unconnected(error.os_error)}")
        if isinstance(error, aiohttp.ClientPayloadError):
            return Garbled(f"the answer of {url} broke off: {one_line(str(error))}")
        return Unavailable(f"the connection to {at} was lost: {type(error).__name__}: {error}")

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


def _may_have_answered(error: Exception) -> bool:
    """Says whether the failure is not the end of a connection before a byte of an answer."""
    if isinstance(error, aiohttp.ClientConnectorError | TimeoutError):
        return True
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _refuse_redirect(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400:
        target = response.headers.get("location", "an unnamed address")
        raise Rejected(
            f"{response.url} redirects to {target}; set base_url to that address if you trust it",
            status=response.status,
        )


@asynccontextmanager
async def open_connection_pool(
    *,
    requests_per_second_max: float | None,
    deadlines: Deadlines,
    bytes_max: int = ANSWER_BYTES_MAX,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ConnectionPool]:
    """Yields a connection pool and closes it at the end.

    requests_per_second_max   None: no limit
    deadlines                 time limits of each request
    bytes_max                 a longer answer is not read
    proxy                     URL of an HTTP proxy
    tls                       in place of the system's certificate authorities"""
    timer = DeadlineTimer(deadlines)
    timeout = aiohttp.ClientTimeout(total=None, connect=deadlines.connect_s)
    no_cookies = aiohttp.DummyCookieJar()  # a cookie could bind all later calls to one machine of a provider
    connector = _Connector(tls)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=no_cookies, proxy=proxy
    ) as session:
        if requests_per_second_max is None:
            yield ConnectionPool(session, connector, None, timer, bytes_max, proxy)
            return
        rate_limiter = RequestRateLimiter(requests_per_second_max)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rate_limiter.dispatch)
            yield ConnectionPool(session, connector, rate_limiter, timer, bytes_max, proxy)
            tasks.cancel_scope.cancel()


class HttpBackend:
    """A Backend: one access method over a connection pool."""

    def __init__(
        self,
        method: AccessMethod,
        dialect: Dialect,
        pool: ConnectionPool,
        *,
        key: str | None,
        clock: Clock,
        headers: Mapping[str, str] = MappingProxyType({}),
        secrets: Sequence[str] = (),
    ) -> None:
        """Prepares what all requests of the method have in common.

        key       None: none is sent
        headers   sent with every request, besides those of the dialect
        secrets   values of these headers that must not reach the store"""
        self._method = method
        self._dialect = dialect
        self._pool = pool
        self._key = key
        self._clock = clock
        self._extra_headers = headers
        self._secrets = secrets
        self._redaction = Redaction((key, *secrets))
        self._sends_turn_header = turn_header.accepts_turn_header(method)
        self._row = provider(method.provider)
        self._body = dialect.bodies(method)
        self._url = endpoint(method.base_url, dialect.path(method))
        self._headers = {"Content-Type": "application/json", **dialect.headers(self._row, key), **headers}

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
            answer = await self._pool.exchange(
                "POST",
                self._url,
                headers=headers,
                body=body,
                clock=self._clock if self._method.stream else None,
            )
            limits = self._limits(answer)
            completion = self._dialect.read_answer(
                self._redaction.response(answer), self._clock.wall(), self._row, self._method.good_ends
            )
        except CallError as error:
            error.headers, error.held_s = limits, held_s
            if error.status == 404:
                error.args = (f"{error} (POST {self._url}; check base_url and served_name)",)
            raise self._redaction.error(error) from error.__cause__
        completion = self._redaction.completion(completion)
        if self._method.thinks_aloud:
            completion = split_thoughts(completion)
        return completion._replace(headers=limits, held_s=held_s) if limits or held_s else completion

    def request_body(self, prompt: Prompt) -> bytes:
        """Returns the bytes that are sent for this prompt."""
        return orjson.dumps(self._body(prompt))

    def with_method(self, method: AccessMethod) -> HttpBackend:
        """Returns a backend for this method over the same connections."""
        return HttpBackend(
            method,
            self._dialect,
            self._pool,
            key=self._key,
            clock=self._clock,
            headers=self._extra_headers,
            secrets=self._secrets,
        )

    async def served_models(self) -> tuple[str, ...] | None:
        """Returns the names of the models that the server lists; None if its list does not decide what it
        serves.

        A list with a wildcard that the served name matches (LiteLLM: "openai/*") is none.
        raises  CallError if the server does not answer or refuses the key"""
        url = endpoint(self._method.base_url, self._dialect.models_path)
        try:
            answer = await self._pool.exchange("GET", url, headers=self._headers, body=None)
            served = self._dialect.read_models(self._redaction.response(answer), self._row)
        except CallError as error:
            raise self._redaction.error(error) from error.__cause__
        name = self._method.served_name
        if served is None or any("*" in listed and fnmatchcase(name, listed) for listed in served):
            return None
        return served if (self._row.lists_models and self._method.lists_models) or name in served else None

    def _limits(self, answer: HttpResponse) -> dict[str, str]:
        """Returns the headers about limits, under the names that harness/limits/headers.py knows.

        LiteLLM repeats its upstream's headers under a prefix; its own, if it states some, hold."""
        reported: dict[str, str] = {}
        for name, value in answer.headers.items():
            if (known := _limit_header_name(name)) is not None:
                if known.startswith(UPSTREAM_PREFIX):
                    reported.setdefault(known.removeprefix(UPSTREAM_PREFIX), value)
                else:
                    reported[known] = value
        if not self._row.limit_names:
            return reported
        named = ((self._row.limit_names.get(name, name), value) for name, value in reported.items())
        return {name: value for name, value in named if name is not None}


def endpoint(base_url: str, path: str) -> URL:
    """Returns the URL of a path behind the base URL; a query of the base URL, such as Azure's, stays at the
    end."""
    base, _, query = base_url.partition("?")
    path, _, more = path.partition("?")
    queries = "&".join(part for part in (query, more) if part)
    return URL(base.rstrip("/") + path + (f"?{queries}" if queries else ""), encoded=True)
