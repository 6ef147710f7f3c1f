"""A small world for tests of the scheduler: a toy game, a scripted provider, a store, all on virtual time
from one seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from harness.core.clock import LoopClock
from harness.core.errors import CallError
from harness.core.protocols import Backend, Game
from harness.core.records import CallRecord, EpisodeRecord, GateEvent, Record, TurnRecord
from harness.core.vocabulary import (
    KEPT,
    AccessMethod,
    Ask,
    Completion,
    EpisodePlan,
    Instance,
    Message,
    Outcome,
    Parse,
    Play,
    Prompt,
    ReplyFormat,
    Requests,
    Sampling,
)
from harness.limits.gate import Gate, GateLimits
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.simulation import simulate

T = TypeVar("T")


def count_up(instance: Instance, rules: str) -> Play:
    """The toy game: two seats say numbers in turn, each one more than the last; any other reply aborts the
    episode."""
    histories: dict[str, tuple[Message, ...]] = {"odd": (), "even": ()}
    last_parse = KEPT
    goal = int(str(instance.fields["goal"]))
    for number in range(1, goal + 1):
        seat = "odd" if number % 2 else "even"
        histories[seat] += (Message("user", f"after {number - 1}?"),)
        reply = yield Ask(
            seat=seat,
            messages=histories[seat],
            reply_format=ReplyFormat(regex="[0-9]+"),
            last_parse=last_parse,
        )
        histories[seat] += (Message("assistant", reply),)
        if reply != str(number):
            wrong = Parse(violation=f"not {number}")
            return Outcome(state="aborted", score=None, reason="miscounted", last_parse=wrong)
    return Outcome(state="success", score=100.0, reason="counted", requests=Requests(total=goal, parsed=goal))


COUNT = Game(
    name="count",
    summary="say the next number",
    seats=("odd", "even"),
    rule_sets=("plain",),
    turns_typical=4,
    play=count_up,
    instances=lambda: tuple(toy_instance(number) for number in range(20)),
    bots={},
)
GAMES: Mapping[str, Game] = {"count": COUNT}


def toy_instance(number: int, *, goal: int | None = None) -> Instance:
    goal = goal if goal is not None else 2 + number % 5
    return Instance(
        game="count",
        set_name="toy",
        experiment="all",
        id=str(number),
        fields={"goal": goal},
        content_hash=f"{number:02}-{goal}",
    )


def plan(number: int = 0, *, goal: int | None = None, method: str = "m/a", seats: int = 2) -> EpisodePlan:
    return EpisodePlan(instance=toy_instance(number, goal=goal), rules="plain", seating=(method,) * seats)


def method(name: str = "m/a") -> AccessMethod:
    return AccessMethod(
        name=name,
        model=name.split("/")[0],
        provider="toy",
        dialect="openai_chat",
        base_url="http://127.0.0.1:9/v1",
        served_name="toy",
        key_env=None,
        sampling=Sampling(),
        constrain=False,
        concurrency=4,
        requests_per_second_max=None,
    )


@dataclass
class Counter:
    """A provider that plays the toy game perfectly; `trouble(prompt, number of the call)` may return an error
    to raise or a reply to give."""

    clock: LoopClock
    latency_s: float = 1.0
    trouble: Callable[[Prompt, int], CallError | str | None] = lambda prompt, number: None
    prompts: list[Prompt] = field(default_factory=list)
    in_flight: int = 0
    in_flight_max: int = 0

    async def complete(self, prompt: Prompt) -> Completion:
        self.prompts.append(prompt)
        number = len(self.prompts)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await self.clock.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        outcome = self.trouble(prompt, number)
        if isinstance(outcome, CallError):
            raise outcome
        answer = (
            outcome if outcome is not None else str(int(prompt.messages[-1].text.split()[1].rstrip("?")) + 1)
        )
        return Completion(
            text=f" {answer}\n", finish_reason="stop", prompt_tokens=3, completion_tokens=1, http_status=200
        )


class Rows:
    """A RecordSink that keeps rows in a list."""

    def __init__(self) -> None:
        self.all: list[Record] = []

    async def put(self, *records: Record) -> None:
        self.all.extend(records)

    def put_nowait(self, record: Record) -> None:
        self.all.append(record)

    @property
    def episodes(self) -> list[EpisodeRecord]:
        return [row for row in self.all if isinstance(row, EpisodeRecord)]

    @property
    def turns(self) -> list[TurnRecord]:
        return [row for row in self.all if isinstance(row, TurnRecord)]

    @property
    def calls(self) -> list[CallRecord]:
        return [row for row in self.all if isinstance(row, CallRecord)]

    @property
    def gate_events(self) -> list[GateEvent]:
        return [row for row in self.all if isinstance(row, GateEvent)]


class World:
    """Methods with their gates and providers, one sink, one clock. Make it inside the simulated loop."""

    def __init__(self, *, policy: RetryPolicy | None = None) -> None:
        self.clock = LoopClock()
        self.rows = Rows()
        self.policy = policy or RetryPolicy()
        self.budget: SpendingBudget | None = None
        self.routes: dict[str, Route] = {}
        self.gates: dict[str, Gate] = {}  # method -> its gate

    def add(
        self,
        name: str = "m/a",
        *,
        backend: Backend | None = None,
        window: int = 4,
        limits: GateLimits | None = None,
    ) -> Route:
        return self.add_at(self.gate(name, limits or GateLimits(concurrency=window)), name, backend=backend)

    def add_at(
        self,
        gate: Gate,
        name: str,
        *,
        backend: Backend | None = None,
        account: tuple[Gate, ...] = (),
        alone: bool = True,
        sole: bool = True,
        key_users: tuple[str, ...] = (),
    ) -> Route:
        self.gates[name] = gate
        self.routes[name] = Route(
            method=method(name),
            gate=gate,
            backend=backend or Counter(self.clock),
            account=account,
            alone=alone,
            sole=sole,
            key_users=key_users,
        )
        return self.routes[name]

    def gate(self, name: str, limits: GateLimits) -> Gate:
        return Gate(
            name,
            limits,
            clock=self.clock,
            on_event=lambda kind, detail: self.rows.put_nowait(
                GateEvent(run_id="1", gate=name, kind=kind, detail=detail, at=self.clock.wall())
            ),
        )

    @asynccontextmanager
    async def timers_running(self) -> AsyncIterator[None]:
        """Runs the gates' timers, as the scheduler does."""
        async with anyio.create_task_group() as tasks:
            for gate in self.gates.values():
                tasks.start_soon(gate.run_timer)
            yield
            tasks.cancel_scope.cancel()

    def caller(self) -> Caller:
        return Caller(
            sink=self.rows,
            clock=self.clock,
            policy=self.policy,
            budget=self.budget or SpendingBudget.unlimited(self.clock),
        )

    def player(self) -> Player:
        return Player(
            run_id="1",
            caller=self.caller(),
            games=GAMES,
            routes=self.routes,
            expected_turns=ExpectedTurns(GAMES),
            seed=1,
        )

    def scheduler(
        self, lanes: Mapping[str, Iterator[EpisodePlan]], beginnings: Mapping[str, Beginning] | None = None
    ) -> Scheduler:
        known = beginnings or {}
        return Scheduler(
            [Lane(name=name, plans=plans, gates=(self.gates[name],)) for name, plans in lanes.items()],
            player=self.player(),
            expected=ExpectedTurns(GAMES),
            beginning=lambda plan: known.get(plan.episode_id, Beginning()),
        )


def run(scenario: Callable[[], Awaitable[T]], seed: int = 0) -> T:
    """Returns the scenario's result, on virtual time."""
    return simulate(scenario, seed=seed)
