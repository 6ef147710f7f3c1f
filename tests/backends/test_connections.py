"""A connection pool writes these bytes on a socket, and uses a connection again only after a whole answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from yarl import URL

from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from harness.core.errors import CallError

HEADERS = {"Content-Type": "application/json", "X-Key": "k"}
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Server:
    """A server of raw bytes: each connection is a list of the requests that came over it."""

    answer: bytes
    connections: list[list[bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        self.connections.append(requests)
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            requests.append(head + (await reader.readexactly(length)))
            writer.write(self.answer)
            await writer.drain()


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[tuple[Server, URL]]:
    server = Server(answer)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = listening.sockets[0].getsockname()[1]
        yield server, URL(f"http://127.0.0.1:{port}/v1/chat?api-version=1", encoded=True)
    finally:
        listening.close()


def test_head_and_body_are_written_whole() -> None:
    """The second request has the same head over the same connection, its own length and one more header."""

    async def scenario() -> None:
        async with (
            serving(GOOD) as (server, url),
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
        ):
            request = pool.prepare("POST", url, HEADERS)
            for body, header in ((b'{"a": 1}', None), (b"[]", ("X-Turn", "t 1"))):
                answer = await pool.exchange(request, body=body, header=header)
                assert (answer.status, answer.body) == (200, b"{}")
            await pool.exchange(pool.prepare("GET", url, {}))
        ((first, second, third),) = server.connections
        head, _, body = first.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        assert line == "POST /v1/chat?api-version=1 HTTP/1.1"
        sent = dict(field.split(": ", 1) for field in fields)
        assert {"Accept", "Accept-Encoding", "User-Agent"} <= set(sent)
        assert sent.items() >= {"Host": f"127.0.0.1:{url.port}", "Content-Length": "8", **HEADERS}.items()
        assert body == b'{"a": 1}'
        assert second == first.replace(
            b'Content-Length: 8\r\n\r\n{"a": 1}', b"X-Turn: t 1\r\nContent-Length: 2\r\n\r\n[]"
        )
        assert third.startswith(b"GET /v1/chat?api-version=1 HTTP/1.1\r\n")
        assert b"Content-Length" not in third

    anyio.run(scenario)


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
def test_no_header_begins_another(value: str) -> None:
    async def scenario() -> None:
        async with (
            serving(GOOD) as (server, url),
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
        ):
            with pytest.raises(ValueError, match="line break"):
                await pool.exchange(pool.prepare("GET", url, {"X-Odd": value}))
            with pytest.raises(ValueError, match="line break"):
                await pool.exchange(pool.prepare("GET", url, {}), header=("X-Odd", value))
        assert not any(server.connections)

    anyio.run(scenario)


def test_an_answer_follows_what_a_server_says_meanwhile() -> None:
    """Answers of the class 1xx are none."""
    meanwhile = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

    async def scenario() -> None:
        async with (
            serving(meanwhile + GOOD) as (_, url),
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
        ):
            answer = await pool.exchange(pool.prepare("POST", url, HEADERS), body=b"{}")
            assert (answer.status, answer.body) == (200, b"{}")

    anyio.run(scenario)


def test_a_connection_with_an_unread_answer_is_not_used_again() -> None:
    """The rest of the answer would be taken for the beginning of the next one."""
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 9\r\n\r\npart"

    async def scenario() -> None:
        async with (
            serving(redirect) as (server, url),
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as pool,
        ):
            for _ in range(2):
                with pytest.raises(CallError, match="redirects to /other"):
                    await pool.exchange(pool.prepare("POST", url, HEADERS), body=b"{}")
        assert [len(requests) for requests in server.connections] == [1, 1]

    anyio.run(scenario)


def test_a_connection_with_an_unsent_request_is_not_used_again() -> None:
    """A server answers the head and does not read the body; the next request gets another connection."""
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}"
    heads: list[bytes] = []
    over = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(refused)
        try:
            await over.wait()
        finally:
            writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=2**16)
        async with (
            server,
            open_connection_pool(requests_per_second_max=None, deadlines=Deadlines(first_byte_s=2.0)) as pool,
        ):
            request = pool.prepare("POST", URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), {})
            for _ in range(2):
                answer = await pool.exchange(request, body=b" " * 64 * 2**20)
                assert (answer.status, answer.body) == (413, b"{}")
            assert len(heads) == 2
            over.set()

    anyio.run(scenario)
