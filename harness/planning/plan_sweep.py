"""From a sweep file and stores to a plan: wires this room's parts to games, gates and histories. Spends nothing and sends nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, median, stdev

from scipy import stats

from games import GAMES
from games.playthrough import play_by_bots
from harness.access.game_sets import game_sets
from harness.access.gates import GateSpec, group_by_quota
from harness.access.methods import access_method, resolved
from harness.config.episode_plans import GameSet, lane, planned
from harness.config.sweep import BudgetPart, Seating, SweepSpec
from harness.core.vocabulary import EpisodePlan, Instance, Prices
from harness.planning.episode_lengths import CHARACTERS_A_TOKEN, Shapes, StoredPlay, TurnSize
from harness.planning.extrapolate import (
    BINDING,
    CALLS_MAX,
    IN_FLIGHT,
    LIMITS,
    SEEDS,
    Demand,
    Forecast,
    GateForecast,
    GateWorkload,
    MethodWorkload,
)
from harness.planning.latency_fit import TimedCalls, fit
from harness.planning.power import foretold, too_small
from harness.planning.provider_model import StoredBehaviour, model_gate
from harness.planning.results import MethodPlan, Span, SweepPlan, Use
from harness.planning.simulate import BIN_S, SimulatedGate
from harness.scheduler.call import RetryPolicy
from harness.store.file import open_to_read
from harness.store.plan_queries import PlayRow, ServerRows, plays, servers

STEPS = 60  # of the timeline
SKILL = 0.7  # of the bots whose plays stand for a model's: better than most models, so that episodes are rather long than short


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the stores tell."""

    plays: tuple[StoredPlay, ...]
    known: Mapping[str, StoredBehaviour]


def plan_sweep(
    spec: SweepSpec,
    *,
    source: Path,
    stores: Sequence[Path] = (),
    full: bool = False,
    seeds: int | None = None,
    calls_max: int = CALLS_MAX,
) -> SweepPlan:
    """What the sweep will take.

    source   the sweep file, for errors and relative paths
    stores   whose calls say how long replies and episodes are and how quick servers were, the later ones first
    full     every call is simulated; else a short sweep under limits as much smaller as it takes
    calls_max  that a short sweep may simulate in all, about
    raises   SpecError, StoreError"""
    spec = resolved(spec, source=source)
    sets = game_sets(spec, source)
    history = read_history(stores)
    shapes = Shapes(history.plays, lengths_by_bots)
    doors = group_by_quota(spec, spec.methods(), source=source)
    scenes = [_scene(spec, sets, door, history, source) for door in doors]
    policy = RetryPolicy(
        tries_max=spec.retry.tries_max, deadline_s=spec.retry.deadline_s, wait_max_s=spec.retry.wait_max_s
    )
    forecast = Forecast(scenes, shapes, GAMES, policy=policy, seed=spec.seed % 2**32)
    told = (
        forecast.full(seeds=seeds or 1) if full else forecast.quick(seeds=seeds or SEEDS, calls_max=calls_max)
    )
    return _answer(spec, sets, told, shapes, simulated=forecast.simulated)


# --- what is known beforehand -------------------------------------------------------------------------------------------------


def lengths_by_bots(instance: Instance, rules: str, chance: Random) -> list[TurnSize]:
    """One play by the game's own bots, in tokens as a rule of thumb has them."""
    play = play_by_bots(GAMES[instance.game], instance, rules, skill=SKILL, chance=chance)
    return [
        TurnSize(
            seat=ask.seat,
            prompt_tokens=sum(_tokens(message.text) for message in ask.messages),
            reply_tokens=_tokens(reply),
        )
        for ask, reply in zip(play.asks, play.replies, strict=True)
    ]


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_A_TOKEN)


def read_history(stores: Sequence[Path]) -> History:
    """What these stores hold, the later ones before the earlier where both know a server."""
    rows: list[PlayRow] = []
    known: dict[str, StoredBehaviour] = {}
    for store in stores:
        with open_to_read(store) as connection:
            rows += plays(connection)
            for server in servers(connection):
                known |= dict.fromkeys(server.methods, _known(store, server))
    return History(plays=tuple(map(_stored_play, rows)), known=known)


def _known(store: Path, rows: ServerRows) -> StoredBehaviour:
    calls = TimedCalls(
        sent_at=rows.sent_at,
        latency_s=rows.latency_s,
        prompt_tokens=rows.prompt_tokens,
        reply_tokens=rows.reply_tokens,
    )
    return StoredBehaviour(store=store.name, fit=fit(calls), failed=rows.failed, quotas=rows.quotas)


def _stored_play(row: PlayRow) -> StoredPlay:
    return StoredPlay(
        method=row.method,
        model=row.model,
        game=row.game,
        experiment=row.experiment,
        item=row.item,
        sizes=tuple(
            TurnSize(seat=seat, prompt_tokens=taken, reply_tokens=given)
            for seat, taken, given in zip(row.seats, row.prompt_tokens, row.reply_tokens, strict=True)
        ),
    )


