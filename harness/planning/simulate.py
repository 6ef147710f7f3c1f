"""Plays episodes through the program's own scheduler, gates and retries, over simulated providers, in virtual
time.

A play may be a scaled one: a share of the episodes under the same share of every limit takes as long as the
whole. Keeps running counts in place of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backends.emulator.simulated import Behaviour, SimulatedBackend, SimulatedProvider
from harness.core.emulation import Quotas
from harness.core.records import CallRecord, EpisodeRecord, Record
from harness.core.seeds import derive_seed
from harness.core.vocabulary import AccessMethod, EpisodePlan
from harness.limits.gate import Gate, GateLimits
from harness.planning.episode_lengths import (
    EpisodeLength,
    MeasuredBackend,
    Seated,
    placeholder_games,
    with_length,
)
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.simulation import VirtualClock, simulate

BIN_S = 5.0  # of the timeline
STEADY_SHARE = 0.4  # of the episodes: those that begin later meet a gate in its steady state
QUOTAS = ("requests", "tokens", "input_tokens", "output_tokens")  # fields of GateLimits and of Quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMethod:
    """One access method in a play: its episodes in order, with their lengths."""

    method: AccessMethod
    episodes: Sequence[tuple[EpisodePlan, EpisodeLength]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGate:
    """One gate, the provider behind it, and the methods that share both."""

    name: str
    limits: GateLimits
    behaviour: Behaviour
    parts: tuple[SimulatedMethod, ...]

    def scaled(self, scale: float) -> SimulatedGate:
        """Returns the gate with limits that are `scale` times smaller, and a server that is as much smaller.

        Quotas that the gate knows are enforced by the gate alone: where one call is a large share of a
        minute's quota, the provider's own count would refuse calls that it admits at full size."""
        if scale == 1.0:
            return self
        limits, latency, quotas = self.limits, self.behaviour.latency, self.behaviour.quotas
        workers = None if latency.workers is None else max(1, round(latency.workers / scale))
        smaller = {name: _divided(getattr(limits, name), scale) for name in QUOTAS}
        enforced = {
            name: _divided(getattr(quotas, name), scale) if getattr(limits, name) is None else None
            for name in QUOTAS
        }
        in_flight = max(1, round(limits.concurrency / scale))
        return replace(
            self,
            limits=with_limits(replace(limits, concurrency=in_flight), smaller),
            behaviour=replace(
                self.behaviour,
                latency=replace(latency, load_s=latency.load_s * scale, workers=workers),
                quotas=with_quotas(quotas, enforced),
            ),
        )


def with_limits(limits: GateLimits, values: Mapping[str, float | None]) -> GateLimits:
    """Returns the limits with these values a minute in place of their own; names of QUOTAS."""
    return replace(
        limits,
        requests=values.get("requests", limits.requests),
        tokens=values.get("tokens", limits.tokens),
        input_tokens=values.get("input_tokens", limits.input_tokens),
        output_tokens=values.get("output_tokens", limits.output_tokens),
    )


def with_quotas(quotas: Quotas, values: Mapping[str, float | None]) -> Quotas:
    """Returns the quotas with these values a window in place of their own; names of QUOTAS."""
    return replace(
        quotas,
        requests=values.get("requests", quotas.requests),
        tokens=values.get("tokens", quotas.tokens),
        input_tokens=values.get("input_tokens", quotas.input_tokens),
        output_tokens=values.get("output_tokens", quotas.output_tokens),
    )


def _divided(limit: float | None, scale: float) -> float | None:
    return None if limit is None else limit / scale


@dataclass(slots=True)
class SimulatedPlay:
    """Counts of one method's play.

    busy_s   sum of the seconds that its calls were in flight
    bins     calls sent in each BIN_S
    marks    counts at two moments: when the steady state began, and when the last episode began"""

    episodes: int = 0
    failed: int = 0
    turns: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    busy_s: float = 0.0
    began_s: float = float("inf")
    ended_s: float = 0.0
    bins: dict[int, int] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment of a play, and what the gate's methods had done by then."""

    at_s: float
    calls: int
    prompt_tokens: int
    reply_tokens: int
    busy_s: float


