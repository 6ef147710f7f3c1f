"""Plays one seeded sweep under faults, outages, changing quotas, clock jumps, kills and stops, and checks the
laws that must hold.

`python -m tests.simulation.laws SEED...` plays those seeds and names the broken laws; the tests and
bench/simulation.py play ranges of seeds. A kill ends every task at a random moment, and rows of the last
second may be lost, as with the writer. A stop closes the gates and waits for calls in flight. Either way
another run goes on from the rows, against the same providers."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import TypeVar

import anyio

from backends.bots import BotsBackend
from backends.emulator.simulated import (
    SIMULATED_FAULTS,
    Behaviour,
    FaultModel,
    LatencyModel,
    SimulatedBackend,
    SimulatedProvider,
)
from games import GAMES
from games.playthrough import replay
from harness.config.episode_plans import GameSet, choose_instances, lane
from harness.config.sweep import Seating
from harness.core.emulation import Quotas
from harness.core.errors import Stopped
from harness.core.records import CallRecord, EpisodeRecord, Record, TurnRecord
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, EpisodePlan, Instance, Outcome, Prompt
from harness.limits.gate import Gate, GateLimits
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player, RecordedTurn
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.simulation import VirtualClock, simulate
from tests.world import method

Kind = TypeVar("Kind")

_RETRY = RetryPolicy(tries_max=5, deadline_s=300.0)
RUNS_MAX = 60  # after so many a sweep that has not ended never will
PLAYED = ("taboo", "wordle", "wordle_withcritic", "referencegame")
RESTART_S = 5.0  # a process takes some seconds to come back; the laws of quotas count on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The sweep of a seed and its troubles.

    cuts    (seconds after a run's start, whether it is a kill) for the first runs; later ones are left alone
    jumps   (second, by how much the wall clock is set)"""

    seed: int
    sets: Mapping[str, GameSet]
    repeats: int
    methods: Mapping[str, tuple[GateLimits, Behaviour]]
    cuts: Sequence[tuple[float, bool]]
    jumps: Sequence[tuple[float, float]]
    skill: float
    form_errors: float

    def plans(self, name: str, stored: set[str]) -> Iterator[EpisodePlan]:
        every = lane(Seating((name,)), self.sets, repeats=self.repeats, seed=self.seed, stored=())
        return (plan for plan in every if plan.episode_id not in stored)


def case_of(seed: int) -> Case:
    """Returns the case of this seed."""
    chance = stream(seed, "case")
    games = chance.sample(PLAYED, chance.randint(1, 2))
    return Case(
        seed=seed,
        sets={name: _set(name, chance.randint(2, 4)) for name in games},
        repeats=chance.randint(1, 2),
        methods={f"m/{place}": _method(chance) for place in range(chance.randint(1, 3))},
        cuts=[(chance.expovariate(1 / 40), chance.random() < 0.7) for _ in range(chance.randint(0, 3))],
        jumps=[
            (chance.uniform(0, 200), chance.choice([-3600.0, -5.0, 2.0, 90.0, 86_400.0]))
            for _ in range(chance.randint(0, 2))
        ],
        skill=chance.uniform(0.3, 1.0),
        form_errors=chance.choice([0.0, 0.1]),
    )


@cache
def _set(name: str, items: int) -> GameSet:
    game = GAMES[name]
    return GameSet(
        rules=game.rule_sets[0],
        seats=len(game.seats),
        instances=choose_instances(game.instances(), experiments=(), items=items),
    )


def _method(chance: Random) -> tuple[GateLimits, Behaviour]:
    limits: dict[str, float] = {}
    if chance.random() < 0.7:
        limits["requests"] = chance.choice([20.0, 60.0, 200.0, 1_000.0])
    if chance.random() < 0.4:
        limits["tokens"] = chance.choice([4_000.0, 20_000.0])
    declared = limits if chance.random() < 0.7 else {}
    behaviour = Behaviour(
        latency=LatencyModel(
            first_s=chance.choice([0.05, 0.5, 3.0]),
            token_s=chance.choice([0.0, 0.02]),
            load_s=chance.choice([0.0, 0.0, 0.002]),
            workers=chance.choice([None, None, 3]),
            spread=chance.choice([0.0, 0.5, 1.2]),
        ),
        quotas=Quotas(
            requests=limits.get("requests"),
            tokens=limits.get("tokens"),
            law=chance.choice(["fixed", "sliding", "bucket"]),
            phase_s=chance.uniform(0.0, 60.0),
            per_second=chance.choice([None, None, 0.1]),
            told=chance.random() < 0.5,
        ),
        quota_changes=[(chance.uniform(20.0, 120.0), chance.choice([0.5, 2.0]))]
        if chance.random() < 0.3
        else [],
        faults=FaultModel(
            rate=chance.choice([0.0, 0.05, 0.2]),
            kinds=chance.sample(SIMULATED_FAULTS, chance.randint(1, len(SIMULATED_FAULTS))),
            outages=_outages(chance),
            stall_s=chance.choice([10.0, 60.0]),
            jitter_s=chance.choice([0.0, 0.5]),
        ),
    )
    gate = GateLimits(
        concurrency=chance.choice([1, 4, 32]),
        requests=declared.get("requests"),
        tokens=declared.get("tokens"),
    )
    return gate, behaviour


