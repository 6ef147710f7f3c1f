"""From a sweep file and stores to a plan: wires the parts of this room to games, gates and stores. Spends and
sends nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev

from scipy import stats

from games import GAMES
from harness.access.game_sets import game_sets
from harness.access.gates import GateSpec, group_by_quota
from harness.config.episode_plans import GameSet, planned
from harness.config.sweep import BudgetPart, SweepSpec
from harness.planning.episode_lengths import EpisodeLengths, StoredPlay
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
from harness.planning.latency_fit import TimedCalls, fit_latency
from harness.planning.power import margin_power, too_small_text
from harness.planning.provider_model import StoredBehaviour, model_gate
from harness.planning.results import IN_FLIGHT, MethodPlan, Span, SweepPlan, Use, pace_text
from harness.planning.simulate import BIN_S, SimulatedGate
from harness.planning.workload import MethodEpisodes, bot_turns, method_episodes, stored_plays
from harness.scheduler.call import RetryPolicy
from harness.store.file import open_to_read
from harness.store.plan_queries import ServerRows, servers

STEPS = 60  # of the timeline: one for each minute of an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """The finished plays of stores, and method -> the behaviour of its provider."""

    plays: tuple[StoredPlay, ...]
    behaviours: Mapping[str, StoredBehaviour]


def plan_sweep(
    spec: SweepSpec,
    *,
    source: Path,
    stores: Sequence[Path] = (),
    full: bool = False,
    seeds: int | None = None,
    calls_max: int = CALLS_MAX,
) -> SweepPlan:
    """Returns what the sweep will take.

    spec       resolved: with its providers' addresses and defaults
    source     the sweep file, for errors and relative paths
    stores     their calls give the lengths of episodes and the speeds of servers; a later store comes before
               an earlier one
    full       simulate every call; else a short sweep under proportionally smaller limits
    seeds      number of simulations; None: one for a full plan, else SEEDS
    calls_max  about how many calls a short sweep may simulate in all
    raises     SpecError, StoreError"""
    sets = game_sets(spec, source)
    history = read_history(stores)
    lengths = EpisodeLengths(history.plays, bot_turns)
    gates = [
        _gate_workload(spec, sets, gate, history, source)
        for gate in group_by_quota(spec, spec.methods(), source=source)
    ]
    policy = RetryPolicy(
        tries_max=spec.retry.tries_max, deadline_s=spec.retry.deadline_s, wait_max_s=spec.retry.wait_max_s
    )
    extrapolation = Extrapolation(gates, lengths, GAMES, policy=policy, seed=spec.seed % 2**32)
    forecasts = (
        extrapolation.full(seeds=seeds or 1)
        if full
        else extrapolation.quick(seeds=seeds or SEEDS, calls_max=calls_max)
    )
    return _sweep_plan(spec, sets, forecasts, lengths, simulated=extrapolation.simulated)


# --- what is known beforehand ---------------------------------------------------------------------------


def read_history(stores: Sequence[Path]) -> StoredHistory:
    """Reads what these stores hold; where two know one server, the later store counts."""
    plays: list[StoredPlay] = []
    behaviours: dict[str, StoredBehaviour] = {}
    for store in stores:
        with open_to_read(store) as connection:
            plays += stored_plays(connection)
            for server in servers(connection):
                behaviours |= dict.fromkeys(server.methods, _behaviour(store, server))
    return StoredHistory(plays=tuple(plays), behaviours=behaviours)


def _behaviour(store: Path, rows: ServerRows) -> StoredBehaviour:
    calls = TimedCalls(
        sent_at=rows.sent_at,
        latency_s=rows.latency_s,
        prompt_tokens=rows.prompt_tokens,
        reply_tokens=rows.reply_tokens,
    )
    return StoredBehaviour(store=store.name, fit=fit_latency(calls), failed=rows.failed, quotas=rows.quotas)


def _gate_workload(
    spec: SweepSpec, sets: Mapping[str, GameSet], gate: GateSpec, history: StoredHistory, source: Path
) -> GateWorkload:
    parts = [spec.methods()[name][1] for name in gate.methods]
    behaviours = history.behaviours
    stored = next((behaviours[name] for name in gate.methods if name in behaviours), None)
    model = model_gate(gate, parts, stored)
    return GateWorkload(
        gate=SimulatedGate(name=gate.name, limits=model.limits, behaviour=model.behaviour, parts=()),
        methods=tuple(
            method_episodes(spec, sets, name, concurrency=gate.limits.concurrency, source=source)
            for name in gate.methods
        ),
        source=model.source,
    )


# --- the plan -------------------------------------------------------------------------------------------


def _sweep_plan(
    spec: SweepSpec,
    sets: Mapping[str, GameSet],
    forecasts: Sequence[GateForecast],
    lengths: EpisodeLengths,
    *,
    simulated: int,
) -> SweepPlan:
    seeds = max(len(forecast.walls_s) for forecast in forecasts)
    walls = [
        [forecast.walls_s[min(seed, len(forecast.walls_s) - 1)] for forecast in forecasts]
        for seed in range(seeds)
    ]
    wall = span([max(of_seed) for of_seed in walls])
    by_name = {}
    for forecast in forecasts:
        others_s = max((fmean(other.walls_s) for other in forecasts if other is not forecast), default=0.0)
        for one in forecast.workload.methods:
            by_name[one.method] = _method_plan(forecast, one, lengths, whole_s=wall.value, others_s=others_s)
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
            *_margin_warnings(spec, sets),
            *_pair_warnings(spec, sets),
        ),
        scale=max(forecast.scale for forecast in forecasts),
        simulated=simulated,
        seeds=seeds,
        sessions=spec.audit.sessions,
        gaps_s=(spec.audit.sessions - 1) * spec.audit.gap_s,
    )


def _method_plan(
    forecast: GateForecast,
    episodes: MethodEpisodes,
    lengths: EpisodeLengths,
    *,
    whole_s: float,
    others_s: float,
) -> MethodPlan:
    """Returns the plan of one method.

    whole_s   wall time of the sweep
    others_s  longest wall time of the other gates"""
    work, played = forecast.works[episodes.method], forecast.played[episodes.method]
    wall = span(forecast.walls_s)
    calls = round(work.turns * played.calls / max(1, played.turns))
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


def span(values: Sequence[float]) -> Span:
    """Returns the mean over seeds and the 80 % prediction interval for one more seed (Student's t)."""
    middle = fmean(values)
    if len(values) < 2:
        return Span(value=middle, low=middle, high=middle)
    reach = float(stats.t.ppf(0.9, len(values) - 1)) * stdev(values) * (1 + 1 / len(values)) ** 0.5
    return Span(value=middle, low=max(0.0, middle - reach), high=middle + reach)


# --- warnings -------------------------------------------------------------------------------------------


def _budget_warnings(spec: SweepSpec, methods: Sequence[MethodPlan], wall: Span) -> Iterator[str]:
    """Yields a warning for each budget that the plan exceeds."""
    yield from _exceeded("the budget", spec.budget, methods, wall.high)
    for method in methods:
        budget = spec.methods()[method.method][1].budget
        if budget is not None:
            yield from _exceeded(f"{method.method}: its budget", budget, (method,), method.wall.high)


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
            stops = f"{name} of {allowed:,.6g} {unit} stops the sweep at about {share:.0%}"
            yield f"{stops}: it needs {needed:,.6g}"


def _margin_warnings(spec: SweepSpec, sets: Mapping[str, GameSet]) -> Iterator[str]:
    """Yields a warning for each model whose audit could not say EQUIVALENT of methods that are alike."""
    items = {game: len(chosen.instances) for game, chosen in sets.items()}
    for model in spec.references():
        power = margin_power(spec, model, items)
        if not power.enough:
            yield f"{model}: {too_small_text(power)}; `lightbulb audit --plan` gives the cost"


def _pair_warnings(spec: SweepSpec, sets: Mapping[str, GameSet]) -> Iterator[str]:
    """Yields a warning for each pair, whose episodes are not simulated."""
    for name, seating in spec.seatings().items():
        if len(seating.methods) > 1:
            count = planned(seating, sets, repeats=spec.repeats)
            yield f"{name}: the {count:,} episodes of this pair are not in the plan"
