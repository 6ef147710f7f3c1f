"""A short sweep under limits as much smaller as it takes, under several seeds -> what the whole will take.

Gates do not know each other, so each is simulated by itself, and gates that are alike only once. From a short play comes the gate's pace
in its usual state: what it does a second while episodes are still to begin. The whole takes its work at that pace, or until the last of
its long episodes is over: every episode's shape is known beforehand, and about when it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import exp, sqrt
from statistics import fmean

from harness.core.protocols import Game
from harness.core.seeds import stream
from harness.core.vocabulary import AccessMethod, EpisodePlan
from harness.planning.episode_lengths import Shape, Shapes
from harness.planning.simulate import SimulatedGate, SimulatedMethod, SimulatedPlay, simulate_gates
from harness.scheduler.call import RetryPolicy

SEEDS = 4
CALLS_MAX = 24_000  # simulated in all for one quick answer
CALLS_MIN = 400  # of one gate: fewer tell nothing of its usual state
WHOLE = 1.5  # times what is allowed: a gate with no more calls is played whole
FILLS = 5.0  # times as many episodes as may be under way at once
THINNED = 0.25  # of the full company: who is left, on average, when the last episodes end
NEARLY = 0.85  # of the longest time: such gates may be the last
BINDING = 0.85  # of a limit: from here on it sets the pace
SLOTS_MIN = 4  # calls in flight in a small play: fewer would leave more idle than many do
LIMITS = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}
IN_FLIGHT = "calls in flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodWorkload:
    """One method's episodes.

    items    one plan for each of its items
    plans    all of them, in playing order
    copies   plans of each item"""

    access: AccessMethod
    items: Sequence[EpisodePlan]
    plans: Callable[[], Iterator[EpisodePlan]]
    copies: int

    @property
    def method(self) -> str:
        return self.access.name

    @property
    def model(self) -> str:
        return self.access.model


@dataclass(frozen=True, slots=True, kw_only=True)
class GateWorkload:
    """A gate to be forecast: the group without its episodes, its scripts, and in words where its pace comes from."""

    group: SimulatedGate
    scripts: tuple[MethodWorkload, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What episodes ask for, or what was done of it."""

    turns: int
    prompt_tokens: int
    reply_tokens: int
    busy_s: float = 0.0

    def spent(self, limit: str) -> float:
        """Of this limit; of calls in flight: seconds in flight."""
        if limit == IN_FLIGHT:
            return self.busy_s
        if limit == "requests":
            return self.turns
        if limit == "input tokens":
            return self.prompt_tokens
        if limit == "output tokens":
            return self.reply_tokens
        return self.prompt_tokens + self.reply_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class GateForecast:
    """What a gate will take.

    walls_s    its time under each seed
    uses       limit -> share used while it plays;  most: the most used
    doubled_s  its time if the most used were twice as large; None where that was not tried
    works      method -> what its episodes ask for
    played     method -> one simulated play
    scale      of how many episodes one was played"""

    scene: GateWorkload
    walls_s: tuple[float, ...]
    uses: Mapping[str, float]
    most: str
    doubled_s: float | None
    works: Mapping[str, Demand]
    played: Mapping[str, SimulatedPlay]
    scale: float


Drawn = Sequence[tuple[EpisodePlan, Shape]]