def _outages(chance: Random) -> list[tuple[float, float]]:
    begins_s = [chance.uniform(0.0, 200.0) for _ in range(chance.choice([0, 0, 1, 2]))]
    return [(begin_s, begin_s + chance.expovariate(1 / 60)) for begin_s in begins_s]


# --- playing ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Disk:
    """A RecordSink that keeps rows with the time at which they came."""

    clock: VirtualClock
    rows: list[tuple[float, Record]] = field(default_factory=list)

    async def put(self, *records: Record) -> None:
        self.rows.extend((self.clock.now(), record) for record in records)

    def put_nowait(self, record: Record) -> None:
        self.rows.append((self.clock.now(), record))

    def lose(self, after_s: float) -> None:
        self.rows = [row for row in self.rows if row[0] <= after_s]

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [record for _, record in self.rows if isinstance(record, kind)]


@dataclass(slots=True)
class WatchedBackend:
    """A Backend that reports a prompt whose reply is stored already."""

    inner: SimulatedBackend
    stored: set[tuple[str, int]]
    breaches: list[str]

    async def complete(self, prompt: Prompt) -> Completion:
        if (prompt.episode, prompt.turn) in self.stored:
            self.breaches.append(f"asked again for a stored reply: turn {prompt.turn} of {prompt.episode}")
        return await self.inner.complete(prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRemains:
    """All that a sweep left."""

    case: Case
    rows: list[Record]
    timed_rows: list[tuple[float, Record]]
    providers: Mapping[str, SimulatedProvider]
    runs: int
    breaches: list[str]


async def play(case: Case) -> SweepRemains:
    """Plays the runs of the case until nothing is left to play."""
    clock = VirtualClock()
    disk, breaches, chance = Disk(clock), list[str](), stream(case.seed, "cuts")
    providers = {
        name: SimulatedProvider(behaviour, clock, seed=case.seed, name=name)
        for name, (_, behaviour) in case.methods.items()
    }
    runs = 0
    async with anyio.create_task_group() as world:
        for at_s, by_s in case.jumps:
            world.start_soon(_jump, clock, at_s, by_s)
        while runs < RUNS_MAX and _unfinished(case, disk):
            cut = case.cuts[runs] if runs < len(case.cuts) else None
            runs += 1
            await _run(case, disk, clock, providers, breaches, cut, chance)
            await clock.sleep(RESTART_S + chance.uniform(0.0, 30.0))
        world.cancel_scope.cancel()
    return SweepRemains(
        case=case,
        rows=[record for _, record in disk.rows],
        timed_rows=list(disk.rows),
        providers=providers,
        runs=runs,
        breaches=breaches,
    )


async def _jump(clock: VirtualClock, at_s: float, by_s: float) -> None:
    await clock.sleep(at_s)
    clock.jump(by_s)


def _unfinished(case: Case, disk: Disk) -> bool:
    done = {row.episode_id for row in disk.of(EpisodeRecord) if row.status == "finished"}
    return any(plan.episode_id not in done for name in case.methods for plan in case.plans(name, set()))


async def _run(
    case: Case,
    disk: Disk,
    clock: VirtualClock,
    providers: Mapping[str, SimulatedProvider],
    breaches: list[str],
    cut: tuple[float, bool] | None,
    chance: Random,
) -> None:
    """Plays one run, to its end or to its kill or stop. Failed episodes are played again."""
    ended = {row.episode_id for row in disk.of(EpisodeRecord) if row.status == "finished"}
    beginnings = _beginnings(disk, ended)
    keys = {plan.episode_id: plan.key for name in case.methods for plan in case.plans(name, set())}
    stored = {
        (keys[episode], turn) for episode, known in beginnings.items() for turn in range(len(known.turns))
    }
    instances = {
        EpisodePlan(instance=one, rules=chosen.rules, seating=()).item: one
        for chosen in case.sets.values()
        for one in chosen.instances
    }
    routes, lanes = {}, []
    for name, (limits, _) in case.methods.items():
        bots = BotsBackend(
            find_instance=instances.__getitem__,
            clock=clock,
            seed=case.seed,
            skill=case.skill,
            form_errors=case.form_errors,
        )
        gate = Gate(name, limits, clock=clock, on_event=lambda kind, detail: None)
        watched = WatchedBackend(SimulatedBackend(bots, providers[name]), stored, breaches)
        routes[name] = Route(method=method(name), gate=gate, backend=watched)
        lanes.append(Lane(name=name, plans=case.plans(name, ended), gates=(gate,)))
    expected = ExpectedTurns(GAMES)
    player = Player(
        run_id=f"{case.seed}",
        caller=Caller(sink=disk, clock=clock, policy=_RETRY, budget=SpendingBudget.unlimited(clock)),
        games=GAMES,
        routes=routes,
        expected_turns=expected,
        seed=case.seed,
    )
    scheduler = Scheduler(
        lanes,
        player=player,
        expected=expected,
        beginning=lambda plan: beginnings.get(plan.episode_id, Beginning()),
    )
    async with anyio.create_task_group() as tasks:

        async def end() -> None:
            assert cut is not None
            after_s, kill = cut
            await clock.sleep(after_s)
            if not kill:
                for route in routes.values():
                    route.gate.close(Stopped("stopped"))
                return
            tasks.cancel_scope.cancel()
            disk.lose(after_s=clock.now() - chance.random())

        if cut is not None:
            tasks.start_soon(end)
        await scheduler.play_all()
        tasks.cancel_scope.cancel()


def _beginnings(disk: Disk, ended: set[str]) -> dict[str, Beginning]:
    """Returns how far unfinished plays came, and which attempt is next where a play failed, as the store's
    reader does."""
    over = {row.episode_id: row.attempt for row in disk.of(EpisodeRecord) if row.episode_id not in ended}
    beginnings = {episode: Beginning(attempt=attempt + 1) for episode, attempt in over.items()}
    stored_turns = {(row.episode_id, row.attempt, row.turn) for row in disk.of(TurnRecord)}
    replies: dict[str, dict[int, list[CallRecord]]] = {}
    for call in disk.of(CallRecord):
        if (
            call.error_class is None
            and call.episode_id not in ended
            and call.attempt > over.get(call.episode_id, -1)
        ):
            replies.setdefault(call.episode_id, {}).setdefault(call.attempt, []).append(call)
    for episode, attempts in replies.items():
        attempt = max(attempts)
        calls = sorted(attempts[attempt], key=lambda call: call.turn)
        turns = [
            RecordedTurn(
                ask_hash=call.ask_hash,
                reply=call.reply or "",
                stored=(episode, attempt, call.turn) in stored_turns,
            )
            for place, call in enumerate(calls)
            if call.turn == place
        ]
        beginnings[episode] = Beginning(attempt=attempt, turns=turns)
    return beginnings


# --- the laws -----------------------------------------------------------------------------------------------


def breaches(seed: int) -> list[str]:
    """Plays the seed; returns which laws it broke, and how."""
    case = case_of(seed)
    return list(broken(simulate(lambda: play(case), seed=seed)))


def broken(left: SweepRemains) -> Iterator[str]:
    """Yields every law that these rows and providers contradict."""
    yield from left.breaches
    episodes = [row for row in left.rows if isinstance(row, EpisodeRecord)]
    plans = {plan.episode_id: plan for name in left.case.methods for plan in left.case.plans(name, set())}
    finished = Counter(row.key for row in episodes if row.status == "finished")
    for plan in plans.values():
        if finished[plan.key] != 1:
            yield f"{finished[plan.key]} finished rows of {plan.key} after {left.runs} runs"
    if set(finished) - {plan.key for plan in plans.values()}:
        yield "finished rows of episodes that nobody planned"
    yield from _duplicates(left.rows, episodes)
    yield from _scores(left, episodes, plans)
    yield from _quotas(left)
    yield from _own_failures(left)


def _own_failures(left: SweepRemains) -> Iterator[str]:
    """Yields failed episodes whose last call was refused or not served while others were not served either.

    A try counts if it was garbled, or if a call that was sent after the try before it was served by then."""
    served: dict[str, list[tuple[float, float]]] = {}  # sent, answered
    tries: dict[tuple[str, int, int], list[tuple[float, CallRecord]]] = {}
    for answered_s, row in left.timed_rows:
        if isinstance(row, CallRecord):
            if row.error_class is None:
                served.setdefault(row.method, []).append((answered_s - row.latency_s, answered_s))
            else:
                tries.setdefault((row.episode_id, row.attempt, row.turn), []).append((answered_s, row))
    for episode in (row for row in left.rows if isinstance(row, EpisodeRecord)):
        failed = tries.get((episode.episode_id, episode.attempt, episode.turns), [])
        if episode.status != "failed" or not failed:
            continue
        first = failed[0][1]
        since_s = failed[0][0] - first.latency_s - first.queue_s
        began_s, counted = since_s, 0
        for answered_s, row in failed:
            others = served.get(row.method, ())
            counted += row.error_class == "Garbled" or any(
                since_s <= sent_s and came_s <= answered_s for sent_s, came_s in others
            )
            since_s = answered_s
        if counted < (_RETRY.tries_max if since_s - began_s <= _RETRY.deadline_s / 2 else 1):
            yield f"failed though nobody was served: {episode.key} ({counted} of {len(failed)} tries count)"


def _duplicates(rows: Sequence[Record], episodes: Sequence[EpisodeRecord]) -> Iterator[str]:
    ends = Counter((row.episode_id, row.attempt) for row in episodes)
    turns = Counter((row.episode_id, row.attempt, row.turn) for row in rows if isinstance(row, TurnRecord))
    replies = Counter(
        (row.episode_id, row.attempt, row.turn)
        for row in rows
        if isinstance(row, CallRecord) and row.error_class is None
    )
    for what, counts in (
        ("ends of an attempt", ends),
        ("rows of a turn", turns),
        ("replies of a turn", replies),
    ):
        for key, count in counts.items():
            if count > 1:
                yield f"{count} {what}: {key}"


def _scores(
    left: SweepRemains, episodes: Sequence[EpisodeRecord], plans: Mapping[str, EpisodePlan]
) -> Iterator[str]:
    """A failure is no score; a finished episode's replies are all there, agree with its row, and are those of
    an undisturbed play."""
    replies: dict[tuple[str, int], dict[int, str]] = {}
    for row in left.rows:
        if isinstance(row, CallRecord) and row.error_class is None:
            replies.setdefault((row.episode_id, row.attempt), {})[row.turn] = row.reply or ""
    for episode in episodes:
        if episode.status != "finished":
            if episode.outcome is not None or episode.score is not None:
                yield f"a failed episode has a score: {episode.key}"
            continue
        plan = plans[episode.episode_id]
        recorded = replies.get((episode.episode_id, episode.attempt), {})
        in_order = [recorded[turn] for turn in sorted(recorded)]
        if sorted(recorded) != list(range(episode.turns)):
            yield f"turns {sorted(recorded)} have replies, {episode.turns} were played: {episode.key}"
            continue
        undisturbed, outcome = _undisturbed(left.case, plan)
        if in_order != undisturbed:
            yield f"replies are not those of an undisturbed play: {episode.key}"
        again = replay(
            GAMES[plan.instance.game].play(plan.instance, plan.rules), (reply.strip() for reply in in_order)
        ).outcome
        for what, other in (("replayed", again), ("undisturbed", outcome)):
            if other is None or _result_of(other) != (
                episode.outcome,
                episode.score,
                episode.reason,
                episode.requests,
                episode.violated,
            ):
                yield f"{what}, it ends otherwise: {episode.key}"


def _result_of(outcome: Outcome) -> tuple[str, float | None, str, int, int]:
    return (outcome.state, outcome.score, outcome.reason, outcome.requests.total, outcome.requests.violated)


def _undisturbed(case: Case, plan: EpisodePlan) -> tuple[list[str], Outcome]:
    """Plays the same episode without scheduler, clock or provider; returns its raw replies and its
    outcome."""

    def find(item: str) -> Instance:
        return plan.instance

    bots = BotsBackend(
        find_instance=find, clock=_NO_CLOCK, seed=case.seed, skill=case.skill, form_errors=case.form_errors
    )
    game = GAMES[plan.instance.game].play(plan.instance, plan.rules)
    ask, replies = next(game), list[str]()
    while True:
        prompt = Prompt(
            messages=ask.messages,
            reply_format=ask.reply_format,
            episode=plan.key,
            item=plan.item,
            seat=ask.seat,
            turn=len(replies),
        )
        try:
            bots.complete(prompt).send(None)
        except StopIteration as answered:
            replies.append(answered.value.text)
        try:
            ask = game.send(replies[-1].strip())
        except StopIteration as ended:
            return replies, ended.value


class _NoClock:
    """A clock that fails when it is read: bots without latency read none."""

    def now(self) -> float:
        raise AssertionError

    def wall(self) -> float:
        raise AssertionError

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


_NO_CLOCK = _NoClock()


def _quotas(left: SweepRemains) -> Iterator[str]:
    """Yields providers of which some 60 seconds hold more requests than a quota that the sweep states and the
    provider keeps."""
    for name, (limits, behaviour) in left.case.methods.items():
        if limits.requests is None or any(factor != 1.0 for _, factor in behaviour.quota_changes):
            continue
        times = left.providers[name].arrivals
        for index, start_s in enumerate(times):
            held = bisect_left(times, start_s + 60.0, index) - index
            if held > limits.requests:
                yield f"{name}: {held} requests in the 60 s from {start_s:.3f} on, {limits.requests:g} are allowed"
                break


if __name__ == "__main__":
    for number in map(int, sys.argv[1:]):
        print(f"seed {number}: {'; '.join(breaches(number)) or 'every law kept'}")
