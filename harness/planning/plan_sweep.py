"""From a sweep file and stores to a plan: wires the parts of this room to games, gates and stores. Spends and
sends nothing; calibrate.py plays the trial that a plan may rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median, stdev

from scipy import stats

from harness.access.connect import retry_policy
from harness.access.engine_turns import engine_turns
from harness.access.game_sets import game_sets, games_of
from harness.access.gates import GateSpec, group_by_quota
from harness.audit.scores.power import Spread
from harness.config.episode_plans import GameSet, planned, turn_limits
from harness.config.sweep import BudgetPart, Seating, SweepSpec
from harness.core.seeds import stream
from harness.planning.calibrate import Trial
from harness.planning.episode_lengths import EpisodeLengths, Seated, StoredPlay
from harness.planning.extrapolate import (
    BINDING,
    CALLS_MAX,
    LIMITS,
    SEEDS,
    Extrapolation,
    GateForecast,
    GateWorkload,
    amount,
)
from harness.planning.library_notes import library_notes
from harness.planning.measurements import StoredHistory, TrialHistory, read_history, read_trial
from harness.planning.power import assumes_repeats, margin_power, too_small_text
from harness.planning.provider_model import GateModel, model_gate
from harness.planning.results import (
    IN_FLIGHT,
    MethodPlan,
    Span,
    SweepPlan,
    Use,
    duration_text,
    pace_text,
)
from harness.planning.simulate import BIN_S, SimulatedGate
from harness.planning.workload import MethodEpisodes, bot_turns, method_episodes

SAMPLES = 16  # of a trial: enough for an interval of Student's t
CALLS_PER_S = 5_000  # of one process on one core: 5,442 to 5,936 in bench/LOG.md (`bench.peers`)
STEPS = 60  # of the timeline: one for each minute of an hour


def plan_sweep(
    spec: SweepSpec,
    *,
    source: Path,
    stores: Sequence[Path] = (),
    full: bool = False,
    seeds: int | None = None,
    calls_max: int = CALLS_MAX,
    trial: Trial | None = None,
) -> SweepPlan:
    """Returns what the sweep will take.

    spec       resolved: with its providers' addresses and defaults
    source     the sweep file, for errors and relative paths
    stores     give lengths of episodes, speeds of servers, spreads of scores; a later store comes first
    full       simulate every call; else a short sweep under proportionally smaller limits
    seeds      number of simulations; None: one for a full plan, else SEEDS
    calls_max  about how many calls a short sweep may simulate in all
    trial      a trial of this sweep, in place of stores
    raises     SpecError, StoreError"""
    games, sets = games_of(spec, source), game_sets(spec, source)
    of_trial = None if trial is None else read_trial(trial)
    history = read_history(stores) if of_trial is None else of_trial.whole
    grouped = {gate.name: gate for gate in group_by_quota(spec, spec.methods(), source=source)}
    gates = [_gate_workload(spec, sets, gate, history, source) for gate in grouped.values()]
    forecaster = _Forecaster(
        spec=spec,
        specs=grouped,
        turns=_turns(spec, source, gates),
        games=games,
        lengths=partial(EpisodeLengths, by_bots=bot_turns, turn_limits=turn_limits(sets)),
        full=full,
        calls_max=calls_max,
    )
    if of_trial is None:
        forecasts, calls = forecaster.forecast(history, seeds=seeds), None
    else:
        forecasts, calls = forecaster.of_trial(of_trial, seeds or SAMPLES, _episodes_of(gates))
    plan = _sweep_plan(spec, sets, forecasts, forecaster.lengths(history.plays), forecaster.turns)
    margins = _margin_warnings(spec, sets, history.spreads)
    models = {name: model for name, (model, _) in spec.methods().items()}
    alone = [game for game, chosen in sets.items() if chosen.self_play]
    gaps = () if trial is None or of_trial is None else of_trial.gaps(models, alone, trial.end.closings)
    return replace(
        plan,
        warnings=(*gaps, *plan.warnings, *margins, *library_notes(games, plan.methods)),
        simulated=forecaster.simulated,
        starts_s=_starts_s(plan.turns_of, history) * spec.audit.sessions,
        trial_s=None if trial is None else trial.took_s,
        calls_span=calls,
    )


@dataclass(slots=True, kw_only=True)
class _Forecaster:
    """Forecasts the gates of one sweep from different histories.

    specs      gate -> as the sweep has it;  turns  the gates in the turns of their engines
    lengths    stored plays -> the lengths of the sweep's episodes
    simulated  calls simulated so far"""

    spec: SweepSpec
    specs: Mapping[str, GateSpec]
    turns: Sequence[Sequence[GateWorkload]]
    games: Mapping[str, Seated]
    lengths: Callable[[Sequence[StoredPlay]], EpisodeLengths]
    full: bool
    calls_max: int
    simulated: int = 0

    def forecast(
        self, history: StoredHistory, *, seeds: int | None, more_seed: int = 0
    ) -> list[GateForecast]:
        """Returns the forecasts of all gates. seeds: as in plan_sweep; more_seed: added to the sweep's."""
        found: list[GateForecast] = []
        for of_turn in self.turns:
            extrapolation = Extrapolation(
                [
                    _with_model(gate, _gate_model(self.spec, self.specs[gate.gate.name], history))
                    for gate in of_turn
                ],
                self.lengths(history.plays),
                self.games,
                policy=retry_policy(self.spec),
                seed=self.spec.seed % 2**32 + more_seed,
            )
            found += (
                extrapolation.full(seeds=seeds or 1)
                if self.full
                else extrapolation.quick(seeds=seeds or SEEDS, calls_max=self.calls_max)
            )
            self.simulated += extrapolation.simulated
        return found

    def of_trial(
        self, trial: TrialHistory, samples: int, episodes: Mapping[tuple[str, str], int]
    ) -> tuple[list[GateForecast], Span]:
        """Returns the forecasts with the wall times of so many samples of a trial, and the calls.

        episodes   (method, game) -> its episodes in the sweep"""
        seed = self.spec.seed % 2**32
        of_samples = [
            self.forecast(trial.sample(stream(seed, "trial", n)), seeds=1, more_seed=n)
            for n in range(samples)
        ]
        calls = [
            sum(_calls_of(gate, method) for gate in of_sample for method in gate.works)
            for of_sample in of_samples
        ]
        forecasts = _with_walls_of(of_samples, self.forecast(trial.whole, seeds=1))
        return forecasts, span(calls, degrees=trial.degrees(episodes))


