"""The emulator's sockets: the part of HTTP/1.1 that clients of chat APIs use, on asyncio's transports.

A web framework would take longer for a request than the provider does, and would not let a fault cut the
bytes. Bodies come with a length or in chunks; requests on one connection are answered one after the other;
the server listens on loopback only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import cast

from yarl import URL

from backends.bots import own_instance
from backends.connections import ConnectionPool, open_connection_pool
from backends.deadlines import Deadlines
from backends.emulator import upstream
from backends.emulator.exchange import Forward, Request, Response
from backends.emulator.formats import FORMATS
from backends.emulator.gemini_format import find_format
from backends.emulator.provider import EmulatedProvider
from backends.emulator.statistics import Statistics
from harness.core.clock import RealClock
from harness.core.emulation import Emulation
from harness.core.errors import CallError
from harness.core.vocabulary import Instance

BODY_BYTES_MAX = 16 * 2**20
HEAD_BYTES_MAX = 64 * 2**10
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Workers:
    """A limited number of workers and the queue of requests that wait for one."""

    def __init__(self, workers: int | None, queue_max: int | None) -> None:
        self._free = workers
        self._queue_max = queue_max
        self._queue: deque[Callable[[], None]] = deque()

    @property
    def full(self) -> bool:
        return self._free == 0 and self._queue_max is not None and len(self._queue) >= self._queue_max

    def enter(self, start: Callable[[], None]) -> None:
        """Calls `start` as soon as a worker is free; the caller must call `leave` afterwards."""
        if self._free == 0:
            self._queue.append(start)
            return
        if self._free is not None:
            self._free -= 1
        start()

    def leave(self) -> None:
        if self._queue:
            self._queue.popleft()()
        elif self._free is not None:
            self._free += 1


class Emulator:
    """A provider on its socket; `serving` makes it.

    base_url    for a sweep's base_url
    dead        set once the provider has died, as its faults may ask"""

    def __init__(self, provider: EmulatedProvider, workers: Workers, pool: ConnectionPool | None) -> None:
        self.base_url = ""
        self.pool = pool
        self.dead = asyncio.Event()
        self.provider = provider
        self.workers = workers
        self.clock = RealClock()
        self.connections: set[Connection] = set()

    @property
    def statistics(self) -> Statistics:
        return self.provider.statistics

    def _in_flight(self) -> int:
        """Counts the requests that are not answered yet, if the provider's replies depend on them."""
        counts = self.provider.emulation.defects.load_noise > 0
        return sum(connection.busy for connection in self.connections) if counts else 1

    def respond(self, request: Request) -> Response | Forward | None:
        """Returns the answer or the request to the server behind; None if the provider is dead."""
        now_s = self.clock.now()
        if self.provider.dead(now_s):
            self.die()
            return None
        if self.workers.full and (wire := find_format(request.path)) is not None:
            self.statistics.requests += 1
            self.statistics.refused += 1
            return Response(503, (wire.error(503, "overloaded", "The queue is full."),))
        return self.provider.respond(request, now_s, self.clock.wall(), in_flight=self._in_flight())

    async def fetch(self, forward: Forward) -> Response:
        """Returns the answer of the server behind as ours; 502 if it gave none."""
        assert self.pool is not None
        assert self.provider.emulation.behind is not None
        url = URL(self.provider.emulation.behind.rstrip("/") + upstream.PATH)
        try:
            request = self.pool.prepare("POST", url, forward.headers)
            answer = await self.pool.exchange(request, body=forward.body)
        except CallError as error:
            return Response(502, (FORMATS["/v1/chat/completions"].error(502, "bad_gateway", str(error)),))
        return forward.finish(answer.status, answer.body, self.clock.now())

    def die(self) -> None:
        """Resets every connection; the caller that opened the socket closes it."""
        self.dead.set()
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self.busy = False
        self._gone = False
        self._last = False
        self._holds_worker = False
        self._timer: asyncio.TimerHandle | None = None
        self._fetching: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's transport has the methods but not the base class
        self._emulator.connections.add(self)
        if self._emulator.dead.is_set():
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._emulator.connections.discard(self)
        for pending in (self._timer, self._fetching):
            if pending is not None:
                pending.cancel()
        self._free_worker()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.busy:
            self._next()
        elif len(self._buffer) > BODY_BYTES_MAX:
            self.abort()  # no client sends so much before an answer

    def _next(self) -> None:
        """Answers the request at the front of the buffer once it is complete."""
        try:
            request = self._parsed()
        except ValueError as error:
            refusal = Response(
                400,
                (FORMATS["/v1/chat/completions"].error(400, "bad_request", str(error)),),
                "connection: close\r\n",
            )
            self._write(_head(refusal) + refusal.pieces[0])
            self._transport.close()
            return
        if request is None:
            return
        self.busy = True
        response = self._emulator.respond(request)
        if response is None:
            return
        if isinstance(response, Response) and not response.works:
            self._send(response)
            return
        self._emulator.workers.enter(lambda: self._work(response))

    def _parsed(self) -> Request | None:
        """Removes the next request from the buffer; None if it is not complete.

        raises  ValueError if it is not HTTP/1.1"""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise ValueError("the request's head is too long")
            return None
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        words = lines[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise ValueError("this is not an HTTP/1.1 request")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        if b"expect" in headers and len(self._buffer) == end + 4:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            found = _unchunked(self._buffer, end + 4)
            if found is None:
                return None
            body, stop = found
        else:
            stop = end + 4 + int(headers.get(b"content-length", b"0"))
            if stop - end > BODY_BYTES_MAX:
                raise ValueError(f"the body is longer than {BODY_BYTES_MAX} bytes")
            if len(self._buffer) < stop:
                return None
            body = bytes(self._buffer[end + 4 : stop])
        del self._buffer[:stop]
        self._last = words[2] == b"HTTP/1.0" or headers.get(b"connection", b"").lower() == b"close"
        return Request(words[0], words[1].decode("latin-1").partition("?")[0], headers, body)

    def _work(self, response: Response | Forward) -> None:
        self._holds_worker = True
        if self._gone:
            self._free_worker()
        elif isinstance(response, Forward):
            self._fetching = asyncio.get_running_loop().create_task(self._fetch(response))
        elif response.first_s > 0:
            self._timer = asyncio.get_running_loop().call_later(response.first_s, self._send, response)
        else:
            self._send(response)

    async def _fetch(self, forward: Forward) -> None:
        response = await self._emulator.fetch(forward)
        self._fetching = None
        if not self._gone:
            self._timer = asyncio.get_running_loop().call_later(response.first_s, self._send, response)

    def _send(self, response: Response) -> None:
        if response.cut_at == -1:
            self.abort()
            return
        body = response.pieces[0] if len(response.pieces) == 1 else b"".join(response.pieces)
        if response.cut_at is not None:
            self._write(_head(response) + _framed(response, body[: response.cut_at]))
            # The pause lets the bytes that were written leave this machine first.
            self._timer = asyncio.get_running_loop().call_later(0.01, self.abort)
        elif response.gap_s > 0:
            self._write(_head(response))
            self._send_piece(response, 0, asyncio.get_running_loop().time())
        else:
            self._write(
                _head(response) + _framed(response, body) + (b"0\r\n\r\n" if response.stream else b"")
            )
            self._done()

    def _send_piece(self, response: Response, number: int, due_s: float) -> None:
        """Sends one piece, and the next one a gap after this one was due: a late timer delays no other."""
        framed = _framed(response, response.pieces[number])
        if number == len(response.pieces) - 1:
            self._write(framed + b"0\r\n\r\n")
            self._done()
            return
        self._write(framed)
        due_s += response.gap_s
        self._timer = asyncio.get_running_loop().call_at(due_s, self._send_piece, response, number + 1, due_s)

    def _write(self, data: bytes) -> None:
        if not self._gone:
            self._transport.write(data)

    def _done(self) -> None:
        self._timer = None
        self.busy = False
        self._free_worker()
        if self._last and not self._gone:
            self._transport.close()
        elif self._buffer and not self._gone:
            self._next()

    def _free_worker(self) -> None:
        if self._holds_worker:
            self._holds_worker = False
            self._emulator.workers.leave()


def _head(response: Response) -> bytes:
    framing = (
        "transfer-encoding: chunked"
        if response.stream
        else f"content-length: {sum(map(len, response.pieces))}"
    )
    return (
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\ncontent-type: {response.content_type}\r\n"
        f"{framing}\r\n{response.headers}\r\n"
    ).encode("latin-1")


def _framed(response: Response, data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if response.stream else data


def _unchunked(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """Returns a chunked body and the place where it ends; None if it is not complete.

    raises  ValueError if it is not a chunked body, or too long"""
    parts: list[bytes] = []
    size = 0
    while True:
        line = buffer.find(b"\r\n", start)
        if line < 0:
            return None
        length = int(bytes(buffer[start:line]).partition(b";")[0], 16)
        size += length
        if size > BODY_BYTES_MAX:
            raise ValueError(f"the body is longer than {BODY_BYTES_MAX} bytes")
        if len(buffer) < line + 4 + length:
            return None
        if length == 0:
            return b"".join(parts), line + 4
        parts.append(bytes(buffer[line + 2 : line + 2 + length]))
        start = line + 4 + length


@asynccontextmanager
async def serving(
    emulation: Emulation,
    *,
    port: int = 0,
    key: str | None = None,
    find_instance: Callable[[str], Instance] = own_instance,
) -> AsyncIterator[Emulator]:
    """Serves an emulated provider on 127.0.0.1; port 0: any free port. See the package's header."""
    clock = RealClock()
    loop = asyncio.get_running_loop()
    provider = EmulatedProvider(emulation, find_instance=find_instance, key=key, now_s=clock.now())
    workers = Workers(emulation.latency.workers, emulation.latency.queue_max)
    async with AsyncExitStack() as resources:
        pool = None
        if emulation.behind is not None:
            pool = await resources.enter_async_context(
                open_connection_pool(requests_per_second_max=None, deadlines=Deadlines())
            )
        emulator = Emulator(provider, workers, pool)
        server = await loop.create_server(lambda: Connection(emulator), "127.0.0.1", port, backlog=4096)
        emulator.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

        async def close_when_dead() -> None:
            await emulator.dead.wait()
            server.close()

        closing = loop.create_task(close_when_dead())
        dies_after_s = emulation.faults.dies_after_s
        death = loop.call_later(dies_after_s, emulator.die) if dies_after_s is not None else None
        try:
            yield emulator
        finally:
            if death is not None:
                death.cancel()
            emulator.die()
            server.close()  # at once, since a cancelled task does not wait for `closing`
            await closing
            await server.wait_closed()
