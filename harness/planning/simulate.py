"""The engine itself - scheduler, gates, retries - over simulated providers, with episodes as long as their shapes say.

The one place of this room that knows backends. A stage may be a smaller one: a share of the episodes, under that share of every limit,
takes as long as the whole. Keeps running counts of what would be rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backends.emulator.simulated import Behaviour, SimulatedBackend, SimulatedProvider
from harness.core.protocols import Game
from harness.core.records import CallRecord, EpisodeRecord, Record
from harness.core.seeds import derive_seed
from harness.core.vocabulary import AccessMethod, EpisodePlan
from harness.limits.gate import Gate, GateLimits
from harness.planning.episode_lengths import MeasuredBackend, Shape, shaped, stand_ins
from harness.scheduler.call import Caller, RetryPolicy, Route
from harness.scheduler.episode import Beginning, Player
from harness.scheduler.scheduler import ExpectedTurns, Lane, Scheduler
from harness.scheduler.spending import SpendingBudget
from harness.simulation import VirtualClock, simulate

BIN_S = 5.0
BEGUN = 0.4  # of the episodes: those that come then meet a gate in its usual state


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMethod:
    """One access method in a play: its episodes in order, with their shapes."""

    method: AccessMethod
    episodes: Sequence[tuple[EpisodePlan, Shape]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGate:
    """One gate, the provider behind it, and the methods that share both."""

    name: str
    limits: GateLimits
    behaviour: Behaviour
    parts: tuple[SimulatedMethod, ...]

    def scaled(self, scale: float) -> SimulatedGate:
        """The group under limits that are so many times smaller; its server is as much smaller. Quotas that the gate knows are left to it:
        where one call is a fair share of a minute's quota, a provider's own counting would refuse what it allows in the large."""
        if scale == 1.0:
            return self
        limits, behaviour = self.limits, self.behaviour
        return replace(
            self,
            limits=replace(
                limits,
                concurrency=max(1, round(limits.concurrency / scale)),
                requests=_divided(limits.requests, scale),
                tokens=_divided(limits.tokens, scale),
                input_tokens=_divided(limits.input_tokens, scale),
                output_tokens=_divided(limits.output_tokens, scale),
            ),
            behaviour=replace(
                behaviour,
                tempo=replace(
                    behaviour.tempo,
                    load_s=behaviour.tempo.load_s * scale,
                    slots=None
                    if behaviour.tempo.slots is None
                    else max(1, round(behaviour.tempo.slots / scale)),
                ),
                enforcement=replace(
                    behaviour.enforcement,
                    limits={
                        quota: allowed / scale
                        for quota, allowed in behaviour.enforcement.limits.items()
                        if getattr(limits, quota) is None
                    },
                ),
            ),
        )


def _divided(limit: float | None, scale: float) -> float | None:
    return None if limit is None else limit / scale


@dataclass(slots=True)
class SimulatedPlay:
    """What one method's play came to.

    busy_s   seconds its calls were in flight, added up
    bins     calls sent in each BIN_S
    marks    the same figures at moments between: when most of the beginning was over, and when the last episode began"""

    episodes: int = 0
    failed: int = 0
    turns: int = 0
    calls: int = 0
    limited: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    busy_s: float = 0.0
    began_s: float = float("inf")
    ended_s: float = 0.0
    bins: dict[int, int] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment of a play, and what its group had done by then."""

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
        """Rare rows are not counted."""

    def mark(self, methods: Sequence[str], now_s: float) -> Mark:
        """What these methods have done by now."""
        played = [self.played[method] for method in methods]
        return Mark(
            at_s=now_s,
            calls=sum(one.calls for one in played),
            prompt_tokens=sum(one.prompt_tokens for one in played),
            reply_tokens=sum(one.reply_tokens for one in played),
            busy_s=sum(one.busy_s for one in played),
        )

    def _call(self, call: CallRecord) -> None:
        played = self.played[call.method]
        played.calls += 1
        played.busy_s += call.latency_s
        played.prompt_tokens += call.prompt_tokens or 0
        played.reply_tokens += call.completion_tokens or 0
        if call.error_class == "RateLimited":
            played.limited += 1
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
    groups: Sequence[SimulatedGate], games: Mapping[str, Game], *, policy: RetryPolicy, seed: int
) -> dict[str, SimulatedPlay]:
    """Method -> what its play came to. All groups side by side from second 0."""
    counts = _Counts([part.method.name for group in groups for part in group.parts])
    simulate(lambda: _play(groups, games, counts, policy, seed), seed=derive_seed(seed, "stage") % 2**32)
    return counts.played


async def _play(
    groups: Sequence[SimulatedGate],
    games: Mapping[str, Game],
    counts: _Counts,
    policy: RetryPolicy,
    seed: int,
) -> None:
    clock = VirtualClock(epoch=0.0)
    routes: dict[str, Route] = {}
    lanes = []
    for group in groups:
        gate = Gate(group.name, group.limits, clock=clock, on_event=_heard)
        provider = SimulatedProvider(group.behaviour, clock, seed=seed, name=group.name)
        for part in group.parts:
            name = part.method.name
            routes[name] = Route(
                method=part.method, gate=gate, backend=SimulatedBackend(MeasuredBackend(), provider)
            )
            lanes.append(Lane(name=name, plans=_plans(part, group, counts, clock), gates=(gate,)))
    standing = stand_ins(games)
    expected = ExpectedTurns(standing)
    player = Player(
        run_id="plan",
        caller=Caller(sink=counts, clock=clock, policy=policy, budget=SpendingBudget.unlimited(clock)),
        games=standing,
        routes=routes,
        expected_turns=expected,
        seed=seed,
    )
    await Scheduler(lanes, player=player, expected=expected, beginning=lambda plan: Beginning()).play_all()


def _plans(
    part: SimulatedMethod, group: SimulatedGate, counts: _Counts, clock: VirtualClock
) -> Iterator[EpisodePlan]:
    """The part's plans for the engine. It asks for one whenever an episode may begin: that is when marks are made."""
    methods, marks = [one.method.name for one in group.parts], counts.played[part.method.name].marks
    for number, (plan, shape) in enumerate(part.episodes):
        if number == int(BEGUN * len(part.episodes)):
            marks.append(counts.mark(methods, clock.now()))
        yield shaped(plan, shape)
    marks.append(counts.mark(methods, clock.now()))


def _heard(kind: str, detail: str) -> None:
    """Gates' changes of mind are part of the play."""