def _with_walls_of(
    of_samples: Sequence[Sequence[GateForecast]], forecasts: Sequence[GateForecast]
) -> list[GateForecast]:
    """Returns the forecasts with the wall times of those from samples of a trial."""
    return [
        replace(whole, walls_s=tuple(of_sample[number].walls_s[0] for of_sample in of_samples))
        for number, whole in enumerate(forecasts)
    ]


def _episodes_of(gates: Sequence[GateWorkload]) -> dict[tuple[str, str], int]:
    """Returns (method, game) -> its episodes in the sweep."""
    counted: Counter[tuple[str, str]] = Counter()
    for gate in gates:
        for one in gate.methods:
            for plan in one.items:
                counted[one.method, plan.instance.game] += one.copies
    return counted


def _calls_of(forecast: GateForecast, method: str) -> float:
    """Returns the calls of one method's whole sweep, retries included."""
    played = forecast.played[method]
    return forecast.works[method].turns * played.calls / max(1, played.turns)


def _turns(spec: SweepSpec, source: Path, gates: Sequence[GateWorkload]) -> list[list[GateWorkload]]:
    """Returns the gates in the turns that their engines would take on this machine now."""
    turns = engine_turns(spec, {name: Seating((name,)) for name in spec.methods()}, source=source)
    turn_of = {name: number for number, names in enumerate(turns) for name in names}
    divided: list[list[GateWorkload]] = [[] for _ in turns]
    for gate in gates:
        divided[min(turn_of[one.method] for one in gate.methods)].append(gate)
    return [gates for gates in divided if gates]


def _starts_s(turns: Sequence[Sequence[str]], history: StoredHistory) -> float:
    """Returns how long the engines take to start: side by side within a turn."""
    return sum(max((history.starts_s.get(name, 0.0) for name in names), default=0.0) for names in turns)


# --- gates ----------------------------------------------------------------------------------------------


def _gate_workload(
    spec: SweepSpec, sets: Mapping[str, GameSet], gate: GateSpec, history: StoredHistory, source: Path
) -> GateWorkload:
    model = _gate_model(spec, gate, history)
    return GateWorkload(
        gate=SimulatedGate(name=gate.name, limits=model.limits, behaviour=model.behaviour, parts=()),
        methods=tuple(
            method_episodes(spec, sets, name, concurrency=gate.limits.concurrency, source=source)
            for name in gate.methods
        ),
        source=model.source,
    )


def _with_model(known: GateWorkload, model: GateModel) -> GateWorkload:
    return replace(known, gate=replace(known.gate, limits=model.limits, behaviour=model.behaviour))


def _gate_model(spec: SweepSpec, gate: GateSpec, history: StoredHistory) -> GateModel:
    parts = [spec.methods()[name][1] for name in gate.methods]
    behaviours = history.behaviours
    stored = next((behaviours[name] for name in gate.methods if name in behaviours), None)
    return model_gate(gate, parts, stored)


# --- the plan -------------------------------------------------------------------------------------------


