"""Sends requests over sockets: returns an HTTP answer or raises a CallError.

Keeps: connections that are used again, TLS verified, redirects refused, answers bounded in size, four
deadlines, and at most as many requests per second as the method's limit allows (asyncio-throttle, awaited by
one dispatcher, so that requests leave in the order in which the gate admitted them).

aiohttp connects and parses: its connector and its protocol are used without its session. A session makes the
head of each request anew and starts a task for each body; here the head is made once for all requests to an
address, and head and body are one write."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import aiohttp
import anyio
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from asyncio_throttle import Throttler
from yarl import URL

from backends.deadlines import DeadlineGuard, Deadlines, DeadlineTimer, Limit
from backends.dialects.responses import Arrivals, HttpResponse, one_line
from backends.network import CA_REMEDY, without_password
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

ANSWER_BYTES_MAX = 8 * 2**20
LINE_END = re.compile(r"[\r\n\0]")  # within a header it would begin another one


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
                if not turn.done():  # a call can be cancelled while it waits
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
            assert protocol is not None, "a connection that was not released has a protocol"
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


class PreparedRequest:
    """A request without its body: what all requests to one address have in common.

    to_connect   as aiohttp's connector wants it: address, proxy and headers; its verb is not used"""

    __slots__ = ("_head", "_target", "to_connect", "url", "verb")

    def __init__(self, verb: str, url: URL, to_connect: aiohttp.ClientRequest) -> None:
        self.url = url
        self.to_connect = to_connect
        self.verb = verb
        through_proxy = to_connect.proxy is not None and not to_connect.is_ssl()
        self._target = str(url) if through_proxy else url.raw_path_qs
        self._head: bytes | None = None

    def message(self, body: bytes | None, header: tuple[str, str] | None) -> bytes:
        """Returns what is sent: the head with one more header, and the body.

        Is called when a connection is there: aiohttp adds the header for a proxy when it connects.
        raises  ValueError for a line end in a header"""
        if self._head is None:
            self._head = self._encoded_head()
        more = b"" if header is None else _header_line(*header)
        if body is None:
            return b"%b%b\r\n" % (self._head, more)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, more, len(body), body)

    def _encoded_head(self) -> bytes:
        first = f"{self.verb} {self._target} HTTP/1.1\r\n".encode()
        return first + b"".join(_header_line(name, value) for name, value in self.to_connect.headers.items())


def _header_line(name: str, value: str) -> bytes:
    line = f"{name}: {value}"
    if LINE_END.search(line):
        raise ValueError("a header contains a line break or a zero byte")
    return f"{line}\r\n".encode()


