"""Manages the model servers on this machine that a sweep uses: starts those it names, finds those that run
already, follows their load.

Knows engines, their supervisors, gates, and where the sweep keeps its files; nothing of prompts. Keeps: a
server that dies is started again as often as the sweep allows; after that its gates close, with the last
lines of its log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from backends.local.engine import EngineSpec
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.local_server import LocalServer, exchange
from backends.local.machine import this_machine
from backends.local.server_metrics import read_load
from backends.local.supervisor import SupervisedServer
from harness.access.game_sets import user_path
from harness.access.gates import on_this_machine
from harness.access.server_load import follow_load
from harness.config.sweep import MethodPart
from harness.core.clock import RealClock
from harness.core.errors import EngineError, Unreachable
from harness.core.protocols import RecordSink
from harness.core.records import GateEvent
from harness.core.vocabulary import ServerLoad
from harness.limits.gate import Gate

LOAD_PATH = "/metrics"


@dataclass(slots=True, kw_only=True)
class EngineServers:
    """The servers of one run; see the module's header.

    methods     name -> (model, description): those that are connected, and those whose engines stand behind
                an emulator
    store       the DuckDB file; the servers' logs are written beside it
    weights     path in the sweep file -> path on this machine
    started     method -> its server, once it runs
    failed      method -> why its server did not start
    supervised  method -> the supervisor of that server
    reporting   addresses of servers that ran already and report their load"""

    methods: Mapping[str, tuple[str, MethodPart]]
    store: Path
    run_id: str
    clock: RealClock
    sink: RecordSink
    notify: Callable[[str], None]
    weights: Callable[[str], str]
    started: dict[str, LocalServer] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    supervised: dict[str, SupervisedServer] = field(default_factory=dict)
    reporting: frozenset[str] = frozenset()

    # --- servers that run already ---------------------------------------------------------------------------

    async def find_running(self) -> None:
        """Finds the servers that run on this machine and report their load."""
        known = {part.base_url for _, part in self.methods.values() if part.base_url is not None}
        urls = {url for url in known if on_this_machine(url) and urlsplit(url).scheme == "http"}
        reporting = set()

        async def ask(url: str) -> None:
            if await load_reader(url)() is not None:
                reporting.add(url)

        async with anyio.create_task_group() as asking:
            for url in urls:
                asking.start_soon(ask, url)
        self.reporting = frozenset(reporting)

    # --- servers that the sweep names -----------------------------------------------------------------------

    async def start(self, background: TaskGroup, gates: Mapping[str, Gate]) -> None:
        """Starts all of them side by side. Methods that differ only in what they ask of the server share one.

        gates   method -> its gate, closed if the server is lost for good"""
        users = engine_users(self.methods, self.weights)

        async def start(spec: EngineSpec, restarts_max: int, names: Sequence[str]) -> None:
            of_names = [gates[name] for name in names if name in gates]
            try:
                server = await background.start(self._keep, spec, restarts_max, names, of_names)
            except EngineError as error:
                self.failed.update(dict.fromkeys(names, str(error)))
            else:
                self.started.update(dict.fromkeys(names, server))

        async with anyio.create_task_group() as starting:
            for (spec, restarts_max), names in users.items():
                starting.start_soon(start, spec, restarts_max, names)

    async def _keep(
        self,
        spec: EngineSpec,
        restarts_max: int,
        names: Sequence[str],
        gates: Sequence[Gate],
        *,
        task_status: TaskStatus[LocalServer],
    ) -> None:
        """Keeps one server running until the run ends; closes its gates if it is lost before."""
        engine = await anyio.to_thread.run_sync(install, engine_kind(spec.kind, this_machine()), self.notify)

        def on_death(death: EngineError) -> None:
            self.notify(f"{' '.join(names)}: {death}")
            for gate in dict.fromkeys(gates):
                event = GateEvent(
                    run_id=self.run_id,
                    gate=gate.name,
                    kind="server died",
                    detail=str(death),
                    at=self.clock.wall(),
                )
                self.sink.put_nowait(event)

        log = self.store.with_name(f"{self.store.stem}-{names[0].replace('/', '-')}.log")
        supervisor = SupervisedServer(
            spec, engine, log=log, restarts_max=restarts_max, on_death=on_death, notify=self.notify
        )
        self.supervised.update(dict.fromkeys(names, supervisor))
        death = await supervisor.keep(task_status=task_status)
        for gate in gates:
            gate.close(Unreachable(str(death)))

    # --- load -----------------------------------------------------------------------------------------------

    def follow_load(self, background: TaskGroup, gates: Mapping[str, Gate]) -> None:
        """Reports each server's load to the gates of the methods that use it, as long as the run lasts."""
        users: dict[str, list[Gate]] = {}
        for name in self.methods:
            if name in gates and (url := self.reporting_url(name)) is not None:
                users.setdefault(url, []).append(gates[name])
        for url, of_url in users.items():
            background.start_soon(self._follow, url, list(dict.fromkeys(of_url)))

    def reporting_url(self, name: str) -> str | None:
        """Returns the address of a method's server if that reports its load."""
        if (server := self.started.get(name)) is not None:
            return server.base_url if server.load_path is not None else None
        url = self.methods[name][1].base_url
        return url if url in self.reporting else None

    async def _follow(self, url: str, gates: Sequence[Gate]) -> None:
        await follow_load(
            load_reader(url), gates, run_id=self.run_id, base_url=url, sink=self.sink, clock=self.clock
        )


def engine_users(
    methods: Mapping[str, tuple[str, MethodPart]], weights: Callable[[str], str]
) -> dict[tuple[EngineSpec, int], list[str]]:
    """Returns (engine, its restarts) -> the methods that share this server.

    methods  name -> (model, description)
    weights  path in the sweep file -> path on this machine"""
    users: dict[tuple[EngineSpec, int], list[str]] = {}
    keys = tuple(sorted({part.key_env for _, part in methods.values() if part.key_env}))
    for name, (model, part) in methods.items():
        if part.engine is not None:
            spec = EngineSpec(
                kind=part.engine.kind,
                weights=weights(part.engine.weights),
                served_name=part.served_name or model,
                dtype=part.engine.dtype,
                quantisation=part.engine.quantisation,
                context_max=part.engine.context_max,
                flags=part.engine.flags,
                env=part.engine.env,
                withheld=keys,
            )
            users.setdefault((spec, part.engine.restarts_max), []).append(name)
    return users


def weights_place(text: str, source: Path) -> str:
    """Returns the weights of a sweep file as this machine knows them: a path from the file's folder, or a
    name as it is."""
    return text if text.startswith(("bundled:", "hf:")) else str(user_path(text, source, ("models",)))


def load_reader(base_url: str) -> Callable[[], Awaitable[ServerLoad | None]]:
    """Returns a function that asks the server at this address for its load; it returns None if the server
    does not report one."""
    port = urlsplit(base_url).port or 80

    async def ask() -> ServerLoad | None:
        status, page = await exchange(port, LOAD_PATH)
        return read_load(page) if status == 200 else None

    return ask
