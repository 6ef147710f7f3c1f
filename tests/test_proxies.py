"""TLS through an HTTP proxy, as the environment states it: a provider, a proxy and a certificate on
loopback."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.bots import rows
from tests.command import Ended, apart

CERTIFICATE = Path(__file__).parent / "backends" / "self_signed.pem"  # of localhost and models.test
BODY = b'{"model": "m", "choices": [{"message": {"content": "CLUE: a thing"}, "finish_reason": "stop"}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
NO_LIST = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
SWEEP = """
name = "tls"
[games.taboo]
items = 2
[retry]
tries_max = 2
wait_max_s = 0.1
[models.m.methods.a]
base_url = "https://{host}:{port}/v1"
key_env = "TEST_KEY"
"""


@dataclass(slots=True)
class Network:
    """A provider behind TLS, and a proxy that tunnels to it whatever host is named.

    seen_by_proxy      (request line, its credentials) of each connection
    seen_by_provider   the head of each request"""

    port: int = 0
    proxy_port: int = 0
    refuses: bool = False
    seen_by_proxy: list[tuple[str, str]] = field(default_factory=list)
    seen_by_provider: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.seen_by_provider.append(head)
                sizes = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                if sizes:
                    await reader.readexactly(int(sizes[0].split(":")[1]))
                writer.write(ANSWER if head.startswith("POST") else NO_LIST)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        credentials = [line.partition("Basic ")[2] for line in head if line.startswith("Proxy-Authorization")]
        self.seen_by_proxy.append((head[0], base64.b64decode(credentials[0]).decode() if credentials else ""))
        if self.refuses:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def _running(network: Network) -> AsyncIterator[Network]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    async with AsyncExitStack() as stack:
        provider = await asyncio.start_server(network.answer, "127.0.0.1", 0, ssl=tls)
        proxy = await asyncio.start_server(network.tunnel, "127.0.0.1", 0)
        for server in (provider, proxy):
            stack.callback(server.close)
        network.port = provider.sockets[0].getsockname()[1]
        network.proxy_port = proxy.sockets[0].getsockname()[1]
        yield network


@pytest.fixture
def network() -> Iterator[Network]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_running(Network())) as running:
        yield running


def run(network: Network, folder: Path, *, host: str = "models.test", **environ: str) -> Ended:
    """Returns the end of a run whose calls go to this host."""
    sweep = folder / "tls.toml"
    sweep.write_text(SWEEP.format(host=host, port=network.port))
    proxy = f"http://user:word@127.0.0.1:{network.proxy_port}"
    unset = dict.fromkeys(("https_proxy", "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), "")
    ended = apart("run", sweep, env={**unset, "HTTPS_PROXY": proxy, "TEST_KEY": "sk-7f3a9", **environ})
    assert "word" not in ended.stderr + ended.stdout
    return ended


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_calls_go_through_a_tunnel_of_the_proxy(network: Network, tmp_path: Path, variable: str) -> None:
    """The proxy is asked to connect to the host by its name, with its credentials, and sees nothing else; the
    provider gets the key and not the proxy's credentials. The run names the proxy once."""
    ended = run(network, tmp_path, **{variable: str(CERTIFICATE)})
    assert ended.returncode == 0, ended.stderr
    assert set(network.seen_by_proxy) == {(f"CONNECT models.test:{network.port} HTTP/1.1", "user:word")}
    assert all("Bearer sk-7f3a9" in head for head in network.seen_by_provider)
    assert not any("roxy-" in head for head in network.seen_by_provider)
    named = f"m/a: calls go through the proxy http://127.0.0.1:{network.proxy_port}"
    assert ended.stderr.count(named) == 1
    finished = "SELECT status, count(*) FROM episodes GROUP BY ALL"
    assert rows(tmp_path / "tls.duckdb", finished) == [("finished", 2)]


def test_a_certificate_that_nobody_trusts_is_named_with_its_remedy(network: Network, tmp_path: Path) -> None:
    """The tunnel is opened, but the provider gets no request."""
    ended = run(network, tmp_path)
    assert ended.returncode == 2
    assert "could not be verified" in ended.stderr
    assert "set SSL_CERT_FILE to the file of its authority" in ended.stderr
    assert network.seen_by_proxy
    assert network.seen_by_provider == []


def test_a_proxy_that_refuses_is_named(network: Network, tmp_path: Path) -> None:
    """Its status is in the message."""
    network.refuses = True
    ended = run(network, tmp_path, REQUESTS_CA_BUNDLE=str(CERTIFICATE))
    assert ended.returncode == 2
    assert "was refused by the proxy: HTTP 407" in ended.stderr


def test_no_proxy_and_loopback_are_called_directly(network: Network, tmp_path: Path) -> None:
    """A host of NO_PROXY, and this machine whatever NO_PROXY says: the proxy hears of neither."""
    trusted = {"REQUESTS_CA_BUNDLE": str(CERTIFICATE)}
    ended = run(network, tmp_path, NO_PROXY="other.test,.models.test", **trusted)
    assert ended.returncode == 2
    assert "cannot connect to https://models.test" in ended.stderr  # a name that no resolver knows
    assert network.seen_by_provider == []
    ended = run(network, tmp_path, host="localhost", **trusted)
    assert ended.returncode == 0, ended.stderr
    assert network.seen_by_provider
    assert "through the proxy" not in ended.stderr
    assert network.seen_by_proxy == []