class ConnectionPool:
    """Holds the connections of one method and sends requests over them; `open_connection_pool` makes one."""

    def __init__(
        self,
        connector: _Connector,
        rate_limiter: RequestRateLimiter | None,
        timer: DeadlineTimer,
        bytes_max: int,
        proxy: str | None,
    ) -> None:
        self._connector = connector
        self._rate_limiter = rate_limiter
        self._timer = timer
        self._bytes_max = bytes_max
        self._connect_timeout = aiohttp.ClientTimeout(total=None, connect=timer.deadlines.connect_s)
        self._proxy = None if proxy is None else URL(proxy)
        self._via = f" through the proxy {without_password(proxy)}" if proxy else ""

    def prepare(self, verb: str, url: URL, headers: Mapping[str, str]) -> PreparedRequest:
        """Returns what all requests with this verb, address and headers have in common."""
        loop = asyncio.get_running_loop()
        return PreparedRequest(
            verb, url, aiohttp.ClientRequest("GET", url, headers=headers, proxy=self._proxy, loop=loop)
        )

    async def wait_turn(self, clock: Clock) -> float:
        """Waits until the rate limiter lets one more request go; returns the seconds waited."""
        if self._rate_limiter is None:
            return 0.0
        ready_s = clock.now()
        await self._rate_limiter.wait_turn()
        return clock.now() - ready_s

    async def exchange(
        self,
        request: PreparedRequest,
        *,
        body: bytes | None = None,
        header: tuple[str, str] | None = None,
        clock: Clock | None = None,
    ) -> HttpResponse:
        """Sends one request and returns its answer, whatever its status.

        A request that meets the end of a used connection before a byte of an answer is sent again at once:
        servers close idle connections without notice.
        header  one more header: name and value
        clock   given for a stream: the answer has the arrival of each of its pieces
        raises  ConnectFailed, TimedOut, Unavailable, Garbled, Rejected (a redirect)"""
        guard = self._timer.begin()
        sent_s = clock.now() if clock is not None else 0.0
        try:
            with guard:
                while True:
                    connection = await self._connect(request)
                    try:
                        protocol = _send(connection, request.message(body, header))
                        head, content = await protocol.read()
                        while head.code < 200 and head.code != 101:  # a server says that it is at work
                            head, content = await protocol.read()
                        _refuse_redirect(request.url, head.code, head.headers)
                        answer = await self._read(request.url, head, content, guard, sent_s, clock)
                    except (aiohttp.ServerDisconnectedError, ConnectionError, aiohttp.ClientOSError) as error:
                        connection.close()
                        if _may_have_answered(error) or self._connector.made_since(guard.began_s):
                            raise
                    except BaseException:
                        connection.close()
                        raise
                    else:
                        _release(connection)
                        return answer
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:  # a TimeoutError is an OSError
            raise self._call_error(error, request.url, guard) from error

    async def _connect(self, request: PreparedRequest) -> Connection:
        try:
            return await self._connector.connect(request.to_connect, [], self._connect_timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {request.url}") from error

    async def _read(
        self,
        url: URL,
        head: RawResponseMessage,
        content: StreamReader,
        guard: DeadlineGuard,
        sent_s: float,
        clock: Clock | None,
    ) -> HttpResponse:
        """Reads the body; one whose end is missing is returned as far as it came: the dialect judges it.

        The head does not count as the first byte of a stream: servers send it at once.
        sent_s  when the request was sent, by the clock; 0.0 without one"""
        if clock is None and content.is_eof():  # head and body arrived together
            body = content.read_nowait()
            if len(body) > self._bytes_max:
                raise self._too_long(head.code)
            return HttpResponse(head.code, head.headers, body)
        if clock is None:
            self._timer.piece_arrived(guard)
        pieces: list[bytes] = []
        ends: list[int] = []
        times_s: list[float] = []
        size, broken = 0, None
        try:
            with guard:
                async for piece in content.iter_any():
                    if clock is not None:
                        times_s.append(clock.now() - sent_s)
                    self._timer.piece_arrived(guard)
                    size += len(piece)  # it may be longer than it states, or decompress to more
                    if size > self._bytes_max:
                        raise self._too_long(head.code)
                    pieces.append(piece)
                    ends.append(size)
        except (aiohttp.ClientError, OSError) as error:
            broken = self._call_error(error, url, guard)
            if not pieces:
                raise broken from error
        arrivals = None if clock is None else Arrivals(ends, times_s)
        return HttpResponse(head.code, head.headers, b"".join(pieces), arrivals, broken)

    # --- errors
    # -----------------------------------------------------------------------------------------------

    def _call_error(
        self, error: aiohttp.ClientError | HttpProcessingError | OSError, url: URL, guard: DeadlineGuard
    ) -> CallError:
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
        if isinstance(error, HttpProcessingError):
            return Unavailable(f"the answer of {at} is not valid HTTP: {one_line(error.message)}")
        if isinstance(error, aiohttp.ClientPayloadError):
            return Garbled(f"the answer of {url} broke off: {one_line(str(error))}")
        return Unavailable(f"the connection to {at} was lost: {type(error).__name__}: {error}")

    def _timed_out(self, limit: Limit, url: URL) -> TimedOut:
        within = f"{limit} = {getattr(self._timer.deadlines, limit):g}"
        match limit:
            case "first_byte_s":
                return TimedOut(f"no byte of an answer came from {url} within {within}")
            case "between_chunks_s":
                return TimedOut(f"the answer of {url} stopped: nothing more arrived within {within}")
            case "timeout_s":
                return TimedOut(f"the answer of {url} was not complete within {within}")

    def _too_long(self, status: int) -> Garbled:
        return Garbled(f"the answer is longer than reply_bytes_max = {self._bytes_max}", status=status)


def _send(connection: Connection, message: bytes) -> ResponseHandler:
    """Writes the message; returns the protocol that will hold the answer."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection was closed before the request was sent")
    protocol.set_response_params(read_until_eof=True)
    transport.write(message)
    return protocol


def _release(connection: Connection) -> None:
    """Keeps the connection for the next request; closes it if a part of this request was not sent.

    A server that refuses a long request may answer before it has read all of it. The connector closes a
    connection whose answer was not read to its end."""
    transport = connection.transport
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()  # a closed one would go on sending
        connection.close()
    else:
        connection.release()


def _may_have_answered(error: Exception) -> bool:
    """Says whether the failure is not the end of a connection before a byte of an answer."""
    if isinstance(error, aiohttp.ClientConnectorError | TimeoutError):
        return True
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


def _refuse_redirect(url: URL, status: int, headers: Mapping[str, str]) -> None:
    if 300 <= status < 400:
        target = headers.get("location", "an unnamed address")
        raise Rejected(
            f"{url} redirects to {target}; set base_url to that address if you trust it", status=status
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
    connector = _Connector(tls)
    async with connector:
        if requests_per_second_max is None:
            yield ConnectionPool(connector, None, timer, bytes_max, proxy)
            return
        rate_limiter = RequestRateLimiter(requests_per_second_max)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rate_limiter.dispatch)
            yield ConnectionPool(connector, rate_limiter, timer, bytes_max, proxy)
            tasks.cancel_scope.cancel()