def _sweep_plan(
    spec: SweepSpec,
    sets: Mapping[str, GameSet],
    forecasts: Sequence[GateForecast],
    lengths: EpisodeLengths,
    turns: Sequence[Sequence[GateWorkload]],
) -> SweepPlan:
    seeds = max(len(forecast.walls_s) for forecast in forecasts)
    by_gate = {forecast.workload.gate.name: forecast for forecast in forecasts}
    in_turns = [[by_gate[gate.gate.name] for gate in of_turn] for of_turn in turns]
    wall = span([sum(_turn_s(of_turn, seed) for of_turn in in_turns) for seed in range(seeds)])
    by_name = {}
    for of_turn in in_turns:
        turn_s = fmean(_turn_s(of_turn, seed) for seed in range(seeds))
        for forecast in of_turn:
            others_s = max((fmean(other.walls_s) for other in of_turn if other is not forecast), default=0.0)
            for one in forecast.workload.methods:
                by_name[one.method] = _method_plan(forecast, one, lengths, whole_s=turn_s, others_s=others_s)
    methods = tuple(by_name[name] for name in spec.methods())
    longest = max(forecasts, key=lambda forecast: median(forecast.walls_s))
    bottleneck = max(
        (by_name[one.method] for one in longest.workload.methods),
        key=lambda method: (method.wall.value, method.calls),
    )
    costs = [method.cost_usd for method in methods if method.cost_usd is not None]
    return SweepPlan(
        name=spec.name,
        methods=methods,
        episodes=sum(method.episodes for method in methods),
        turns=sum(method.turns for method in methods),
        calls=sum(method.calls for method in methods),
        prompt_tokens=sum(method.prompt_tokens for method in methods),
        reply_tokens=sum(method.reply_tokens for method in methods),
        cost_usd=sum(costs) if costs else None,
        unpriced=tuple(method.method for method in methods if method.cost_usd is None),
        wall=wall,
        bottleneck=bottleneck.method,
        summary=pace_text(bottleneck),
        warnings=(
            *_budget_warnings(spec, methods, wall),
            *_core_warnings(sum(method.calls for method in methods), wall.value),
            *_pair_warnings(spec, sets),
        ),
        scale=max(forecast.scale for forecast in forecasts),
        simulated=0,
        seeds=seeds,
        sessions=spec.audit.sessions,
        gaps_s=(spec.audit.sessions - 1) * spec.audit.gap_s,
        turns_of=tuple(tuple(one.method for gate in of_turn for one in gate.methods) for of_turn in turns),
    )


def _turn_s(forecasts: Sequence[GateForecast], seed: int) -> float:
    """Returns the wall time of a turn under this seed: that of its slowest gate."""
    return max(forecast.walls_s[min(seed, len(forecast.walls_s) - 1)] for forecast in forecasts)


def _method_plan(
    forecast: GateForecast,
    episodes: MethodEpisodes,
    lengths: EpisodeLengths,
    *,
    whole_s: float,
    others_s: float,
) -> MethodPlan:
    """Returns the plan of one method.

    whole_s   wall time of its turn
    others_s  longest wall time of the other gates of its turn"""
    work = forecast.works[episodes.method]
    wall = span(forecast.walls_s)
    calls = round(_calls_of(forecast, episodes.method))
    saved_s = None if forecast.doubled_s is None else max(0.0, wall.value - forecast.doubled_s)
    uses = tuple(
        Use(
            limit=limit,
            allowed=_allowed(forecast.workload.gate, limit),
            share=min(1.0, share),
            saved_s=saved_s if limit == forecast.most else None,
        )
        for limit, share in sorted(forecast.uses.items(), key=lambda pair: -pair[1])
    )
    sources = Counter(lengths.source(episodes.method, episodes.model, plan) for plan in episodes.items)
    return MethodPlan(
        method=episodes.method,
        episodes=len(episodes.items) * episodes.copies,
        turns=work.turns,
        calls=calls,
        retries=calls - work.turns,
        prompt_tokens=work.prompt_tokens,
        reply_tokens=work.reply_tokens,
        cost_usd=episodes.cost_usd(work),
        wall=wall,
        gate=tuple(other.method for other in forecast.workload.methods),
        uses=uses,
        binding=uses[0] if uses[0].share >= BINDING else None,
        saved_s=max(0.0, whole_s - max(others_s, _wall_without(forecast, episodes.method, wall.value))),
        pace_source=forecast.workload.source,
        lengths={source: count / len(episodes.items) for source, count in sources.items()},
        rate=_rate(forecast, episodes.method, wall.value),
    )


def _wall_without(forecast: GateForecast, method: str, wall_s: float) -> float:
    """Returns the gate's time without this method: the work of its other methods at the same rate."""
    limit = forecast.most if forecast.most != IN_FLIGHT else "requests"
    whole = sum(amount(limit, work) for work in forecast.works.values())
    return wall_s * (1.0 - amount(limit, forecast.works[method]) / max(1e-9, whole))


