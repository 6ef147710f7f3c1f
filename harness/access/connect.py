"""Makes access methods live: starts engines, makes a gate for every quota, and connects a route to every
method.

Knows nothing of episodes: runs, load tests and checks connect the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from backends.bots import BotsBackend
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.local.local_server import LocalServer
from backends.local.supervisor import SupervisedBackend
from backends.network import proxy_for, tls_context, without_password
from harness.access.budgets import find_scopes
from harness.access.context import RunContext
from harness.access.engine_servers import EngineServers, weights_place
from harness.access.game_sets import items_of
from harness.access.gates import GateSpec, group_by_quota
from harness.access.keys import Credentials, read_keys
from harness.access.methods import access_method
from harness.config.episode_plans import GameSet
from harness.config.problems import Key, method_place, spec_error, suggest
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.clock import RealClock
from harness.core.errors import AccountRefused, CallError, SpecError, Unreachable
from harness.core.protocols import RecordSink
from harness.core.records import GateEvent
from harness.core.vocabulary import AccessMethod, Instance, split_method_key
from harness.limits.gate import Gate
from harness.limits.token_bucket import JITTER_S
from harness.scheduler.call import RetryPolicy, Route

if TYPE_CHECKING:
    from backends.http import HttpBackend


def connector_for_all(
    spec: SweepSpec, context: RunContext, sets: Mapping[str, GameSet], *, run_id: str
) -> Connector:
    """Returns a connector of every method of the sweep, for verbs that play no episodes.

    raises  SpecError if a key is missing, or if a budget cannot be kept"""
    keys = read_keys(spec, source=context.source, environ=context.environ)
    find_scopes(spec, spec.seatings(), source=context.source)
    return Connector(
        spec=spec,
        context=context,
        methods={name: part for name, (_, part) in spec.methods().items()},
        instances=items_of(sets),
        keys=keys,
        run_id=run_id,
        clock=RealClock(),
    )


Problem = tuple[Key, str]
"""Says why a method cannot be used: the key to correct in the method's table of the sweep file, and a
sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMethods:
    """The access methods of a run, made live. A method whose engine did not start has a gate and no route.

    wired       method -> its backend with sockets, under whatever supervises it
    gate_of     method -> its gate
    background  for tasks that end with the connections"""

    routes: dict[str, Route]
    wired: dict[str, HttpBackend]
    servers: EngineServers
    gate_of: dict[str, Gate]
    background: TaskGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """Makes access methods live in one run.

    methods     name -> description, of those to connect
    instances   item -> its instance, for bots and emulators
    keys        method -> its key and headers
    ignore_eos  see AccessMethod
    jitter_s    see Gate"""

    spec: SweepSpec
    context: RunContext
    methods: Mapping[str, MethodPart]
    instances: Mapping[str, Instance]
    keys: Mapping[str, Credentials]
    run_id: str
    clock: RealClock
    ignore_eos: bool = False
    jitter_s: float = JITTER_S

    @asynccontextmanager
    async def connected(self, sink: RecordSink) -> AsyncIterator[LiveMethods]:
        """Starts engines and emulators, and makes a gate for every quota and a route for every method, for as
        long as the block lasts.

        The background group encloses the rest: closing has to wait for things, and a task that is cancelled
        cannot."""
        async with anyio.create_task_group() as background:
            async with AsyncExitStack() as open_things:
                yield await self._connect(background, open_things, sink)
            background.cancel_scope.cancel()

    async def _connect(
        self, background: TaskGroup, open_things: AsyncExitStack, sink: RecordSink
    ) -> LiveMethods:
        self._announce_proxies()
        servers = self._servers(sink)
        await servers.find_running()
        specs = group_by_quota(
            self.spec, self.methods, source=self.context.source, reporting=servers.reporting
        )
        gates = {gate_spec: self._gate(gate_spec, sink) for gate_spec in specs}
        gate_of = {name: gate for gate_spec, gate in gates.items() for name in gate_spec.methods}
        await servers.start(background, gate_of)
        routes: dict[str, Route] = {}
        wired: dict[str, HttpBackend] = {}
        for gate_spec, gate in gates.items():
            of_key = [beside for beside in gates if beside.account == gate_spec.account]
            for name in gate_spec.methods:
                if self._engine_of(name) in servers.failed:
                    continue
                method = await self._method(name, gate_spec, servers, open_things)
                backend = await self.backend(method, self.methods[name], open_things)
                if not isinstance(backend, BotsBackend):
                    wired[name] = backend
                supervisor = servers.supervised.get(name)
                routes[name] = Route(
                    method=method,
                    gate=gate,
                    backend=SupervisedBackend(backend, supervisor, clock=self.clock)
                    if supervisor
                    else backend,
                    account=tuple(gates[beside] for beside in of_key),
                    alone=gate_spec.alone,
                    sole=len(gate_spec.methods) == 1,
                    key_users=tuple(user for beside in of_key for user in beside.methods),
                )
        return LiveMethods(
            routes=routes, wired=wired, servers=servers, gate_of=gate_of, background=background
        )

    def _engine_of(self, name: str) -> str:
        """Returns the method whose engine answers: itself, or the one behind its emulator."""
        emulation = self.methods[name].emulator
        return emulation.behind if emulation is not None and emulation.behind is not None else name

    async def _method(
        self, name: str, gate_spec: GateSpec, servers: EngineServers, open_things: AsyncExitStack
    ) -> AccessMethod:
        part, server = self.methods[name], servers.started.get(name)
        method = access_method(
            name,
            split_method_key(name)[0],
            part,
            server,
            await self._address(part, server, servers, open_things),
            concurrency=gate_spec.limits.concurrency,
            source=self.context.source,
        )
        return dataclasses.replace(method, ignore_eos=self.ignore_eos)

    def _gate(self, gate_spec: GateSpec, sink: RecordSink) -> Gate:
        name, methods = gate_spec.name, gate_spec.methods
        short = name if len(methods) == 1 else f"the gate of {methods[0]} and {len(methods) - 1} more"
        unnamed = [f"{short}: {', '.join(methods)} share one quota"] if len(methods) > 1 else []

        def on_event(kind: str, detail: str) -> None:
            if unnamed:
                self.context.notify(unnamed.pop())
            self.context.notify(f"{short}: {detail}")
            at = self.clock.wall()
            sink.put_nowait(GateEvent(run_id=self.run_id, gate=name, kind=kind, detail=detail, at=at))

        return Gate(name, gate_spec.limits, clock=self.clock, on_event=on_event, jitter_s=self.jitter_s)

    def _servers(self, sink: RecordSink) -> EngineServers:
        known, behind = self.spec.methods(), _behind_emulators(self.methods.values())
        return EngineServers(
            methods={name: known[name] for name in (*self.methods, *behind) if name in known},
            store=self.context.store,
            run_id=self.run_id,
            clock=self.clock,
            sink=sink,
            notify=self.context.notify,
            weights=lambda text: weights_place(text, self.context.source),
        )

    async def _address(
        self,
        part: MethodPart,
        server: LocalServer | None,
        servers: EngineServers,
        open_things: AsyncExitStack,
    ) -> str:
        """Returns the base URL of the model's server, and starts it first if it is an emulator.

        The emulator runs on this event loop: it costs about as much as the calls to it do, and needs no
        second process that would have to read the sweep's instances. To measure speed, run `lightbulb
        emulate` in a process of its own."""
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
        """Returns what completes prompts through a method whose address is known."""
        if part.bots is not None:
            return BotsBackend(
                find_instance=self.instances.__getitem__,
                clock=self.clock,
                seed=self.spec.seed,
                skill=part.bots.skill,
                form_errors=part.bots.form_errors,
                latency_s=part.bots.latency_s,
            )
        from backends.connections import open_connection_pool  # slow to load; bots do not need it
        from backends.http import HttpBackend

        retry, environ = self.spec.retry, self.context.environ
        pool = await open_things.enter_async_context(
            open_connection_pool(
                requests_per_second_max=method.requests_per_second_max,
                deadlines=Deadlines(
                    connect_s=retry.connect_s,
                    first_byte_s=retry.first_byte_s or retry.timeout_s,
                    between_chunks_s=retry.between_chunks_s,
                    timeout_s=retry.timeout_s,
                ),
                bytes_max=part.reply_bytes_max,
                proxy=proxy_for(method.base_url, environ),
                tls=tls_context(environ) if method.base_url.startswith("https:") else None,
            )
        )
        credentials = self.keys[method.name]
        return HttpBackend(
            method,
            DIALECTS[method.dialect],
            pool,
            key=credentials.key,
            clock=self.clock,
            headers=credentials.headers,
            secrets=credentials.secrets,
        )

    def proxy_of(self, name: str) -> str | None:
        """Returns the proxy of a method's calls, without its password; None without one."""
        address = self.methods[name].base_url
        proxy = proxy_for(address, self.context.environ) if address is not None else None
        return None if proxy is None else without_password(proxy)

    def _announce_proxies(self) -> None:
        """Names each proxy once, with the methods whose calls go through it."""
        users: dict[str, list[str]] = {}
        for name in self.methods:
            if (proxy := self.proxy_of(name)) is not None:
                users.setdefault(proxy, []).append(name)
        for proxy, names in users.items():
            self.context.notify(f"{', '.join(names)}: calls go through the proxy {proxy}")

    async def prove(self, live: LiveMethods) -> None:
        """Proves that every method can be used.

        raises  SpecError listing every method that cannot"""
        if problems := await self.problems(live):
            raise self.refusal(problems)

    async def problems(self, live: LiveMethods) -> dict[str, Problem]:
        """Returns why methods cannot be used: name -> problem. Asks every server once whether it takes the
        key and serves the model; a server that this run started has proved that already."""
        failed = {name: self._engine_of(name) for name in self.methods}
        problems: dict[str, Problem] = {
            name: (("engine",), live.servers.failed[engine])
            for name, engine in failed.items()
            if engine in live.servers.failed
        }

        async def ask(name: str, backend: HttpBackend) -> None:
            problem = await self._problem(backend, live.routes[name].method)
            if problem is not None:
                problems[name] = problem

        async with anyio.create_task_group() as asking:
            for name, backend in live.wired.items():
                if name not in live.servers.supervised:
                    asking.start_soon(ask, name, backend)
        return problems

    def refusal(self, problems: Mapping[str, Problem]) -> SpecError:
        """Returns the error that lists these problems of methods."""
        places = [(method_place(name, *key), why) for name, (key, why) in problems.items()]
        return spec_error(self.context.source, sorted(places))

    def closed_gate(self, name: str, why: str, sink: RecordSink) -> Gate:
        """Returns a gate of its own, which is closed, for a method that cannot be used."""
        (gate_spec,) = group_by_quota(self.spec, [name], source=self.context.source)
        gate = self._gate(gate_spec, sink)
        gate.close(Unreachable(why))
        return gate

    async def _problem(self, backend: HttpBackend, method: AccessMethod) -> Problem | None:
        """Returns why this server cannot be used, with the key to correct in the method's table of the sweep
        file; None if the server can be used."""
        try:
            served = await backend.served_models()
        except CallError as error:
            return (), f"{str(error).rstrip('.')}; {self._check(method.name, error)}"
        if served is None or method.served_name in served:
            return None
        hint = suggest(method.served_name, served[:20])
        return ("served_name",), (
            f"{method.base_url} does not serve {method.served_name!r}{hint}; if the server serves it "
            "without listing it, as gateways may do, set lists_models = false"
        )

    def _check(self, name: str, error: CallError) -> str:
        """Returns what to look at after this error, the most probable cause first."""
        key_env = self.spec.methods()[name][1].key_env
        if not isinstance(error, AccountRefused):
            return "check base_url and the server"
        if self.keys[name].key is None:
            return "the method has no key: set key_env, or check base_url"
        return f"check the key{f' in {key_env}' if key_env else ''}; if it is right, check base_url"


def retry_policy(spec: SweepSpec) -> RetryPolicy:
    """Returns how long one call is tried, as the sweep file says."""
    retry = spec.retry
    return RetryPolicy(tries_max=retry.tries_max, deadline_s=retry.deadline_s, wait_max_s=retry.wait_max_s)


def _behind_emulators(parts: Iterable[MethodPart]) -> set[str]:
    """Returns the methods whose engines stand behind emulators; a base URL may stand there instead."""
    return {
        part.emulator.behind
        for part in parts
        if part.emulator is not None and part.emulator.behind is not None
    }
