"""Sends a body, brings an answer or raises a CallError. The one file that knows sockets.

Keeps: one session a host, TLS verified, redirects refused, answers bounded, and no more requests a second to a host than its
ceiling (asyncio-throttle, awaited by one dispatcher, so that the order in which the gate let calls through is the order on the
wire). Never tries twice. The key goes into one header and nowhere else: it is cut out of every error text."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import anyio
import orjson
from asyncio_throttle import Throttler
from yarl import URL

from backends import Dialect
from backends.answers import Answer
from harness.core.errors import CallError, ConnectFailed, Garbled, Rejected, TimedOut, Unavailable
from harness.core.protocols import Clock
from harness.core.vocabulary import AccessMethod, Completion, Prompt

ANSWER_BYTES_MAX = 8 * 2**20
LIMIT_HEADERS = ("x-ratelimit-", "anthropic-ratelimit-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: to a connection, between two pieces of the answer, for the whole call."""

    connect_s: float = 15.0
    silence_s: float = 300.0
    total_s: float = 300.0


class Ceiling:
    """At most so many requests a second leave for a host; first come, first sent."""

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
        """Runs as long as the wire is open. The throttler polls: one task awaits it for all."""
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


class Wire:
    """The connections to one host; make it with `open_wire`."""

    def __init__(self, session: aiohttp.ClientSession, ceiling: Ceiling | None) -> None:
        self._session = session
        self._ceiling = ceiling

    async def wait_turn(self) -> None:
        """Until the host's ceiling lets one more request go."""
        if self._ceiling is not None:
            await self._ceiling.wait_turn()

    async def exchange(self, verb: str, url: URL, *, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One request, one answer, whatever its status.

        raises  ConnectFailed, TimedOut, Unavailable, Garbled, Rejected (a redirect)"""
        try:
            async with self._session.request(verb, url, data=body, headers=headers, allow_redirects=False) as response:
                if 300 <= response.status < 400:
                    where = response.headers.get("location", "nowhere")
                    raise Rejected(f"{url} redirects to {where}; name that address if you trust it", status=response.status)
                return Answer(status=response.status, headers=response.headers, body=await _bounded(response))
        except TimeoutError as error:
            raise TimedOut(f"no answer from {url} in time ({type(error).__name__})") from error
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed(f"cannot connect to {url}: {error}") from error
        except aiohttp.ClientPayloadError as error:
            raise Garbled(f"the answer of {url} broke off: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the connection to {url} was lost: {type(error).__name__}: {error}") from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    if response.content_length is not None and response.content_length <= ANSWER_BYTES_MAX and "Content-Encoding" not in response.headers:
        return await response.read()
    pieces, size = [], 0  # of unknown length, or packed: it may unpack to more than it says
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise Garbled(f"the answer is longer than {ANSWER_BYTES_MAX} bytes", status=response.status)
        pieces.append(piece)
    return b"".join(pieces)


@asynccontextmanager
async def open_wire(*, requests_per_second_max: float | None, deadlines: Deadlines) -> AsyncIterator[Wire]:
    """Connections to one host, closed on leaving."""
    timeout = aiohttp.ClientTimeout(total=deadlines.total_s, sock_connect=deadlines.connect_s, sock_read=deadlines.silence_s)
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=True) as session:
        if requests_per_second_max is None:
            yield Wire(session, None)
            return
        ceiling = Ceiling(requests_per_second_max)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ceiling.dispatch)
            yield Wire(session, ceiling)
            tasks.cancel_scope.cancel()


class HttpBackend:
    """One access method over a wire: a Backend."""

    def __init__(self, method: AccessMethod, dialect: Dialect, wire: Wire, *, key: str | None, clock: Clock) -> None:
        self._method = method
        self._dialect = dialect
        self._wire = wire
        self._key = key
        self._clock = clock
        self._url = URL(method.base_url.rstrip("/") + dialect.path)
        self._headers = {"Content-Type": "application/json", **(dialect.key_headers(key) if key else {})}

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend."""
        body = orjson.dumps(self._dialect.request_body(self._method, prompt))
        limits: dict[str, str] = {}
        ready_s = self._clock.now()
        await self._wire.wait_turn()
        held_s = self._clock.now() - ready_s
        try:
            answer = await self._wire.exchange("POST", self._url, headers=self._headers, body=body)
            limits = {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith(LIMIT_HEADERS)}
            completion = self._dialect.read_answer(answer, self._clock.wall())
        except CallError as error:
            error.headers, error.held_s = limits, held_s
            raise self._without_key(error) from error.__cause__
        return replace(completion, headers=limits, held_s=held_s)

    async def served_models(self) -> tuple[str, ...] | None:
        """What the server says it serves; None if it does not say.

        raises  CallError if nobody answers or the key is refused"""
        url = URL(self._method.base_url.rstrip("/") + self._dialect.models_path)
        try:
            return self._dialect.read_models(await self._wire.exchange("GET", url, headers=self._headers, body=None))
        except CallError as error:
            raise self._without_key(error) from error.__cause__

    def _without_key(self, error: CallError) -> CallError:
        if self._key and self._key in str(error):
            error.args = (str(error).replace(self._key, "[key]"),)
        return error
