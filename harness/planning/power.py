"""Says what the audit of a planned sweep can prove and what that costs, before any call.

Joins a sweep's plan, and a store of earlier episodes if there is one, to the audit room. Its counts of calls,
tokens and dollars are those of `lightbulb plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.access.game_sets import game_sets
from harness.analysis.completeness import replicate_of
from harness.audit.scores.arrays import EpisodeColumns, ScoreArray, score_array
from harness.audit.scores.detection import simulate_detection, with_pilot_range
from harness.audit.scores.power import (
    PlannedGame,
    PowerEstimate,
    Spread,
    estimate_power,
    guessed,
    measured,
    measured_again,
)
from harness.config.episode_plans import GameSet, turn_limits
from harness.config.sweep import SweepSpec
from harness.core.errors import AuditError
from harness.planning.episode_lengths import EpisodeLengths, StoredPlay
from harness.planning.workload import MethodEpisodes, bot_turns, method_episodes, stored_plays
from harness.store.file import open_to_read
from harness.store.planned_plays import play_counts
from harness.store.query_server import Readable
from harness.store.reader import episode_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlingCost:
    """The cost of so many repeats through all methods of a model, both arms of the reference included.

    calls     one a turn: retries are not foreseen
    tokens    of prompts and replies
    cost_usd  of the methods with known prices; None where there is none"""

    repeats: int
    episodes: int
    calls: int
    tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAnalysis:
    """The power analysis of one model of a sweep.

    again     the reference is played in two arms
    planned   cost of the sweep as it stands
    needed    cost of the repeats that settle its margins; None where no number of repeats does
    lengths   in words, where calls and tokens come from
    unpriced  methods whose prices are not known
    repeats_assumed  see `assumes_repeats`"""

    model: str
    reference: str
    again: bool
    methods: tuple[str, ...]
    prospect: PowerEstimate
    planned: SettlingCost
    needed: SettlingCost | None
    lengths: str
    unpriced: tuple[str, ...]
    stops_early: bool
    repeats_assumed: bool


def analyse_power(spec: SweepSpec, *, source: Path, earlier: Path | None) -> tuple[PowerAnalysis, ...]:
    """Returns the power analysis of every model that the sweep reaches through more than one method.

    spec     resolved: with its providers' addresses and defaults
    source   the sweep file, for errors and relative paths
    earlier  a store whose episodes give the spread of scores and the lengths; None: both are guessed
    raises   AuditError if there is no such model, or the store holds no episode; SpecError; StoreError"""
    sets = game_sets(spec, source)
    references = spec.references()
    if not references:
        raise AuditError("an audit compares access methods, and no model of this sweep has two")
    pilot: ScoreArray | None = None
    plays: list[StoredPlay] = []
    if earlier is not None:
        with open_to_read(earlier) as connection:
            pilot, plays = stored_scores(connection), stored_plays(connection)
        if pilot is None:
            raise AuditError(
                f"{earlier}: no block of items in this store is complete yet, so the spread of scores is unknown"
            )
    lengths = EpisodeLengths(plays, bot_turns, turn_limits=turn_limits(sets))
    return tuple(
        _analysis(spec, model, sets, lengths, pilot, source=source, earlier=earlier) for model in references
    )


def stored_scores(connection: Readable) -> ScoreArray | None:
    """Returns the scores of this store's complete blocks, from which `measured` takes their spread; None
    without one."""
    rows = episode_rows(connection).counted(play_counts(connection))
    if not rows.method:
        return None
    method = [
        replicate_of(name) if arm == "again" else name
        for name, arm in zip(rows.method, rows.arm, strict=True)
    ]
    columns = EpisodeColumns(
        method=method,
        game=rows.game,
        item=rows.item,
        repeat=rows.repeat,
        outcome=rows.outcome,
        score=rows.score,
        batch=rows.batch,
    )
    return score_array(columns)


def margin_power(
    spec: SweepSpec,
    model: str,
    items: Mapping[str, int],
    *,
    spreads: Mapping[str, Spread] | None = None,
    spread_source: str = "guessed",
) -> PowerEstimate:
    """Returns what the audit of this model will be able to say.

    items          of each game
    spreads        of the games that were played before; the others' are guessed
    spread_source  where `spreads` come from, in words"""
    known = spreads or {}
    alike = share_alike(spec, model)
    return estimate_power(
        [
            PlannedGame(
                game=game,
                items=count,
                spread=(known.get(game) or guessed(game, greedy=alike == 1)).taken_apart(alike),
                source=spread_source if game in known else "guessed",
            )
            for game, count in items.items()
            if count
        ],
        repeats=spec.repeats,
        methods=len(spec.models[model].methods) - 1,
        margins=margins_of(spec),
        alpha=spec.audit.alpha,
    )


def share_alike(spec: SweepSpec, model: str) -> float:
    """Returns the share of the variance of plays that more repeats leave as it is, where no repeats measured
    it: at temperature 0 a method is assumed to repeat its replies; half if only some methods do."""
    greedy = [part.temperature == 0 for part in spec.models[model].methods.values()]
    return 1.0 if all(greedy) else 0.5 if any(greedy) else 0.0


def assumes_repeats(
    spec: SweepSpec, model: str, items: Mapping[str, int], spreads: Mapping[str, Spread]
) -> bool:
    """Returns whether `margin_power` assumes that repeats at temperature 0 are equal: a method asks for it,
    and no two repeats of some game were measured. Arguments as there."""
    return share_alike(spec, model) > 0 and any(
        game not in spreads or not spreads[game].apart for game in items
    )


def margins_of(spec: SweepSpec) -> dict[str, float]:
    """Returns the margin of each endpoint, the score first."""
    return {"points": spec.audit.margin, "played": spec.audit.margin_played}


def _analysis(
    spec: SweepSpec,
    model: str,
    sets: Mapping[str, GameSet],
    lengths: EpisodeLengths,
    pilot: ScoreArray | None,
    *,
    source: Path,
    earlier: Path | None,
) -> PowerAnalysis:
    names = [name for name, (of, _) in spec.methods().items() if of == model]
    reference = spec.references()[model]
    items = {game: len(chosen.instances) for game, chosen in sets.items()}
    spreads = {} if pilot is None else measured(pilot)
    power = margin_power(spec, model, items, spreads=spreads, spread_source=f"as in {earlier}")
    power = simulate_detection(power, seed=spec.seed)
    if pilot is not None:
        alike = share_alike(spec, model)
        pilots = [
            {game: spread.taken_apart(alike) for game, spread in again.items()}
            for again in measured_again(pilot, seed=spec.seed)
        ]
        power = with_pilot_range(power, pilots, margins_of(spec))
    methods = [method_episodes(spec, sets, name, concurrency=1, source=source) for name in names]
    planned = _cost(methods, lengths, spec.repeats)
    return PowerAnalysis(
        model=model,
        reference=reference,
        again=len(spec.arms(reference)) > 1,
        methods=tuple(names),
        prospect=power,
        planned=planned,
        needed=None if power.needed is None else _at_repeats(planned, power.needed),
        lengths=_lengths_text(methods, lengths, earlier),
        unpriced=tuple(one.method for one in methods if one.access.prices is None),
        stops_early=spec.audit.stop == "early",
        repeats_assumed=assumes_repeats(spec, model, items, spreads),
    )


def _cost(methods: list[MethodEpisodes], lengths: EpisodeLengths, repeats: int) -> SettlingCost:
    works = [one.workload(lengths) for one in methods]
    costs = [one.cost_usd(work) for one, work in zip(methods, works, strict=True)]
    known = [cost for cost in costs if cost is not None]
    return SettlingCost(
        repeats=repeats,
        episodes=sum(len(one.items) * one.copies for one in methods),
        calls=sum(work.turns for work in works),
        tokens=sum(work.prompt_tokens + work.reply_tokens for work in works),
        cost_usd=sum(known) if known else None,
    )


def _at_repeats(cost: SettlingCost, repeats: int) -> SettlingCost:
    """Returns the cost in proportion to the number of repeats."""
    ratio = repeats / cost.repeats
    return replace(
        cost,
        repeats=repeats,
        episodes=cost.episodes // cost.repeats * repeats,
        calls=round(cost.calls * ratio),
        tokens=round(cost.tokens * ratio),
        cost_usd=None if cost.cost_usd is None else cost.cost_usd * ratio,
    )


def _lengths_text(methods: list[MethodEpisodes], lengths: EpisodeLengths, earlier: Path | None) -> str:
    sources = {lengths.source(one.method, one.model, plan) for one in methods for plan in one.items}
    bots = "estimated from the games' own bots, where four characters count as one token"
    if "bots" not in sources:
        return f"as in {earlier}"
    return bots if sources == {"bots"} else f"as in {earlier}; where it has no episode, they are {bots}"


def too_small_text(power: PowerEstimate) -> str:
    """Returns for which margins the sweep is too small, and what would be large enough."""
    if power.needed is not None:
        enough = f"with {power.needed} repeats instead of {power.repeats} it would be large enough"
    else:
        enough = f"no number of repeats is enough: it needs about {power.factor:,.1f} times as many items"
    return f"the sweep is too small for a decision with margins of {margins_text(power)}; {enough}"


def margins_text(power: PowerEstimate) -> str:
    points, played = power.endpoints
    return f"{points.margin:g} points of score and {played.margin:g} percentage points of % played"
