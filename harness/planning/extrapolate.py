"""A short simulated sweep under proportionally smaller limits, with several seeds -> the time of the whole
sweep.

Gates do not affect each other, so each gate is simulated alone, and of several gates that are alike only one.
A short play gives the gate's steady rate: its work per second while episodes are still to begin. The whole
sweep takes its work at that rate, or until its last long episode ends: the length of every episode is known
beforehand, and about when it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from math import exp, sqrt
from statistics import fmean

from harness.core.seeds import stream
from harness.core.vocabulary import EpisodePlan
from harness.planning.episode_lengths import EpisodeLength, EpisodeLengths, Seated
from harness.planning.results import IN_FLIGHT
from harness.planning.simulate import (
    SimulatedGate,
    SimulatedMethod,
    SimulatedPlay,
    simulate_gates,
    with_limits,
    with_quotas,
)
from harness.planning.workload import MethodEpisodes, Workload, total_workload
from harness.scheduler.call import RetryPolicy

SEEDS = 4  # plays of the gates that may be the last to end: enough for an interval within seconds
CALLS_MAX = 24_000  # simulated in all for one quick answer: about five seconds
CALLS_MIN = 400  # of one gate: fewer do not reach its steady state
WHOLE = 1.5  # a gate with no more than so many times its calls is simulated whole
FILLS = 5.0  # a short play has so many times the episodes that run at once
TAIL_SHARE = 0.25  # of the full number of calls in flight: the mean while the last episodes end
NEARLY = 0.85  # of the longest time: gates that take so long may be the last to end
BINDING = 0.85  # a limit that is used to this share sets the pace
IN_FLIGHT_MIN = 4  # calls in flight in a short play: with fewer, more of them are idle than in the whole
LIMITS = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateWorkload:
    """One gate to be forecast.

    gate     its limits and its provider, without episodes
    methods  the episodes of its methods
    source   in words, where the provider's behaviour comes from"""

    gate: SimulatedGate
    methods: tuple[MethodEpisodes, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateForecast:
    """The forecast of one gate.

    walls_s    its wall time under each seed
    uses       limit -> share of it that is used in the steady state;  most: the most used limit
    doubled_s  its wall time if the most used limit were twice as large; None where that was not simulated
    works      method -> turns and tokens of its episodes
    played     method -> one simulated play
    scale      so many times more episodes has the sweep than the play"""

    workload: GateWorkload
    walls_s: tuple[float, ...]
    uses: Mapping[str, float]
    most: str
    doubled_s: float | None
    works: Mapping[str, Workload]
    played: Mapping[str, SimulatedPlay]
    scale: float


Drawn = Sequence[tuple[EpisodePlan, EpisodeLength]]


def amount(limit: str, work: Workload, busy_s: float = 0.0) -> float:
    """Returns how much of a limit this work takes; of calls in flight: its seconds in flight."""
    if limit == IN_FLIGHT:
        return busy_s
    if limit == "requests":
        return work.turns
    if limit == "input tokens":
        return work.prompt_tokens
    if limit == "output tokens":
        return work.reply_tokens
    return work.prompt_tokens + work.reply_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlayResult:
    """One simulated play.

    wall_s   its duration
    uses     limit -> share used in the steady state
    rates    limit -> amount of it per second, in the steady state
    left     amount of each limit that remained when the last episode began
    asked    turns and tokens of its episodes;  busy_s  seconds its calls were in flight"""

    wall_s: float
    uses: dict[str, float]
    rates: dict[str, float]
    left: dict[str, float]
    asked: Workload
    busy_s: float
    played: dict[str, SimulatedPlay]


@dataclass(slots=True)
class _Cohort:
    """Gates that are alike: the first is simulated for all.

    calls    of the whole sweep
    scale    its limits are so many times smaller in a play
    share    of its episodes that a play has
    results  of plays with its own limits, by seed;  walls_s  the wall times that follow"""

    members: list[GateWorkload]
    calls: int = 0
    scale: float = 1.0
    share: float = 1.0
    results: list[_PlayResult] = field(default_factory=list)
    walls_s: list[float] = field(default_factory=list)
    doubled_s: float | None = None

    @property
    def first(self) -> GateWorkload:
        return self.members[0]


class Extrapolation:
    """Forecasts the gates of a sweep; see the module's header.

    gates      with the episodes of their methods
    lengths    of episodes
    games      of which only names and seats are used
    policy     for retries
    simulated  calls simulated so far"""

    def __init__(
        self,
        gates: Sequence[GateWorkload],
        lengths: EpisodeLengths,
        games: Mapping[str, Seated],
        *,
        policy: RetryPolicy,
        seed: int,
    ) -> None:
        self.simulated = 0
        self._gates = gates
        self._lengths = lengths
        self._games = games
        self._policy = policy
        self._seed = seed
        self._plans: dict[str, list[EpisodePlan]] = {}
        self._drawn: dict[tuple[str, int], Drawn] = {}

    def quick(self, *, seeds: int = SEEDS, calls_max: int = CALLS_MAX) -> tuple[GateForecast, ...]:
        """Forecasts within seconds, whatever the sweep's size.

        Every cohort is simulated under the first seed. Those that may be the last to end are simulated under
        the other seeds too, and once more with twice the limit that binds them, until calls_max calls are
        simulated."""
        cohorts = self._cohorts()
        each = max(CALLS_MIN, calls_max / 2 / len(cohorts))
        for cohort in cohorts:
            self._shrink(cohort, each)
            cohort.results = [self._play(cohort, 0, cohort.first.gate)]
        for cohort in cohorts:
            cohort.walls_s = [self._wall_s(cohort, cohort.results, 0)]
        longest_first = sorted(cohorts, key=lambda cohort: -cohort.walls_s[0])
        last_s = longest_first[0].walls_s[0]
        for cohort in longest_first:
            if cohort.walls_s[0] < NEARLY * last_s or self.simulated > calls_max:
                break
            cohort.results += [self._play(cohort, seed, cohort.first.gate) for seed in range(1, seeds)]
            cohort.walls_s = [self._wall_s(cohort, cohort.results, seed) for seed in range(seeds)]
        forecasts = {}
        for cohort in sorted(cohorts, key=lambda cohort: -cohort.walls_s[0]):
            uses = cohort.results[0].uses
            most = max(uses, key=uses.__getitem__)
            if uses[most] >= BINDING and self.simulated + each < calls_max:
                doubled = self._play(cohort, 0, _doubled(cohort.first.gate, most))
                cohort.doubled_s = self._wall_s(cohort, [doubled], 0)
            for member in cohort.members:
                forecasts[id(member)] = self._forecast(member, cohort)
        return tuple(forecasts[id(gate)] for gate in self._gates)

    def full(self, *, seeds: int = 1) -> tuple[GateForecast, ...]:
        """Simulates every episode of every gate, all of them side by side."""
        cohorts = [_Cohort([member]) for member in self._gates]
        for seed in range(seeds):
            gates = [replace(member.gate, parts=self._parts(member, seed, 1.0)) for member in self._gates]
            played = simulate_gates(gates, self._games, policy=self._policy, seed=self._seed + seed)
            for cohort, gate in zip(cohorts, gates, strict=True):
                of_gate = {part.method.name: played[part.method.name] for part in gate.parts}
                cohort.results.append(self._result(gate, of_gate))
                cohort.walls_s.append(cohort.results[-1].wall_s)
        return tuple(self._forecast(cohort.first, cohort) for cohort in cohorts)

    # --- cohorts, and how small they are simulated ------------------------------------------------------

    def _cohorts(self) -> list[_Cohort]:
        found: dict[object, _Cohort] = {}
        for member in self._gates:
            found.setdefault(self._signature(member), _Cohort([])).members.append(member)
        for cohort in found.values():
            cohort.calls = sum(
                length.turns for one in cohort.first.methods for _, length in self._episodes(one, 0)
            )
        return list(found.values())

    def _signature(self, member: GateWorkload) -> object:
        """Returns a key that is equal for gates whose plays have the same distribution."""
        lengths = tuple(
            (
                one.copies,
                tuple(self._lengths.signature(one.method, one.model, plan) for plan in one.items),
            )
            for one in member.methods
        )
        return (member.gate.limits, repr(member.gate.behaviour), lengths)

    def _shrink(self, cohort: _Cohort, calls_max: float) -> None:
        """Chooses so few episodes that they make about calls_max calls, and limits so small that the episodes
        fill them FILLS times."""
        if cohort.calls <= WHOLE * calls_max:
            return
        cohort.share = calls_max / cohort.calls
        gate = cohort.first.gate
        episodes = [pair for one in cohort.first.methods for pair in self._episodes(one, 0)]
        whole = total_workload(length for _, length in episodes)
        call_s = _expected_s(gate, whole) / whole.turns
        calls_per_s = [gate.limits.concurrency / call_s]
        for name, words in LIMITS.items():
            if (limit := getattr(gate.limits, name)) is not None:
                calls_per_s.append(limit / 60.0 / max(1e-9, amount(words, whole) / whole.turns))
        live = 1.0 + 1.25 * min(calls_per_s) * call_s
        wanted = max(1.0, live * FILLS / (len(episodes) * cohort.share))
        in_flight = gate.limits.concurrency
        cohort.scale = in_flight / max(min(in_flight, IN_FLIGHT_MIN), round(in_flight / wanted))

    # --- plays ------------------------------------------------------------------------------------------

    def _episodes(self, method: MethodEpisodes, seed: int) -> Drawn:
        """Returns the method's episodes in order, each with the length that it takes under this seed."""
        key = (method.method, seed)
        if key not in self._drawn:
            if method.method not in self._plans:
                self._plans[method.method] = list(method.plans())
            drawn = {item: iter(lengths) for item, lengths in method.draw(self._lengths, seed).items()}
            self._drawn[key] = [(plan, next(drawn[plan.item])) for plan in self._plans[method.method]]
        return self._drawn[key]

    def _parts(self, member: GateWorkload, seed: int, share: float) -> tuple[SimulatedMethod, ...]:
        return tuple(
            SimulatedMethod(method=one.access, episodes=_sample(self._episodes(one, seed), share, seed))
            for one in member.methods
        )

    def _play(self, cohort: _Cohort, seed: int, gate: SimulatedGate) -> _PlayResult:
        small = replace(gate.scaled(cohort.scale), parts=self._parts(cohort.first, seed, cohort.share))
        played = simulate_gates([small], self._games, policy=self._policy, seed=self._seed + seed)
        return self._result(small, played)

    def _result(self, gate: SimulatedGate, played: dict[str, SimulatedPlay]) -> _PlayResult:
        self.simulated += sum(play.calls for play in played.values())
        asked = total_workload(length for part in gate.parts for _, length in part.episodes)
        busy_s = sum(play.busy_s for play in played.values())
        begin = max((play.marks[0] for play in played.values()), key=lambda mark: mark.at_s)
        end = min((play.marks[-1] for play in played.values()), key=lambda mark: mark.at_s)
        steady_s = max(1e-9, end.at_s - begin.at_s)
        rates = {
            IN_FLIGHT: (end.busy_s - begin.busy_s) / steady_s,
            "requests": (end.calls - begin.calls) / steady_s,
            "input tokens": (end.prompt_tokens - begin.prompt_tokens) / steady_s,
            "output tokens": (end.reply_tokens - begin.reply_tokens) / steady_s,
        }
        rates["tokens"] = rates["input tokens"] + rates["output tokens"]
        uses = {IN_FLIGHT: rates[IN_FLIGHT] / gate.limits.concurrency}
        for name, words in LIMITS.items():
            if (limit := getattr(gate.limits, name)) is not None:
                uses[words] = rates[words] / (limit / 60.0)
        remaining = Workload(
            turns=max(0, asked.turns - end.calls),
            prompt_tokens=max(0, asked.prompt_tokens - end.prompt_tokens),
            reply_tokens=max(0, asked.reply_tokens - end.reply_tokens),
        )
        return _PlayResult(
            wall_s=max((play.ended_s for play in played.values()), default=0.0),
            uses=uses,
            rates=rates,
            left={limit: amount(limit, remaining, max(0.0, busy_s - end.busy_s)) for limit in rates},
            asked=asked,
            busy_s=busy_s,
            played=played,
        )

    def _wall_s(self, cohort: _Cohort, results: Sequence[_PlayResult], seed: int) -> float:
        """Returns the whole sweep's time under this seed: its work at the steady rate, or until the last long
        episode ends.

        The rate varies less over a whole sweep than over a short play, by the root of the play's share."""
        if cohort.share >= 1.0 and cohort.scale == 1.0:
            return results[seed].wall_s
        gate = cohort.first.gate
        most = max(results[0].uses, key=results[0].uses.__getitem__)
        rates = [result.rates[most] for result in results]
        own, middle = results[min(seed, len(results) - 1)], fmean(rates)
        rate = (middle + (own.rates[most] - middle) * sqrt(cohort.share)) * cohort.scale
        busy_per_expected = own.busy_s / max(1e-9, _expected_s(gate, own.asked))
        works: list[tuple[float, Workload]] = []
        done = 0.0
        for _, length in _merged([self._episodes(one, seed) for one in cohort.first.methods]):
            work = total_workload([length])
            works.append((done, work))
            done += amount(most, work, busy_per_expected * _expected_s(gate, work))
        left = own.left[most] * cohort.scale
        tail_s = max(0.0, (done - left) / rate)  # the last episode begins, and fewer and fewer run beside it
        factor, last_s = mean_factor(gate), 0.0
        for before, work in works:
            begins_s = max(0.0, (before - left) / rate)
            expected_s = factor * _expected_s(gate, work)
            in_tail_s = begins_s + expected_s - tail_s
            if in_tail_s > 0.0:
                alone_s = factor * _expected_s(gate, work, load=TAIL_SHARE)
                last_s = max(last_s, tail_s + in_tail_s / expected_s * alone_s)
        return max(last_s, done / rate)

    def _forecast(self, member: GateWorkload, cohort: _Cohort) -> GateForecast:
        first, result = cohort.first.methods, cohort.results[0]
        own_name = dict(
            zip((one.method for one in first), (one.method for one in member.methods), strict=True)
        )
        return GateForecast(
            workload=member,
            walls_s=tuple(cohort.walls_s),
            uses=result.uses,
            most=max(result.uses, key=result.uses.__getitem__),
            doubled_s=cohort.doubled_s,
            works={one.method: one.workload(self._lengths) for one in member.methods},
            played={own_name[method]: play for method, play in result.played.items()},
            scale=cohort.scale / cohort.share,
        )


def _expected_s(gate: SimulatedGate, work: Workload, load: float = 1.0) -> float:
    """Returns the seconds in flight that this work takes beside this share of the gate's full number of
    calls."""
    latency = gate.behaviour.latency
    token_s = latency.token_s + load * latency.load_s * (gate.limits.concurrency - 1)
    prompt_s = work.prompt_tokens * latency.prompt_s
    return work.turns * latency.first_s + prompt_s + work.reply_tokens * token_s + 1e-9


def mean_factor(gate: SimulatedGate) -> float:
    """Returns the mean of the factor by which the provider multiplies a call's duration."""
    latency = gate.behaviour.latency
    return fmean(latency.factors) if latency.factors else exp(latency.spread**2 / 2)


def _merged(parts: Sequence[Drawn]) -> Iterator[tuple[EpisodePlan, EpisodeLength]]:
    """Yields the episodes of the lanes that share a gate, in turn."""
    for row in zip_longest(*parts):
        yield from (pair for pair in row if pair is not None)


def _sample(episodes: Drawn, share: float, seed: int) -> Drawn:
    """Returns this share of the episodes, evenly from the shortest to the longest, in playing order."""
    if share >= 1.0:
        return episodes
    count = max(1, round(share * len(episodes)))
    order = sorted(
        range(len(episodes)),
        key=lambda place: (episodes[place][1].turns, episodes[place][1].reply_tokens, place),
    )
    step = len(order) / count
    start = stream(seed, "thinned").random() * step
    return [episodes[place] for place in sorted(order[int(start + number * step)] for number in range(count))]


def _doubled(gate: SimulatedGate, limit: str) -> SimulatedGate:
    """Returns the gate with twice as much of this limit."""
    if limit == IN_FLIGHT:
        return replace(gate, limits=replace(gate.limits, concurrency=2 * gate.limits.concurrency))
    name = next(name for name, words in LIMITS.items() if words == limit)
    quotas = gate.behaviour.quotas
    enforced = None if getattr(quotas, name) is None else 2 * getattr(quotas, name)
    return replace(
        gate,
        limits=with_limits(gate.limits, {name: 2 * getattr(gate.limits, name)}),
        behaviour=replace(gate.behaviour, quotas=with_quotas(quotas, {name: enforced})),
    )