def _allowed(gate: SimulatedGate, limit: str) -> float:
    if limit == IN_FLIGHT:
        return gate.limits.concurrency
    name = next(name for name, words in LIMITS.items() if words == limit)
    allowed: float = getattr(gate.limits, name)
    return allowed


def _rate(forecast: GateForecast, method: str, wall_s: float) -> tuple[float, ...]:
    """Returns calls a minute in STEPS equal steps of the method's time; those of a short play are stretched
    to the whole."""
    played = forecast.played[method]
    if not played.bins:
        return ()
    last_s = max(play.ended_s for play in forecast.played.values()) or 1.0
    steps = [0.0] * STEPS
    for place, calls in played.bins.items():
        steps[min(STEPS - 1, int(STEPS * (place + 0.5) * BIN_S / last_s))] += calls
    ratio = forecast.works[method].turns / max(1, played.turns)
    return tuple(calls * ratio / max(1e-9, wall_s / STEPS / 60.0) for calls in steps)


def span(values: Sequence[float], *, degrees: float = float("inf")) -> Span:
    """Returns the mean and the 80 % prediction interval for one more value (Student's t).

    degrees   of freedom of what the values are samples of, if those are fewer than values"""
    middle = fmean(values)
    if len(values) < 2:
        return Span(value=middle, low=middle, high=middle)
    spread = stdev(values) * (1 + 1 / len(values)) ** 0.5
    reach = float(stats.t.ppf(0.9, min(len(values) - 1, degrees))) * spread
    return Span(value=middle, low=max(0.0, middle - reach), high=middle + reach)


# --- warnings -------------------------------------------------------------------------------------------


def _budget_warnings(spec: SweepSpec, methods: Sequence[MethodPlan], wall: Span) -> Iterator[str]:
    """Yields a warning for each budget that the plan exceeds."""
    yield from _exceeded("the budget", spec.budget, methods, wall.high)
    for method in methods:
        budget = spec.methods()[method.method][1].budget
        if budget is not None:
            yield from _exceeded(f"{method.method}: its budget", budget, (method,), method.wall.high)


def _core_warnings(calls: int, wall_s: float) -> Iterator[str]:
    """Yields a warning if one process cannot send so many calls in this time: its own CPU time is not
    simulated."""
    own_s = calls / CALLS_PER_S
    if own_s > max(1.0, wall_s):
        yield (
            f"one process sends about {CALLS_PER_S:,} calls a second on one core, so it needs at least "
            f"{duration_text(own_s)}; `lightbulb run --workers` uses more cores"
        )


def _exceeded(name: str, budget: BudgetPart, methods: Sequence[MethodPlan], wall_s: float) -> Iterator[str]:
    planned: list[tuple[str, float, float | None]] = [
        ("calls", sum(method.calls for method in methods), budget.calls),
        ("tokens", sum(method.prompt_tokens + method.reply_tokens for method in methods), budget.tokens),
        ("US dollars", sum(method.cost_usd or 0.0 for method in methods), budget.cost_usd),
        ("seconds a run", wall_s, budget.wall_s),
    ]
    for unit, needed, allowed in planned:
        if allowed is not None and needed > allowed:
            share = allowed / needed
            stops = f"{name} of {allowed:,.6g} {unit} stops the sweep at about {share:.0%} of its work"
            yield f"{stops}, because it needs {needed:,.6g}"


def _margin_warnings(
    spec: SweepSpec, sets: Mapping[str, GameSet], spreads: Mapping[str, Spread]
) -> Iterator[str]:
    """Yields a warning for each model whose audit could not say EQUIVALENT of methods that are alike.

    spreads  of the games that were played before; the others' are guessed"""
    items = {game: len(chosen.instances) for game, chosen in sets.items()}
    guessed = ["scores vary as guessed"] if items.keys() - spreads.keys() else []
    for model in spec.references():
        power = margin_power(spec, model, items, spreads=spreads)
        if not power.enough:
            equal = (
                ["repeats at temperature 0 are equal"] if assumes_repeats(spec, model, items, spreads) else []
            )
            assumed = f", if {' and '.join(guessed + equal)}" if guessed or equal else ""
            yield f"{model}: {too_small_text(power)}{assumed}. `lightbulb audit --plan` gives the cost"


def _pair_warnings(spec: SweepSpec, sets: Mapping[str, GameSet]) -> Iterator[str]:
    """Yields a warning for each pair, whose episodes are not simulated."""
    for name, seating in spec.seatings().items():
        if len(seating.methods) > 1:
            count = planned(seating, sets, repeats=spec.repeats)
            yield f"{name}: the plan does not include the {count:,} episodes of this pair"