def _scene(
    spec: SweepSpec, sets: Mapping[str, GameSet], door: GateSpec, history: History, source: Path
) -> GateWorkload:
    parts = [spec.methods()[name][1] for name in door.methods]
    known = next((history.known[name] for name in door.methods if name in history.known), None)
    role = model_gate(door, parts, known)

    def script(name: str) -> MethodWorkload:
        model, part = spec.methods()[name]
        address = part.base_url or ""
        access = access_method(
            name, model, part, None, address, concurrency=door.limits.concurrency, source=source
        )
        items = [
            EpisodePlan(instance=one, rules=chosen.rules, seating=(name,) * chosen.seats)
            for chosen in sets.values()
            for one in chosen.instances
        ]
        copies = spec.repeats * len(spec.arms(name))
        return MethodWorkload(access=access, items=items, plans=_plans(spec, sets, name), copies=copies)

    group = SimulatedGate(name=door.name, limits=role.limits, behaviour=role.behaviour, parts=())
    return GateWorkload(group=group, scripts=tuple(map(script, door.methods)), source=role.source)


def _plans(spec: SweepSpec, sets: Mapping[str, GameSet], name: str) -> Callable[[], Iterator[EpisodePlan]]:
    return lambda: lane(
        Seating((name,)), sets, repeats=spec.repeats, seed=spec.seed, stored=(), arms=spec.arms(name)
    )


# --- the answer ---------------------------------------------------------------------------------------------------------------


def _answer(
    spec: SweepSpec,
    sets: Mapping[str, GameSet],
    told: Sequence[GateForecast],
    shapes: Shapes,
    *,
    simulated: int,
) -> SweepPlan:
    seeds = max(len(one.walls_s) for one in told)
    walls = [[one.walls_s[min(seed, len(one.walls_s) - 1)] for one in told] for seed in range(seeds)]
    wall = span([max(of_seed) for of_seed in walls])
    longest = max(told, key=lambda one: median(one.walls_s))
    methods = tuple(
        _method(
            one,
            script,
            shapes,
            whole_s=wall.value,
            others_s=_longest([other for other in told if other is not one]),
        )
        for one in told
        for script in one.scene.scripts
    )
    by_name = {method.method: method for method in methods}
    in_order = tuple(by_name[name] for name in spec.methods())
    bottleneck = max(
        (by_name[script.method] for script in longest.scene.scripts),
        key=lambda method: (method.wall.value, method.calls),
    )
    costs = [method.cost_usd for method in in_order if method.cost_usd is not None]
    return SweepPlan(
        name=spec.name,
        methods=in_order,
        episodes=sum(method.episodes for method in in_order),
        turns=sum(method.turns for method in in_order),
        calls=sum(method.calls for method in in_order),
        prompt_tokens=sum(method.prompt_tokens for method in in_order),
        reply_tokens=sum(method.reply_tokens for method in in_order),
        cost_usd=sum(costs) if costs else None,
        unpriced=tuple(method.method for method in in_order if method.cost_usd is None),
        wall=wall,
        bottleneck=bottleneck.method,
        summary=in_words(bottleneck),
        warnings=(
            *_budget_warnings(spec, in_order, wall),
            *_margin_warnings(spec, sets),
            *_pair_warnings(spec, sets),
        ),
        scale=max(one.scale for one in told),
        simulated=simulated,
        seeds=seeds,
    )


def _longest(told: Sequence[GateForecast]) -> float:
    return max((fmean(one.walls_s) for one in told), default=0.0)


def _method(
    one: GateForecast, script: MethodWorkload, shapes: Shapes, *, whole_s: float, others_s: float
) -> MethodPlan:
    work, played = one.works[script.method], one.played[script.method]
    wall = span(one.walls_s)
    per_turn = played.calls / max(1, played.turns)
    calls = round(work.turns * per_turn)
    saved_s = None if one.doubled_s is None else max(0.0, wall.value - one.doubled_s)
    uses = tuple(
        Use(
            limit=limit,
            allowed=_allowed(one.scene.group, limit),
            share=min(1.0, share),
            saved_s=saved_s if limit == one.most else None,
        )
        for limit, share in sorted(one.uses.items(), key=lambda pair: -pair[1])
    )
    sources = Counter(shapes.source(script.method, script.model, plan) for plan in script.items)
    prices = script.access.prices
    return MethodPlan(
        method=script.method,
        episodes=len(script.items) * script.copies,
        turns=work.turns,
        calls=calls,
        retries=calls - work.turns,
        prompt_tokens=work.prompt_tokens,
        reply_tokens=work.reply_tokens,
        cost_usd=None if prices is None else _cost_usd(prices, work),
        wall=wall,
        gate=tuple(other.method for other in one.scene.scripts),
        uses=uses,
        binding=uses[0] if uses[0].share >= BINDING else None,
        saved_s=max(0.0, whole_s - max(others_s, _without(one, script, wall.value))),
        pace_source=one.scene.source,
        lengths={source: count / len(script.items) for source, count in sources.items()},
        rate=_rate(one, script, wall.value),
    )


