"""Wires a sweep to live parts and plays it. With cli.py the one place that knows games, backends and every room.

In order: what is left to play, local engines, connections, one question to every server (does it serve this model?), then the
gates open. Nothing is played before all of that is true."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import duckdb
import orjson
from anyio.abc import TaskGroup
from rich.console import Console

from backends import DIALECTS
from backends.bots import BotsBackend, own_instance
from backends.emulator import serving
from backends.hosting import HostedBackend
from backends.http import Deadlines, HttpBackend, open_wire
from backends.local_server import LocalServer
from games import GAMES
from games.clembench import read_instances
from harness.access import access_method, request_json
from harness.budgets import find_scopes
from harness.checking import Doorway, Look, Nowhere, look_at
from harness.core.clock import RealClock
from harness.core.errors import CallError
from harness.core.protocols import Backend, RecordSink
from harness.core.records import AuditPlanRecord, GateEvent, MethodRecord, ModelRecord, Record, SweepRecord
from harness.core.vocabulary import AccessMethod, EpisodePlan, Instance, digest, item_key
from harness.doors import Door, find_doors, on_this_machine
from harness.engine.call import Caller, RetryPolicy, Route
from harness.engine.episode import Beginning, Player, RecordedTurn
from harness.engine.purse import Purse, Spent, Way
from harness.engine.run import Interrupts, RunEnd, play_until_done_or_stopped
from harness.engine.scheduler import ExpectedTurns, Lane, Scheduler
from harness.env import read_keys
from harness.limits.gate import Gate
from harness.meters import Meters, Points
from harness.progress import Emit, LaneView, Progress
from harness.pulse import Pulse
from harness.servers import Servers
from harness.spec.audit_plan import audit_plan
from harness.spec.load import Key, spec_error, suggest
from harness.spec.plan import Cells, GameSet, choose_instances, lane, numbered, planned
from harness.spec.sweep import MethodPart, SweepSpec
from harness.store.file import open_to_read, open_to_write
from harness.store.live import Readable, answering
from harness.store.reader import Which, last_attempts, latest_spec, points_by_game, spent_by_method, stored_cells, unfinished_turns
from harness.store.writer import StoreWriter, writing

if TYPE_CHECKING:
    from harness.stopping import Stopping

Say = Callable[[str], None]

# How hard a method is driven may change from run to run; all else makes it what it is.
TUNABLE = frozenset(
    {
        "concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "input_tokens_per_minute",
        "output_tokens_per_minute",
        "requests_per_second_max",
        "quota_group",
        "budget",
        "allow_plain_http",
        "key_env",
        "price_input_usd_per_mtok",
        "price_output_usd_per_mtok",
        "price_cached_usd_per_mtok",
        "reply_bytes_max",
        "allow_dropped",
        "restarts_max",
        "expect",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a sweep is played.

    source    the sweep file: errors name it, a .env beside it is read, relative paths start there
    store     the DuckDB file
    environ   where keys come from
    console   for the live view: a table on a terminal, plain lines elsewhere
    emit      takes events for machines, which come instead of the live view; None: nobody wants them
    say       takes one line for a person"""

    source: Path
    store: Path
    environ: Mapping[str, str]
    console: Console
    say: Say
    emit: Emit | None = None

    @property
    def folder(self) -> Path:
        return self.source.parent