class _Counts:
    """A RecordSink that counts and keeps nothing."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.played = {method: SimulatedPlay() for method in methods}

    async def put(self, *records: Record) -> None:
        for record in records:
            if isinstance(record, CallRecord):
                self._call(record)
            elif isinstance(record, EpisodeRecord):
                self._episode(record)

    def put_nowait(self, record: Record) -> None:
        """Drops the row: gate events and other rare rows are not counted."""

    def mark(self, methods: Sequence[str], now_s: float) -> Mark:
        """Returns what these methods have done by now."""
        played = [self.played[method] for method in methods]
        return Mark(
            at_s=now_s,
            calls=sum(play.calls for play in played),
            prompt_tokens=sum(play.prompt_tokens for play in played),
            reply_tokens=sum(play.reply_tokens for play in played),
            busy_s=sum(play.busy_s for play in played),
        )

    def _call(self, call: CallRecord) -> None:
        played = self.played[call.method]
        played.calls += 1
        played.busy_s += call.latency_s
        played.prompt_tokens += call.prompt_tokens or 0
        played.reply_tokens += call.completion_tokens or 0
        if call.sent_at < played.began_s:
            played.began_s = call.sent_at
        place = int(call.sent_at / BIN_S)
        played.bins[place] = played.bins.get(place, 0) + 1

    def _episode(self, episode: EpisodeRecord) -> None:
        played = self.played[episode.method]
        played.episodes += 1
        played.turns += episode.turns
        if episode.status == "failed":
            played.failed += 1
        played.ended_s = max(played.ended_s, episode.finished_at)


def simulate_gates(
    gates: Sequence[SimulatedGate], games: Mapping[str, Seated], *, policy: RetryPolicy, seed: int
) -> dict[str, SimulatedPlay]:
    """Plays all gates side by side from second 0; returns method -> the counts of its play.

    games    the sweep's games, of which only names and seats are used
    policy   for retries
    seed     of the providers, the scheduler and the order of tasks"""
    counts = _Counts([part.method.name for gate in gates for part in gate.parts])
    simulate(lambda: _play(gates, games, counts, policy, seed), seed=derive_seed(seed, "stage") % 2**32)
    return counts.played


async def _play(
    gates: Sequence[SimulatedGate],
    games: Mapping[str, Seated],
    counts: _Counts,
    policy: RetryPolicy,
    seed: int,
) -> None:
    clock = VirtualClock(epoch=0.0)
    routes: dict[str, Route] = {}
    lanes = []
    for simulated in gates:
        gate = Gate(simulated.name, simulated.limits, clock=clock, on_event=_ignore_event)
        provider = SimulatedProvider(simulated.behaviour, clock, seed=seed, name=simulated.name)
        for part in simulated.parts:
            name = part.method.name
            backend = SimulatedBackend(MeasuredBackend(), provider)
            routes[name] = Route(method=part.method, gate=gate, backend=backend)
            lanes.append(Lane(name=name, plans=_plans(part, simulated, counts, clock), gates=(gate,)))
    placeholders = placeholder_games(games)
    expected = ExpectedTurns(placeholders)
    player = Player(
        run_id="plan",
        caller=Caller(sink=counts, clock=clock, policy=policy, budget=SpendingBudget.unlimited(clock)),
        games=placeholders,
        routes=routes,
        expected_turns=expected,
        seed=seed,
    )
    await Scheduler(lanes, player=player, expected=expected, beginning=lambda plan: Beginning()).play_all()


def _plans(
    part: SimulatedMethod, gate: SimulatedGate, counts: _Counts, clock: VirtualClock
) -> Iterator[EpisodePlan]:
    """Yields the part's plans. The scheduler takes one whenever an episode may begin, so this is where marks
    are made."""
    methods, marks = [one.method.name for one in gate.parts], counts.played[part.method.name].marks
    for number, (plan, length) in enumerate(part.episodes):
        if number == int(STEADY_SHARE * len(part.episodes)):
            marks.append(counts.mark(methods, clock.now()))
        yield with_length(plan, length)
    marks.append(counts.mark(methods, clock.now()))


def _ignore_event(kind: str, detail: str) -> None:
    """Receives a gate's events, which a plan does not report."""
