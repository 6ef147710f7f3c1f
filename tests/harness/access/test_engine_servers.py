"""Servers on this machine: those that run already are found by what they tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from backends.local.local_server import LocalServer
from harness.access.engine_servers import EngineServers, engine_users, load_reader
from harness.config.load import parse_sweep
from harness.core.clock import RealClock
from harness.core.records import EngineSample, Record
from harness.limits.gate import Gate, GateLimits
from tests.world import Rows

if TYPE_CHECKING:
    from anyio.abc import Process

PAGE = (Path(__file__).parents[2] / "backends" / "local" / "load_pages" / "vllm.txt").read_bytes()


class Telling(BaseHTTPRequestHandler):
    """A server that is running already and tells its load."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        if self.path == "/metrics":
            self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Nobody listens."""


@pytest.fixture
def reporting() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Telling) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def sweep(methods: str) -> str:
    return f'name = "s"\n[games.taboo]\n{methods}'


def test_who_tells_its_load_is_found(reporting: str, tmp_path: Path) -> None:
    """A server on this machine that reports its load is found; a silent and a remote one are not."""
    spec = parse_sweep(
        sweep(f"""
[models.m.methods.here]
base_url = "{reporting}"
[models.m.methods.silent]
base_url = "http://127.0.0.1:9/v1"
[models.m.methods.far]
base_url = "https://api.example.com/v1"
"""),
        source="s.toml",
        known_games=["taboo"],
    )

    async def main() -> None:
        servers = EngineServers(
            methods=spec.methods(),
            store=tmp_path / "s.duckdb",
            run_id="1",
            clock=RealClock(),
            sink=Rows(),
            notify=print,
            weights=str,
        )
        await servers.find_running()
        assert servers.reporting == {reporting}
        load = await load_reader(reporting)()
        assert load is not None
        assert load.running == 24

    anyio.run(main)


class Arriving(Rows):
    """Rows that say when the first one has come."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = anyio.Event()

    def put_nowait(self, record: Record) -> None:
        super().put_nowait(record)
        self.arrived.set()


def test_the_load_of_a_running_server_reaches_gate_and_store(reporting: str, tmp_path: Path) -> None:
    """Only methods at the reporting server are followed: its load is a row, under its address."""
    text = f"""
[models.m.methods.here]
base_url = "{reporting}"
[models.m.methods.silent]
base_url = "http://127.0.0.1:9/v1"
"""
    spec = parse_sweep(sweep(text), source="s.toml", known_games=["taboo"])
    rows, clock = Arriving(), RealClock()
    gates = {
        name: Gate(name, GateLimits(concurrency=64), clock=clock, on_event=lambda kind, detail: None)
        for name in spec.methods()
    }

    async def main() -> None:
        servers = EngineServers(
            methods=spec.methods(),
            store=tmp_path / "s.duckdb",
            run_id="1",
            clock=clock,
            sink=rows,
            notify=print,
            weights=str,
        )
        await servers.find_running()
        async with anyio.create_task_group() as background:
            servers.follow_load(background, gates)
            await rows.arrived.wait()
            background.cancel_scope.cancel()

    anyio.run(main)
    samples = [row for row in rows.all if isinstance(row, EngineSample)]
    assert {(sample.base_url, sample.running) for sample in samples} == {(reporting, 24)}


def test_an_engine_serves_the_stated_name_or_that_of_the_model() -> None:
    """`served_name` is what the server is asked for; without it the name is the model's."""
    engine = 'engine = { kind = "vllm", weights = "w" }\n'
    spec = parse_sweep(
        sweep(f'[models.m.methods.a]\n{engine}[models.m.methods.b]\n{engine}served_name = "other"\n'),
        source="s.toml",
        known_games=["taboo"],
    )
    names = {
        tuple(users): server.served_name for (server, _), users in engine_users(spec.methods(), str).items()
    }
    assert names == {("m/a",): "m", ("m/b",): "other"}


def test_a_started_server_is_asked_for_its_load_if_it_has_metrics(tmp_path: Path) -> None:
    """At its own address, which no sweep names; an engine without metrics is not asked."""
    engine = 'engine = { kind = "vllm", weights = "w" }\n'
    spec = parse_sweep(
        sweep(f"[models.m.methods.a]\n{engine}[models.m.methods.b]\n{engine}"),
        source="s.toml",
        known_games=["taboo"],
    )
    servers = EngineServers(
        methods=spec.methods(),
        store=tmp_path / "s.duckdb",
        run_id="1",
        clock=RealClock(),
        sink=Rows(),
        notify=print,
        weights=str,
    )
    server = LocalServer(
        port=9,
        base_url="http://127.0.0.1:9/v1",
        served_name="m",
        load_path="/metrics",
        seqs_max=1,
        facts={},
        log=tmp_path / "log",
        process=cast("Process", None),  # it is not asked
    )
    servers.started.update({"m/a": server, "m/b": replace(server, load_path=None)})
    assert servers.reporting_url("m/a") == "http://127.0.0.1:9/v1"
    assert servers.reporting_url("m/b") is None
