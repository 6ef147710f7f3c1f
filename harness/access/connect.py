"""Access methods made live: engines started, a gate for every quota, a proved route to every method.

Knows nothing of episodes: who plays, measures or only looks gets the same ways."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from backends.bots import BotsBackend
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.local.local_server import LocalServer
from backends.local.supervisor import SupervisedBackend
from harness.access.budgets import find_scopes
from harness.access.context import RunContext
from harness.access.engine_servers import EngineServers
from harness.access.game_sets import game_sets, items_of, user_path, warm_up
from harness.access.gates import GateSpec, group_by_quota
from harness.access.keys import read_keys
from harness.access.methods import access_method
from harness.checking.check_method import CheckTarget, MethodCheck, NullSink, check_method
from harness.config.episode_plans import GameSet
from harness.config.load import Key, spec_error, suggest
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.clock import RealClock
from harness.core.errors import CallError
from harness.core.protocols import Backend, RecordSink
from harness.core.records import GateEvent
from harness.core.vocabulary import AccessMethod, Instance
from harness.limits.gate import Gate
from harness.scheduler.call import RetryPolicy, Route

if TYPE_CHECKING:
    from backends.http import HttpBackend


async def check_sweep(spec: SweepSpec, setting: RunContext, *, probing: bool) -> tuple[MethodCheck, ...]:
    """A look at every access method that has a server, all at the same time; nothing is played or stored.

    raises  SpecError, EngineError; what a provider does wrong is in its look"""
    ways, _ = _unplayed(spec, setting, "check")
    return await ways.look(probing=probing)


@asynccontextmanager
async def connected(
    spec: SweepSpec, setting: RunContext, sink: RecordSink
) -> AsyncIterator[tuple[Mapping[str, Route], Mapping[str, GameSet]]]:
    """A proved route to every method, engines started, for as long as the block lasts; and the puzzles. Nothing is played.

    raises  SpecError, EngineError"""
    ways, sets = _unplayed(spec, setting, "bench")
    async with ways.opened(sink) as (open_ways, _):
        await ways.prove(open_ways)
        await anyio.to_thread.run_sync(warm_up, sets)
        yield open_ways.routes, sets


def _unplayed(spec: SweepSpec, setting: RunContext, run_id: str) -> tuple[Connector, Mapping[str, GameSet]]:
    """The ways to all methods, for those who play no episodes; and the puzzles."""
    keys = read_keys(spec, source=setting.source, environ=setting.environ)
    sets = game_sets(spec, setting.source)
    methods = {name: part for name, (_, part) in spec.methods().items()}
    find_scopes(spec, spec.seatings(), source=setting.source)  # a budget that cannot be kept is told here too
    ways = Connector(
        spec=spec,
        setting=setting,
        methods=methods,
        instances=items_of(sets),
        keys=keys,
        run_id=run_id,
        clock=RealClock(),
    )
    return ways, sets


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoutes:
    """All methods of a run, made live. wired: the backends with sockets, under whatever hosts them; gate_of: by method."""

    routes: dict[str, Route]
    wired: dict[str, HttpBackend]
    servers: EngineServers
    gate_of: dict[str, Gate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """The ways to these methods, in one run.

    instances   item -> puzzle, for bots and emulators
    keys        method -> the value of its key"""

    spec: SweepSpec
    setting: RunContext
    methods: Mapping[str, MethodPart]
    instances: Mapping[str, Instance]
    keys: Mapping[str, str | None]
    run_id: str
    clock: RealClock

    @asynccontextmanager
    async def opened(self, sink: RecordSink) -> AsyncIterator[tuple[OpenRoutes, TaskGroup]]:
        """The ways for as long as the block lasts, and a group for tasks that end with it: last, for closing has to wait, and who is
        cancelled cannot."""
        async with anyio.create_task_group() as background:
            async with AsyncExitStack() as open_things:
                yield await self.connect(background, open_things, sink), background
            background.cancel_scope.cancel()

    async def connect(
        self, background: TaskGroup, open_things: AsyncExitStack, sink: RecordSink
    ) -> OpenRoutes:
        """Engines started, emulators too, a gate for every quota and a route for every method."""
        servers = self.servers(sink)
        await servers.look_around()
        doors = group_by_quota(self.spec, self.methods, source=self.setting.source, told=servers.told)
        gates = {door: self.gate(door, sink) for door in doors}
        gate_of = {name: gate for door, gate in gates.items() for name in door.methods}
        await servers.start(background, gate_of)
        models = {name: model for name, (model, _) in self.spec.methods().items()}
        routes: dict[str, Route] = {}
        wired: dict[str, HttpBackend] = {}
        for door, gate in gates.items():
            account = tuple(other for beside, other in gates.items() if beside.account == door.account)
            for name in door.methods:
                part, server = self.methods[name], servers.started.get(name)
                address = await self.address(part, server, servers, open_things)
                concurrency, source = door.limits.concurrency, self.setting.source
                method = access_method(
                    name, models[name], part, server, address, concurrency=concurrency, source=source
                )
                alone = await self.backend(method, part, open_things)
                if not isinstance(alone, BotsBackend):
                    wired[name] = alone
                host = servers.hosts.get(name)
                backend: Backend = alone if host is None else SupervisedBackend(alone, host, clock=self.clock)
                routes[name] = Route(
                    method=method, gate=gate, backend=backend, account=account, alone=door.alone
                )
        return OpenRoutes(routes=routes, wired=wired, servers=servers, gate_of=gate_of)

    async def look(self, *, probing: bool) -> tuple[MethodCheck, ...]:
        """See check_sweep."""
        looks: dict[str, MethodCheck] = {}
        check_at = self.clock.wall()

        async def look(name: str, route: Route, wired: HttpBackend) -> None:
            target = CheckTarget(route=route, server=wired)
            looks[name] = await check_method(
                target, clock=self.clock, policy=retry_policy(self.spec), check_at=check_at, probing=probing
            )

        async with self.opened(NullSink()) as (open_ways, background):
            for gate in dict.fromkeys(open_ways.gate_of.values()):
                background.start_soon(gate.keep)
            async with anyio.create_task_group() as looking:
                for name, wired in open_ways.wired.items():
                    looking.start_soon(look, name, open_ways.routes[name], wired)
        return tuple(looks[name] for name in self.methods if name in looks)

    def gate(self, door: GateSpec, sink: RecordSink) -> Gate:
        def on_event(kind: str, detail: str) -> None:
            self.setting.say(f"{door.name}: gate {kind}: {detail}")
            sink.put_nowait(
                GateEvent(run_id=self.run_id, gate=door.name, kind=kind, detail=detail, at=self.clock.wall())
            )

        return Gate(door.name, door.limits, clock=self.clock, on_event=on_event)

    def servers(self, sink: RecordSink) -> EngineServers:
        def weights(text: str) -> str:
            return (
                text
                if text.startswith("bundled:")
                else str(user_path(text, self.setting.source, ("models",)))
            )

        known = self.spec.methods()
        return EngineServers(
            methods={name: known[name] for name in (*self.methods, *self.behind()) if name in known},
            store=self.setting.store,
            run_id=self.run_id,
            clock=self.clock,
            sink=sink,
            say=self.setting.say,
            weights=weights,
        )

    def behind(self) -> set[str]:
        """What stands behind the emulators: methods with an engine of their own, where no address is given."""
        return {
            part.emulator.behind
            for part in self.methods.values()
            if part.emulator is not None and part.emulator.behind is not None
        }

    async def address(
        self,
        part: MethodPart,
        server: LocalServer | None,
        servers: EngineServers,
        open_things: AsyncExitStack,
    ) -> str:
        """Where the model answers. An emulator lives in this very loop: it costs it about as much as the calls to it do, and needs no
        second process that would have to learn the sweep's instances; who measures speed runs `lightbulb emulate` beside."""
        if part.emulator is not None:
            from backends.emulator.server import serving

            emulation = part.emulator
            if (engine := servers.started.get(emulation.behind or "")) is not None:
                emulation = dataclasses.replace(emulation, behind=engine.base_url)
            emulator = await open_things.enter_async_context(
                serving(emulation, find_instance=self.instances.__getitem__)
            )
            return emulator.base_url
        return server.base_url if server else part.base_url or ""

    async def backend(
        self, method: AccessMethod, part: MethodPart, open_things: AsyncExitStack
    ) -> BotsBackend | HttpBackend:
        if part.bots is not None:
            return BotsBackend(
                find_instance=self.instances.__getitem__,
                clock=self.clock,
                seed=self.spec.seed,
                skill=part.bots.skill,
                form_errors=part.bots.form_errors,
                latency_s=part.bots.latency_s,
            )
        from backends.http import HttpBackend, open_connection_pool  # slow to load, and not needed before

        retry = self.spec.retry
        wire = await open_things.enter_async_context(
            open_connection_pool(
                requests_per_second_max=method.requests_per_second_max,
                deadlines=Deadlines(
                    connect_s=retry.connect_s,
                    first_byte_s=retry.first_byte_s or retry.timeout_s,
                    between_chunks_s=retry.between_chunks_s,
                    timeout_s=retry.timeout_s,
                ),
                bytes_max=part.reply_bytes_max,
            )
        )
        return HttpBackend(
            method, DIALECTS[method.dialect], wire, key=self.keys[method.name], clock=self.clock
        )

    async def prove(self, open_ways: OpenRoutes) -> None:
        """Every server is there, takes the key and serves the model. Those that we started have proved more than that.

        raises  SpecError listing all that is not so"""
        problems: list[tuple[Key, str]] = []

        async def ask(name: str, backend: HttpBackend, method: AccessMethod) -> None:
            try:
                served = await backend.served_models()
            except CallError as error:
                problems.append(
                    (
                        place_of(name),
                        f"{error}; check base_url{', key_env' if self.keys[name] else ''} and the server",
                    )
                )
                return
            if served is not None and method.served_name not in served:
                hint = suggest(method.served_name, served[:20])
                why = f"{method.base_url} does not serve {method.served_name!r}{hint}"
                problems.append(((*place_of(name), "served_name"), why))

        async with anyio.create_task_group() as asking:
            for name, backend in open_ways.wired.items():
                if name not in open_ways.servers.hosts:
                    asking.start_soon(ask, name, backend, open_ways.routes[name].method)
        if problems:
            raise spec_error(self.setting.source, sorted(problems))


def retry_policy(spec: SweepSpec) -> RetryPolicy:
    """How stubbornly a call is tried again."""
    retry = spec.retry
    return RetryPolicy(tries_max=retry.tries_max, deadline_s=retry.deadline_s, wait_max_s=retry.wait_max_s)


def place_of(method: str) -> tuple[str, ...]:
    """Where the sweep file describes a method."""
    model, way = method.split("/", 1)
    return ("models", model, "methods", way)