@dataclass(slots=True)
class _Cohort:
    """Scenes whose gates are alike: the first is played for all.

    calls   of the whole;  scale: how much smaller its limits are;  share: of its episodes that are played"""

    scenes: list[GateWorkload]
    calls: int = 0
    scale: float = 1.0
    share: float = 1.0

    @property
    def first(self) -> GateWorkload:
        return self.scenes[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlayResult:
    """One play.

    wall_s   its own time
    uses     how much of each limit was used in its usual state
    rates    so much of each limit's unit a second, then
    left     what was still to do when its last episode began
    asked    what its episodes asked for in all"""

    wall_s: float
    uses: dict[str, float]
    rates: dict[str, float]
    left: Demand
    asked: Demand
    played: dict[str, SimulatedPlay]


class Forecast:
    """See the module's header.

    shapes     how long episodes are
    simulated  calls that were simulated so far"""

    def __init__(
        self,
        scenes: Sequence[GateWorkload],
        shapes: Shapes,
        games: Mapping[str, Game],
        *,
        policy: RetryPolicy,
        seed: int,
    ) -> None:
        self.simulated = 0
        self._scenes = scenes
        self._shapes = shapes
        self._games = games
        self._policy = policy
        self._seed = seed
        self._plans: dict[str, list[EpisodePlan]] = {}
        self._drawn: dict[tuple[str, int], Drawn] = {}

    def quick(self, *, seeds: int = SEEDS, calls_max: int = CALLS_MAX) -> tuple[GateForecast, ...]:
        """An answer within seconds, whatever the sweep's size.

        Every company is played under the first seed; those that may be the last to end under the others too, and with twice as much of
        what binds them, as far as the calls go."""
        companies = self._gathered()
        each = max(CALLS_MIN, calls_max / 2 / len(companies))
        for company in companies:
            self._shrink(company, each)
        seen = {id(company): [self._played(company, 0, company.first.group)] for company in companies}
        walls = {id(company): [self._wall_s(company, seen[id(company)], 0)] for company in companies}
        last = max(walls_s[0] for walls_s in walls.values())
        for company in sorted(companies, key=lambda one: -walls[id(one)][0]):
            key = id(company)
            if walls[key][0] < NEARLY * last or self.simulated > calls_max:
                break
            seen[key] += [self._played(company, seed, company.first.group) for seed in range(1, seeds)]
            walls[key] = [self._wall_s(company, seen[key], seed) for seed in range(seeds)]
        told = {}
        for company in sorted(companies, key=lambda one: -walls[id(one)][0]):
            key = id(company)
            uses = seen[key][0].uses
            most = max(uses, key=uses.__getitem__)
            doubled_s = None
            if uses[most] >= BINDING and self.simulated + each < calls_max:
                group = _doubled(company.first.group, most)
                doubled_s = self._wall_s(company, [self._played(company, 0, group)], 0)
            for scene in company.scenes:
                told[id(scene)] = self._told(scene, company, seen[key][0], walls[key], doubled_s)
        return tuple(told[id(scene)] for scene in self._scenes)

    def full(self, *, seeds: int = 1) -> tuple[GateForecast, ...]:
        """Every episode of every gate, all of them side by side."""
        companies = [_Cohort([scene]) for scene in self._scenes]
        seen: list[list[_PlayResult]] = [[] for _ in companies]
        for seed in range(seeds):
            groups = [replace(scene.group, parts=self._parts(scene, seed, 1.0)) for scene in self._scenes]
            played = simulate_gates(groups, self._games, policy=self._policy, seed=self._seed + seed)
            for place, group in enumerate(groups):
                seen[place].append(
                    self._seen(group, {part.method.name: played[part.method.name] for part in group.parts})
                )
        return tuple(
            self._told(company.first, company, plays[0], [one.wall_s for one in plays], None)
            for company, plays in zip(companies, seen, strict=True)
        )

    # --- which gates are alike, and how small they are played ----------------------------------------------------------------

    def _gathered(self) -> list[_Cohort]:
        found: dict[object, _Cohort] = {}
        for scene in self._scenes:
            found.setdefault(self._likeness(scene), _Cohort([])).scenes.append(scene)
        for company in found.values():
            company.calls = sum(_work(self._drawn_of(script, 0)).turns for script in company.first.scripts)
        return list(found.values())

    def _likeness(self, scene: GateWorkload) -> object:
        """Equal for gates that have equal chances."""
        lengths = tuple(
            (
                script.copies,
                tuple(self._shapes.signature(script.method, script.model, plan) for plan in script.items),
            )
            for script in scene.scripts
        )
        return (scene.group.limits, repr(scene.group.behaviour), lengths)

    def _shrink(self, company: _Cohort, calls_max: float) -> None:
        """So few episodes that they make about so many calls, and limits so small that they fill them several times over."""
        if company.calls <= WHOLE * calls_max:
            return
        company.share = calls_max / company.calls
        group = company.first.group
        whole = _work(pair for script in company.first.scripts for pair in self._drawn_of(script, 0))
        episodes = sum(len(self._drawn_of(script, 0)) for script in company.first.scripts)
        call_s = _asked_s(group, whole) / whole.turns
        a_second = [group.limits.concurrency / call_s]
        for name, words in LIMITS.items():
            if (limit := getattr(group.limits, name)) is not None:
                a_second.append(limit / 60.0 / max(1e-9, whole.spent(words) / whole.turns))
        live = 1.0 + 1.25 * min(a_second) * call_s
        wanted = max(1.0, live * FILLS / (episodes * company.share))
        in_flight = group.limits.concurrency
        company.scale = in_flight / max(min(in_flight, SLOTS_MIN), round(in_flight / wanted))

    # --- plays ----------------------------------------------------------------------------------------------------------------

    def _drawn_of(self, script: MethodWorkload, seed: int) -> Drawn:
        """The script's episodes, in order, each with the shape it takes under this seed."""
        key = (script.method, seed)
        if key not in self._drawn:
            if script.method not in self._plans:
                self._plans[script.method] = list(script.plans())
            made = {
                plan.item: iter(
                    self._shapes.of(script.method, script.model, plan, repeats=script.copies, seed=seed)
                )
                for plan in script.items
            }
            self._drawn[key] = [(plan, next(made[plan.item])) for plan in self._plans[script.method]]
        return self._drawn[key]

    def _parts(self, scene: GateWorkload, seed: int, share: float) -> tuple[SimulatedMethod, ...]:
        return tuple(
            SimulatedMethod(
                method=script.access, episodes=_thinned(self._drawn_of(script, seed), share, seed)
            )
            for script in scene.scripts
        )

    def _played(self, company: _Cohort, seed: int, group: SimulatedGate) -> _PlayResult:
        small = replace(group.scaled(company.scale), parts=self._parts(company.first, seed, company.share))
        return self._seen(
            small, simulate_gates([small], self._games, policy=self._policy, seed=self._seed + seed)
        )

    def _seen(self, group: SimulatedGate, played: dict[str, SimulatedPlay]) -> _PlayResult:
        self.simulated += sum(one.calls for one in played.values())
        asked = _work(pair for part in group.parts for pair in part.episodes)
        busy_s = sum(one.busy_s for one in played.values())
        began = max((one.marks[0] for one in played.values()), key=lambda mark: mark.at_s)
        done = min((one.marks[-1] for one in played.values()), key=lambda mark: mark.at_s)
        for_s = max(1e-9, done.at_s - began.at_s)
        rates = {
            IN_FLIGHT: (done.busy_s - began.busy_s) / for_s,
            "requests": (done.calls - began.calls) / for_s,
            "input tokens": (done.prompt_tokens - began.prompt_tokens) / for_s,
            "output tokens": (done.reply_tokens - began.reply_tokens) / for_s,
        }
        rates["tokens"] = rates["input tokens"] + rates["output tokens"]
        uses = {IN_FLIGHT: rates[IN_FLIGHT] / group.limits.concurrency}
        for name, words in LIMITS.items():
            if (limit := getattr(group.limits, name)) is not None:
                uses[words] = rates[words] / (limit / 60.0)
        return _PlayResult(
            wall_s=max((one.ended_s for one in played.values()), default=0.0),
            uses=uses,
            rates=rates,
            left=Demand(
                turns=max(0, asked.turns - done.calls),
                prompt_tokens=max(0, asked.prompt_tokens - done.prompt_tokens),
                reply_tokens=max(0, asked.reply_tokens - done.reply_tokens),
                busy_s=max(0.0, busy_s - done.busy_s),
            ),
            asked=replace(asked, busy_s=busy_s),
            played=played,
        )

    def _wall_s(self, company: _Cohort, seen: Sequence[_PlayResult], seed: int) -> float:
        """What the whole takes under this seed: its work at the pace seen, or until the last long episode is over.

        The pace varies less over a whole sweep than over a short one, by the root of its share."""
        if company.share >= 1.0 and company.scale == 1.0:
            return seen[seed].wall_s
        group = company.first.group
        most = max(seen[0].uses, key=seen[0].uses.__getitem__)
        rates = [one.rates[most] for one in seen]
        mine, middle = seen[min(seed, len(seen) - 1)], fmean(rates)
        rate = middle + (mine.rates[most] - middle) * sqrt(company.share)
        busy_of = mine.asked.busy_s / max(1e-9, _asked_s(group, mine.asked))
        factor = mean_factor(group)
        a_second = rate * company.scale
        whole: list[tuple[float, Demand]] = []
        done = 0.0
        for _, shape in _merged([self._drawn_of(script, seed) for script in company.first.scripts]):
            work = _work([(None, shape)])
            whole.append((done, work))
            done += busy_of * _asked_s(group, work) if most == IN_FLIGHT else work.spent(most)
        left = mine.left.spent(most) * company.scale
        thins_s = max(
            0.0, (done - left) / a_second
        )  # the last one begins: from then on the company grows smaller
        last_s = 0.0
        for before, work in whole:
            begins_s = max(0.0, (before - left) / a_second)
            asked_s = factor * _asked_s(group, work)
            over_s = begins_s + asked_s - thins_s
            if over_s > 0.0:
                last_s = max(
                    last_s, thins_s + over_s / asked_s * factor * _asked_s(group, work, company=THINNED)
                )
        return max(last_s, done / a_second)

    def _told(
        self,
        scene: GateWorkload,
        company: _Cohort,
        seen: _PlayResult,
        walls_s: Sequence[float],
        doubled_s: float | None,
    ) -> GateForecast:
        first = company.first.scripts
        named = dict(
            zip((script.method for script in first), (script.method for script in scene.scripts), strict=True)
        )
        return GateForecast(
            scene=scene,
            walls_s=tuple(walls_s),
            uses=seen.uses,
            most=max(seen.uses, key=seen.uses.__getitem__),
            doubled_s=doubled_s,
            works={named[script.method]: _work(self._drawn_of(script, 0)) for script in first},
            played={named[method]: one for method, one in seen.played.items()},
            scale=company.scale / company.share,
        )


def _work(episodes: Iterable[tuple[object, Shape]]) -> Demand:
    turns = prompt_tokens = reply_tokens = 0
    for _, shape in episodes:
        turns += shape.turns
        prompt_tokens += shape.prompt_tokens
        reply_tokens += shape.reply_tokens
    return Demand(turns=turns, prompt_tokens=prompt_tokens, reply_tokens=reply_tokens)


def _asked_s(group: SimulatedGate, work: Demand, company: float = 1.0) -> float:
    """Seconds in flight that this work would take beside this share of the group's full company, spread apart."""
    tempo = group.behaviour.tempo
    token_s = tempo.token_s + company * tempo.load_s * (group.limits.concurrency - 1)
    return (
        work.turns * tempo.first_s + work.prompt_tokens * tempo.prompt_s + work.reply_tokens * token_s + 1e-9
    )


def mean_factor(group: SimulatedGate) -> float:
    """Mean of what a call's duration is multiplied by."""
    tempo = group.behaviour.tempo
    return fmean(tempo.factors) if tempo.factors else exp(tempo.spread**2 / 2)


def _merged(parts: Sequence[Drawn]) -> Iterator[tuple[EpisodePlan, Shape]]:
    """The episodes of lanes that share a gate, in step."""
    for row in zip_longest(*parts):
        yield from (pair for pair in row if pair is not None)


def _thinned(episodes: Drawn, share: float, seed: int) -> Drawn:
    """This share of the episodes, evenly from the shortest to the longest, in playing order."""
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


def _doubled(group: SimulatedGate, limit: str) -> SimulatedGate:
    """The group with twice as much of this limit."""
    if limit == IN_FLIGHT:
        return replace(group, limits=replace(group.limits, concurrency=2 * group.limits.concurrency))
    name = next(name for name, words in LIMITS.items() if words == limit)
    more = 2 * getattr(group.limits, name)
    enforcement = group.behaviour.enforcement
    raised = {quota: more if quota == name else allowed for quota, allowed in enforcement.limits.items()}
    return replace(
        group,
        limits=replace(group.limits, **{name: more}),
        behaviour=replace(group.behaviour, enforcement=replace(enforcement, limits=raised)),
    )