def game_sets(spec: SweepSpec, source: Path) -> dict[str, GameSet]:
    """The instances of every game of the sweep in this file, and the rules they are played by.

    raises  SpecError for an unknown rule set, experiment or instance set"""
    sets = {}
    for name, part in spec.games.items():
        game = GAMES[name]
        if part.instances == "own":
            instances: Sequence[Instance] = game.instances()
        elif part.instances.startswith("clembench:"):
            checkout = user_path(part.instances.removeprefix("clembench:"), source, ("games", name, "instances"))
            instances = read_instances(checkout, name)
        else:
            why = f'{part.instances!r} is neither "own" nor "clembench:/path/to/checkout"'
            raise spec_error(source, [(("games", name, "instances"), why)])
        rules = part.rules or game.rule_sets[0]
        if rules not in game.rule_sets:
            why = f"{rules!r} is no rule set of this game; known: {', '.join(game.rule_sets)}"
            raise spec_error(source, [(("games", name, "rules"), why)])
        experiments = list(dict.fromkeys(one.experiment for one in instances))
        for wanted in part.experiments:
            if wanted not in experiments:
                why = f"no experiment {wanted!r}{suggest(wanted, experiments)}"
                raise spec_error(source, [(("games", name, "experiments"), why)])
        chosen = choose_instances(instances, experiments=part.experiments, items=part.items)
        for kind in part.reprompts:
            if kind not in game.reprompts:
                why = f"unknown kind of mistake{suggest(kind, game.reprompts)}"
                raise spec_error(source, [(("games", name, "reprompts", kind), why)])
        if part.reprompts:
            chosen = tuple(reworded(one, part.reprompts) for one in chosen)
        sets[name] = GameSet(rules=rules, seats=len(game.seats), instances=chosen)
    return sets


def user_path(text: str, source: Path, key: Key) -> Path:
    """A path as a user writes it in the sweep file: ~ is home, and relative paths start beside the file."""
    try:
        return source.parent / Path(text).expanduser()
    except RuntimeError as error:
        raise spec_error(source, [(key, f"{text!r}: {error}")]) from error


def reworded(instance: Instance, reprompts: Mapping[str, str]) -> Instance:
    """The instance with the user's reprompts: another puzzle, for what a player is told may change what it does."""
    return dataclasses.replace(
        instance,
        fields={**instance.fields, "reprompts": dict(reprompts)},
        content_hash=digest(instance.content_hash, *(text for pair in sorted(reprompts.items()) for text in pair)),
    )


def known_instances(spec: SweepSpec | None, source: Path | None) -> Callable[[str], Instance]:
    """The puzzle behind an item: of the sweep in this file, if there is one, or of our own sets."""
    own: Mapping[str, Instance] = {} if spec is None or source is None else items_of(game_sets(spec, source))

    def find(item: str) -> Instance:
        return own[item] if item in own else own_instance(item)

    return find


def items_of(sets: Mapping[str, GameSet]) -> dict[str, Instance]:
    """Item -> its instance."""
    return {EpisodePlan(instance=one, rules=chosen.rules, seating=()).item: one for chosen in sets.values() for one in chosen.instances}


async def check_sweep(spec: SweepSpec, setting: Setting, *, probing: bool) -> tuple[Look, ...]:
    """A look at every access method that has a server, all at the same time; nothing is played or stored.

    raises  SpecError, EngineError; what a provider does wrong is in its look"""
    return await _unplayed(spec, setting, "check").look(probing=probing)


@asynccontextmanager
async def connected(
    spec: SweepSpec, setting: Setting, sink: RecordSink
) -> AsyncIterator[tuple[Mapping[str, Route], Mapping[str, GameSet]]]:
    """A proved route to every method, engines started, for as long as the block lasts; and the puzzles. Nothing is played.

    raises  SpecError, EngineError"""
    sweep = _unplayed(spec, setting, "bench")
    async with anyio.create_task_group() as background, AsyncExitStack() as open_things:
        open_ways = await sweep.connect(background, open_things, sink)
        await sweep.prove(open_ways.routes)
        await anyio.to_thread.run_sync(sweep.warm_games)
        yield open_ways.routes, sweep.sets
        background.cancel_scope.cancel()