def _without(one: GateForecast, script: MethodWorkload, wall_s: float) -> float:
    """The gate's time without this method: what the others at the gate ask for, at the same pace."""
    unit = one.most if one.most != IN_FLIGHT else "requests"
    whole = sum(work.spent(unit) for work in one.works.values())
    return wall_s * (1.0 - one.works[script.method].spent(unit) / max(1e-9, whole))


def _allowed(group: SimulatedGate, limit: str) -> float:
    if limit == IN_FLIGHT:
        return group.limits.concurrency
    name = next(name for name, words in LIMITS.items() if words == limit)
    allowed: float = getattr(group.limits, name)
    return allowed


def _cost_usd(prices: Prices, work: Demand) -> float:
    cost = prices.cost_usd(
        prompt_tokens=work.prompt_tokens, cached_tokens=None, completion_tokens=work.reply_tokens
    )
    assert cost is not None
    return cost


def _rate(one: GateForecast, script: MethodWorkload, wall_s: float) -> tuple[float, ...]:
    """Calls a minute in STEPS equal steps of the method's time; a short play's course is stretched to the whole's."""
    played = one.played[script.method]
    if not played.bins:
        return ()
    last = max(other.ended_s for other in one.played.values()) or 1.0
    steps = [0.0] * STEPS
    for place, calls in played.bins.items():
        steps[min(STEPS - 1, int(STEPS * (place + 0.5) * BIN_S / last))] += calls
    whole = one.works[script.method].turns / max(1, played.turns)
    return tuple(calls * whole / max(1e-9, wall_s / STEPS / 60.0) for calls in steps)


def span(values: Sequence[float]) -> Span:
    """The middle of several seeds' values and the interval that holds four further ones of five."""
    middle = fmean(values)
    if len(values) < 2:
        return Span(value=middle, low=middle, high=middle)
    reach = float(stats.t.ppf(0.9, len(values) - 1)) * stdev(values) * (1 + 1 / len(values)) ** 0.5
    return Span(value=middle, low=max(0.0, middle - reach), high=middle + reach)


def in_words(method: MethodPlan) -> str:
    """What sets this method's pace, as one clause: "m/groq: output tokens a minute; 41 minutes; twice the quota would save 20"."""
    took = minutes(method.wall.value)
    if method.binding is None:
        return f"{method.method}: the length of its episodes; {took}; no limit is used to {BINDING:.0%}"
    use = method.binding
    words = use.limit if use.limit == IN_FLIGHT else f"{use.limit} a minute"
    said = f"{method.method}: {use.allowed:,.0f} {words}; {took}"
    if use.saved_s is None:
        return said
    return f"{said}; twice {'as many' if use.limit == IN_FLIGHT else 'the quota'} would save {minutes(use.saved_s)}"


def minutes(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 9.95:
        return f"{seconds:.1f} seconds"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def _budget_warnings(spec: SweepSpec, methods: Sequence[MethodPlan], wall: Span) -> Iterator[str]:
    """Where what is planned is more than what may be spent."""
    yield from _overspent("the budget", spec.budget, methods, wall.high)
    for method in methods:
        budget = spec.methods()[method.method][1].budget
        if budget is not None:
            yield from _overspent(f"{method.method}: its budget", budget, (method,), method.wall.high)


def _overspent(whose: str, budget: BudgetPart, methods: Sequence[MethodPlan], wall_s: float) -> Iterator[str]:
    planned: list[tuple[str, float, float | None]] = [
        ("calls", sum(method.calls for method in methods), budget.calls),
        ("tokens", sum(method.prompt_tokens + method.reply_tokens for method in methods), budget.tokens),
        ("US dollars", sum(method.cost_usd or 0.0 for method in methods), budget.cost_usd),
        ("seconds a run", wall_s, budget.wall_s),
    ]
    for what, needed, allowed in planned:
        if allowed is not None and needed > allowed:
            yield f"{whose} of {allowed:,.6g} {what} stops the sweep at about {allowed / needed:.0%}: it needs {needed:,.6g}"


def _margin_warnings(spec: SweepSpec, sets: Mapping[str, GameSet]) -> Iterator[str]:
    """Where the audit could not say "equivalent" of methods that are."""
    items = {game: len(chosen.instances) for game, chosen in sets.items()}
    for model in spec.references():
        found = foretold(spec, model, items)
        if not found.enough:
            yield f"{model}: {too_small(found)}; `lightbulb audit --plan` says what that costs"


def _pair_warnings(spec: SweepSpec, sets: Mapping[str, GameSet]) -> Iterator[str]:
    """Cross-play is not simulated: its episodes are told, what they take is not."""
    for name, seating in spec.seatings().items():
        if len(seating.methods) > 1:
            yield f"{name}: the {planned(seating, sets, repeats=spec.repeats):,} episodes of this pair are not in the plan"