def _unplayed(spec: SweepSpec, setting: Setting, run_id: str) -> _Sweep:
    """The sweep as if no store had been there: for those who want its ways, not its episodes."""
    keys = read_keys(spec, source=setting.source, environ=setting.environ)
    sets = game_sets(spec, setting.source)
    ended = {method: Cells(items=0, repeats=spec.repeats, arms=spec.arms(method)) for method in spec.methods()}
    nothing = Stored(ended=ended, failed=0, beginnings={}, runs=0, spent={}, points={})
    return _Sweep(spec=spec, setting=setting, sets=sets, keys=keys, stored=nothing, run_id=run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store knows before the run: which planned episodes ended, how many of them failed, and how far unfinished ones came."""

    ended: Mapping[str, Cells]
    failed: int
    beginnings: dict[str, Beginning]
    runs: int
    spent: dict[str, Spent]
    points: dict[tuple[str, str], Points]

    def beginning(self, plan: EpisodePlan) -> Beginning:
        return self.beginnings.pop(plan.episode_id, Beginning())


def read_stored(connection: duckdb.DuckDBPyConnection, spec: SweepSpec, sets: Mapping[str, GameSet], *, retry_failed: bool) -> Stored:
    again = last_attempts(connection, "abandoned")
    failed = 0
    if retry_failed:
        again |= last_attempts(connection, "failed")
    else:
        failed = sum(map(len, cells_of(connection, "failed", spec, sets).values()))
    beginnings = {episode: Beginning(attempt=last + 1) for episode, last in again.items()}
    for episode, turns in unfinished_turns(connection).items():
        beginnings[episode] = Beginning(
            attempt=turns[0].attempt,
            turns=[RecordedTurn(ask_hash=turn.ask_hash, reply=turn.reply, stored=turn.has_row) for turn in turns],
        )
    runs = len(connection.execute("SELECT run_id FROM sweeps").fetchall())
    ended = cells_of(connection, "finished" if retry_failed else "ended", spec, sets)
    spent = {row.method: Spent(calls=row.calls, tokens=row.tokens, cost_usd=row.cost_usd) for row in spent_by_method(connection)}
    points = {(method, game): Points(episodes=count, points=total) for method, game, count, total in points_by_game(connection)}
    return Stored(ended=ended, failed=failed, beginnings=beginnings, runs=runs, spent=spent, points=points)


def cells_of(connection: Readable, which: Which, spec: SweepSpec, sets: Mapping[str, GameSet]) -> dict[str, Cells]:
    """Method -> which of its planned episodes the store holds."""
    items = numbered(sets)
    cells = {method: Cells(items=len(items), repeats=spec.repeats, arms=spec.arms(method)) for method in spec.methods()}
    keys = [item_key(one.instance, one.chosen.rules) for one in items]
    seats = [one.chosen.seats for one in items]
    for found in stored_cells(connection, which, items=keys, seats=seats, repeats=spec.repeats):
        if found.method in cells:
            cells[found.method].add(found.arm, found.places)
    return cells


def episodes_planned(spec: SweepSpec, sets: Mapping[str, GameSet], method: str) -> int:
    return planned(sets, repeats=spec.repeats, arms=spec.arms(method))


def episodes_left(spec: SweepSpec, *, source: Path, store: Path) -> int:
    """How many episodes of the sweep the store does not hold; an absent store holds none."""
    sets = game_sets(spec, source)
    total = sum(episodes_planned(spec, sets, method) for method in spec.methods())
    if not store.exists():
        return total
    with open_to_read(store) as connection:
        return total - sum(map(len, cells_of(connection, "ended", spec, sets).values()))


async def run_sweep(spec: SweepSpec, setting: Setting, *, retry_failed: bool = False) -> RunEnd:
    """Plays what the store does not hold yet.

    raises  SpecError, EngineError: before anything is played; StoreError: what was committed stays"""
    sets = game_sets(spec, setting.source)
    keys = read_keys(spec, source=setting.source, environ=setting.environ)
    fresh, sweep = not setting.store.exists(), None
    try:
        with open_to_write(setting.store, say=setting.say) as connection:
            _, earlier = latest_spec(connection)
            refuse_changes(spec, setting, earlier)
            stored = read_stored(connection, spec, sets, retry_failed=retry_failed)
            sweep = _Sweep(spec=spec, setting=setting, sets=sets, keys=keys, stored=stored, run_id=f"{stored.runs + 1:04}")
            if spec.audit.stop == "early":
                from harness.stopping import early_stopping

                sweep.stop_early(early_stopping(spec, sets, connection, run_id=sweep.run_id, wall=sweep.clock.wall, say=setting.say))
            return await sweep.run(connection)
    finally:
        if fresh and sweep is not None and not sweep.began:  # we made the file and nothing was played: it would say nothing
            setting.store.unlink(missing_ok=True)


def refuse_changes(spec: SweepSpec, setting: Setting, earlier: Mapping[str, Any]) -> None:
    """What a verdict rests on is fixed before the first call: the audit's margins, and what an access method is.

    earlier   the spec of the last run over this store; one without models is an import's
    raises    SpecError naming each key that has changed since"""
    if "models" not in earlier:
        return
    problems: list[tuple[Key, str]] = []

    def compare(key: Key, was: Mapping[str, Any], now: Mapping[str, Any], remedy: str) -> None:
        for name, value in now.items():
            if name == "engine" and value and was.get(name):
                compare((*key, name), was[name], value, remedy)
                continue
            moved = name == "base_url" and on_this_machine(was.get(name)) and on_this_machine(value)  # a port is no identity
            if name == "emulator":
                moved = identity_of(was.get(name)) == identity_of(value)
            if name not in TUNABLE and not moved and was.get(name, value) != value:
                problems.append(((*key, name), f"was {was[name]!r} when this store was begun and is {value!r} now; {remedy}"))

    now = orjson.loads(spec_json(spec))
    compare(("audit",), earlier["audit"], now["audit"], "margins chosen after the data prove nothing: keep it, or take another --store")
    for model, part in now["models"].items():
        for way, method in part["methods"].items():
            before = earlier["models"].get(model, {}).get("methods", {}).get(way)
            if before is not None:
                compare(("models", model, "methods", way), before, method, "that is another access method: give it a name of its own")
    if problems:
        raise spec_error(setting.source, problems)


def identity_of(emulator: Mapping[str, Any] | None) -> dict[str, Any]:
    """What makes an emulated model what it is: not how fast it answers, how often, or how often not."""
    return {key: value for key, value in (emulator or {}).items() if key not in ("quotas", "latency", "faults")}


def spec_json(spec: SweepSpec) -> str:
    return orjson.dumps(dataclasses.asdict(spec), option=orjson.OPT_SORT_KEYS).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenWays:
    """All methods of a run, made live. wired: the backends with sockets, under whatever hosts them; gate_of: by method."""

    routes: dict[str, Route]
    wired: dict[str, HttpBackend]
    servers: Servers
    gate_of: dict[str, Gate]


class _Sweep:
    """One run over one store."""

    def __init__(
        self,
        *,
        spec: SweepSpec,
        setting: Setting,
        sets: Mapping[str, GameSet],
        keys: Mapping[str, str | None],
        stored: Stored,
        run_id: str,
    ) -> None:
        self.spec = spec
        self.setting = setting
        self.sets = sets
        self.keys = keys
        self.stored = stored
        self.run_id = run_id
        self.interrupts = Interrupts(setting.say)
        self.began = False
        self.clock = RealClock()
        self.stopping: Stopping | None = None
        self.left = {method: episodes_planned(spec, sets, method) - len(stored.ended[method]) for method in spec.methods()}
        self.methods = {name: part for name, (_, part) in spec.methods().items() if self.left[name]}
        self.scopes = find_scopes(spec, self.methods, source=setting.source)
        self.instances = items_of(sets)

    def stop_early(self, stopping: Stopping) -> None:
        """From here on methods whose question is settled have nothing left to play."""
        self.stopping = stopping
        self.left = {method: 0 if stopping.over(method) else left for method, left in self.left.items()}
        self.methods = {name: part for name, part in self.methods.items() if self.left[name]}
        self.scopes = find_scopes(self.spec, self.methods, source=self.setting.source)

    def plans(self, method: str) -> Iterator[EpisodePlan]:
        """What a method has to play, in order, as long as its question is open."""
        spec, ended = self.spec, self.stored.ended[method]
        plans = lane(method, self.sets, repeats=spec.repeats, seed=spec.seed, stored=ended, arms=spec.arms(method))
        return self.stopping.until_over(method, plans) if self.stopping else plans

    async def run(self, connection: duckdb.DuckDBPyConnection) -> RunEnd:
        failed = self.stored.failed
        if not self.methods:
            if self.stopping:
                async with writing(connection, self.setting.store) as writer:
                    await self.stopping.take_due(writer)
            self.setting.say(f"nothing is left to play{f', but {failed} episodes failed in earlier runs' if failed else ''}")
            return RunEnd(finished=0, failed=failed, pending=0, interrupted=False)
        for name, chosen in self.sets.items():
            of = chosen.instances[0].set_name if chosen.instances else "nothing"
            self.setting.say(f"{name}: {len(chosen.instances)} instances of {of}, rule set {chosen.rules}")
        end = None
        async with anyio.create_task_group() as listening:
            await listening.start(self.interrupts.listen)
            with self.interrupts.preparing():
                async with writing(connection, self.setting.store) as writer, answering(connection, self.setting.store):
                    end = await self.play(writer)
            listening.cancel_scope.cancel()
        if end is None:
            return RunEnd(finished=0, failed=0, pending=sum(self.left.values()), interrupted=True)
        return dataclasses.replace(end, failed=end.failed + failed)

    async def play(self, writer: StoreWriter) -> RunEnd:
        async with anyio.create_task_group() as background, AsyncExitStack() as open_things:
            open_ways = await self.connect(background, open_things, writer)
            routes, servers = open_ways.routes, open_ways.servers
            await self.prove(routes)
            await anyio.to_thread.run_sync(self.warm_games)
            await writer.put(*self.opening_rows(routes, servers.started))
            self.began = True
            servers.follow(background, open_ways.gate_of)
            end = await self.play_routes(routes, background, writer)
            background.cancel_scope.cancel()
        return end

    async def connect(self, background: TaskGroup, open_things: AsyncExitStack, sink: RecordSink) -> _OpenWays:
        """Engines started, emulators too, a gate for every quota and a route for every method."""
        servers = self.servers(sink)
        await servers.look_around()
        doors = find_doors(self.spec, self.methods, source=self.setting.source, told=servers.told)
        gates = {door: self.gate(door, sink) for door in doors}
        gate_of = {name: gate for door, gate in gates.items() for name in door.methods}
        await servers.start(background, gate_of)
        routes: dict[str, Route] = {}
        wired: dict[str, HttpBackend] = {}
        for door, gate in gates.items():
            account = tuple(other for beside, other in gates.items() if beside.account == door.account)
            for name in door.methods:
                part, server = self.methods[name], servers.started.get(name)
                address = await self.address(part, server, servers, open_things)
                model = self.spec.methods()[name][0]
                method = access_method(
                    name, model, part, server, address, concurrency=door.limits.concurrency, source=self.setting.source
                )
                backend = await self.backend(method, part, open_things)
                if isinstance(backend, HttpBackend):
                    wired[name] = backend
                if (host := servers.hosts.get(name)) is not None:
                    backend = HostedBackend(backend, host, clock=self.clock)
                routes[name] = Route(method=method, gate=gate, backend=backend, account=account, alone=door.alone)
        return _OpenWays(routes=routes, wired=wired, servers=servers, gate_of=gate_of)

    async def look(self, *, probing: bool) -> tuple[Look, ...]:
        """See check_sweep."""
        looks: dict[str, Look] = {}
        check_at = self.clock.wall()

        async def look(name: str, route: Route, wired: HttpBackend) -> None:
            doorway = Doorway(route=route, server=wired)
            looks[name] = await look_at(doorway, clock=self.clock, policy=self.policy(), check_at=check_at, probing=probing)

        async with anyio.create_task_group() as background, AsyncExitStack() as open_things:
            open_ways = await self.connect(background, open_things, Nowhere())
            for gate in dict.fromkeys(open_ways.gate_of.values()):
                background.start_soon(gate.keep)
            async with anyio.create_task_group() as looking:
                for name, wired in open_ways.wired.items():
                    looking.start_soon(look, name, open_ways.routes[name], wired)
            background.cancel_scope.cancel()
        return tuple(looks[name] for name in self.methods if name in looks)

    def policy(self) -> RetryPolicy:
        retry = self.spec.retry
        return RetryPolicy(tries_max=retry.tries_max, deadline_s=retry.deadline_s, wait_max_s=retry.wait_max_s)

    def gate(self, door: Door, sink: RecordSink) -> Gate:
        def on_event(kind: str, detail: str) -> None:
            self.setting.say(f"{door.name}: gate {kind}: {detail}")
            sink.put_nowait(GateEvent(run_id=self.run_id, gate=door.name, kind=kind, detail=detail, at=self.clock.wall()))

        return Gate(door.name, door.limits, clock=self.clock, on_event=on_event)

    def servers(self, sink: RecordSink) -> Servers:
        def weights(text: str) -> str:
            return text if text.startswith("bundled:") else str(user_path(text, self.setting.source, ("models",)))

        return Servers(
            methods={name: self.spec.methods()[name] for name in (*self.methods, *self.behind()) if name in self.spec.methods()},
            store=self.setting.store,
            run_id=self.run_id,
            clock=self.clock,
            sink=sink,
            say=self.setting.say,
            weights=weights,
        )

    # --- connections ----------------------------------------------------------------------------------------------------------

    def behind(self) -> set[str]:
        """What stands behind the emulators: methods with an engine of their own, where no address is given."""
        return {part.emulator.behind for part in self.methods.values() if part.emulator is not None and part.emulator.behind is not None}

    async def address(self, part: MethodPart, server: LocalServer | None, servers: Servers, open_things: AsyncExitStack) -> str:
        """Where the model answers. An emulator lives in this very loop: it costs it about as much as the calls to it do, and needs no
        second process that would have to learn the sweep's instances; who measures speed runs `lightbulb emulate` beside."""
        if part.emulator is not None:
            emulation = part.emulator
            if (engine := servers.started.get(emulation.behind or "")) is not None:
                emulation = dataclasses.replace(emulation, behind=engine.base_url)
            emulator = await open_things.enter_async_context(serving(emulation, find_instance=self.instances.__getitem__))
            return emulator.base_url
        return server.base_url if server else part.base_url or ""

    async def backend(self, method: AccessMethod, part: MethodPart, open_things: AsyncExitStack) -> Backend:
        if part.bots is not None:
            return BotsBackend(
                find_instance=self.instances.__getitem__,
                clock=self.clock,
                seed=self.spec.seed,
                skill=part.bots.skill,
                form_errors=part.bots.form_errors,
                latency_s=part.bots.latency_s,
            )
        retry = self.spec.retry
        wire = await open_things.enter_async_context(
            open_wire(
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
        return HttpBackend(method, DIALECTS[method.dialect], wire, key=self.keys[method.name], clock=self.clock)

    async def prove(self, routes: Mapping[str, Route]) -> None:
        """Every server is there, takes the key and serves the model.

        raises  SpecError listing all that is not so"""
        problems: list[tuple[Key, str]] = []

        async def ask(name: str, backend: HttpBackend, method: AccessMethod) -> None:
            try:
                served = await backend.served_models()
            except CallError as error:
                problems.append((place_of(name), f"{error}; check base_url{', key_env' if self.keys[name] else ''} and the server"))
                return
            if served is not None and method.served_name not in served:
                hint = suggest(method.served_name, served[:20])
                why = f"{method.base_url} does not serve {method.served_name!r}{hint}"
                problems.append(((*place_of(name), "served_name"), why))

        async with anyio.create_task_group() as asking:
            for name, route in routes.items():
                if isinstance(route.backend, HttpBackend):
                    asking.start_soon(ask, name, route.backend, route.method)
        if problems:
            raise spec_error(self.setting.source, sorted(problems))

    def warm_games(self) -> None:
        """Games load words and a stemmer with their first puzzle: seconds that must not fall while calls are in flight."""
        for name, chosen in self.sets.items():
            if chosen.instances:
                next(GAMES[name].play(chosen.instances[0], chosen.rules))

    # --- play -----------------------------------------------------------------------------------------------------------------

    def opening_rows(self, routes: Mapping[str, Route], servers: Mapping[str, LocalServer]) -> list[Record]:
        as_json = spec_json(self.spec)
        rows: list[Record] = [
            SweepRecord(
                run_id=self.run_id,
                name=self.spec.name,
                spec_json=as_json,
                spec_hash=digest(as_json),
                seed=self.spec.seed,
                version=version("lightbulb"),
                started_at=self.clock.wall(),
            )
        ]
        if self.spec.references():
            plan = audit_plan(self.spec, self.sets)
            rows.append(AuditPlanRecord(run_id=self.run_id, plan_hash=digest(plan), plan_json=plan, made_at=self.clock.wall()))
        rows += [ModelRecord(run_id=self.run_id, model=name, parameters=part.parameters) for name, part in self.spec.models.items()]
        for name, route in routes.items():
            method, server = route.method, servers.get(name)
            rows.append(
                MethodRecord(
                    run_id=self.run_id,
                    method=name,
                    model=method.model,
                    provider=method.provider,
                    dialect=method.dialect,
                    base_url=method.base_url,
                    served_model=method.served_name,
                    sampling_json=orjson.dumps(dataclasses.asdict(method.sampling)).decode(),
                    constrain=method.constrain,
                    concurrency=method.concurrency,
                    engine_json=orjson.dumps(dict(server.facts)).decode() if server else None,
                    gate=route.gate.name,
                    request_json=request_json(method),
                )
            )
        return rows

    def purse(self, routes: Mapping[str, Route], totals: Mapping[str, int]) -> Purse:
        items = sum(len(chosen.instances) for chosen in self.sets.values())
        turns_typical = sum(GAMES[name].turns_typical * len(chosen.instances) for name, chosen in self.sets.items()) / items
        ways = {
            name: Way(methods=(name,), planned=totals[name], begun=totals[name] - self.left[name], turns_typical=turns_typical)
            for name in routes
        }
        gates = {name: route.gate for name, route in routes.items()}
        return Purse(self.scopes, ways=ways, spent=self.stored.spent, gates=gates, clock=self.clock)

    def lane(self, name: str, route: Route) -> Lane:
        plans, stopping = self.plans(name), self.stopping
        if stopping is None:
            return Lane(name=name, plans=plans, gates=(route.gate,))
        return Lane(
            name=name,
            plans=stopping.playing(name, plans),
            gates=(route.gate,),
            # A budget keeps its lanes in step by itself; two of a mind would wait for each other.
            pace=None if self.scopes else lambda plan, tally: stopping.in_step(name, plan, tally, route.gate),
        )

    async def play_routes(self, routes: Mapping[str, Route], background: TaskGroup, writer: StoreWriter) -> RunEnd:
        expected = ExpectedTurns(GAMES)
        totals = {name: episodes_planned(self.spec, self.sets, name) for name in routes}
        meters = Meters(writer, self.clock, points=self.stored.points)
        player = Player(
            run_id=self.run_id,
            caller=Caller(
                sink=self.stopping.listening(meters) if self.stopping else meters,
                clock=self.clock,
                policy=self.policy(),
                purse=self.purse(routes, totals),
            ),
            games=GAMES,
            routes=routes,
            expected_turns=expected,
            seed=self.spec.seed,
        )
        lanes = [self.lane(name, route) for name, route in routes.items()]
        scheduler = Scheduler(lanes, player=player, expected=expected, beginning=self.stored.beginning)
        views = [
            LaneView(
                name=name,
                planned=totals[name],
                done_before=totals[name] - self.left[name],
                tally=scheduler.tallies[name],
                gate=route.gate,
            )
            for name, route in routes.items()
        ]
        pulse = Pulse(run_id=self.run_id, clock=self.clock, sink=writer)
        progress = Progress(views, clock=self.clock, meters=meters, pulse=pulse, rows_behind=lambda: writer.rows_behind)
        background.start_soon(pulse.beat)
        if self.setting.emit is not None:
            background.start_soon(progress.events, self.setting.emit)
        else:
            watch = progress.live if self.setting.console.is_terminal else progress.lines
            background.start_soon(watch, self.setting.console)
        if self.stopping is None:
            return await play_until_done_or_stopped(scheduler, self.interrupts)
        background.start_soon(self.stopping.look_on, writer)
        end = await play_until_done_or_stopped(scheduler, self.interrupts)
        await self.stopping.take_due(writer)
        return end


def place_of(method: str) -> tuple[str, ...]:
    """Where the sweep file describes a method."""
    model, way = method.split("/", 1)
    return ("models", model, "methods", way)
