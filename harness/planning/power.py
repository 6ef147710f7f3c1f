"""What a sweep's audit will be able to say and what that costs, before any call.

Joins a sweep's plan, and a store of earlier episodes if there is one, to the audit room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.store_audit import replicate_of
from harness.audit.scores.arrays import EpisodeColumns, score_array
from harness.audit.scores.power import (
    EndpointPower,
    PlannedGame,
    PowerEstimate,
    Spread,
    estimate_power,
    guessed,
    measured,
)
from harness.config.sweep import MethodPart, SweepSpec
from harness.core.errors import AuditError
from harness.store.file import open_to_read
from harness.store.reader import EpisodeRows, GameLength, episode_rows, game_lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlingCost:
    """Of so many repeats through all methods of a model, a second self included.

    tokens    prompts and replies
    cost_usd  of the methods with prices; None where none has"""

    repeats: int
    episodes: int
    calls: int
    tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAnalysis:
    """One model of a sweep.

    planned   the cost of the sweep as it stands; needed: of the repeats that settle its margins, None where repeats do not
    lengths   where calls and tokens come from;  unpriced  methods whose price is not known"""

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


def analyse_power(
    spec: SweepSpec, *, items: Mapping[str, int], lengths: Mapping[str, GameLength], earlier: Path | None
) -> tuple[PowerAnalysis, ...]:
    """A forecast for every model that the sweep reaches in more than one way.

    items    of each game;  lengths  of an episode of each game, where the store of earlier episodes does not know better
    raises   AuditError if there is no such model, or the store holds no episode; StoreError"""
    spreads: Mapping[str, Spread] = {}
    known: Mapping[str, GameLength] = {}
    if earlier is not None:
        with open_to_read(earlier) as connection:
            rows, known = episode_rows(connection), game_lengths(connection)
        if not rows.method:
            raise AuditError(
                f"{earlier}: no episode has ended in this store yet: nothing to take the spread of scores from"
            )
        spreads, lengths = _spreads(rows), {**lengths, **known}
    references = spec.references()
    if not references:
        raise AuditError("an audit compares access methods: no model of this sweep has two")
    counted = earlier is not None and all(game in known for game in items)
    return tuple(
        _outlook(spec, model, reference, items, lengths, spreads, f"as in {earlier}", counted)
        for model, reference in references.items()
    )


def _spreads(rows: EpisodeRows) -> dict[str, Spread]:
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
    return measured(score_array(columns))


def foretold(
    spec: SweepSpec,
    model: str,
    items: Mapping[str, int],
    *,
    spreads: Mapping[str, Spread] | None = None,
    source: str = "guessed",
) -> PowerEstimate:
    """What the audit of this model will be able to say; spreads: of games whose episodes were played, by that source."""
    known = spreads or {}
    parts = spec.models[model].methods.values()
    greedy = all(part.temperature == 0 for part in parts)
    return estimate_power(
        [
            PlannedGame(
                game=game,
                items=count,
                spread=known.get(game) or guessed(game, greedy=greedy),
                source=source if game in known else "guessed",
            )
            for game, count in items.items()
            if count
        ],
        repeats=spec.repeats,
        methods=len(parts) - 1,
        margins={"points": spec.audit.margin, "played": spec.audit.margin_played},
        alpha=spec.audit.alpha,
    )


def _outlook(
    spec: SweepSpec,
    model: str,
    reference: str,
    items: Mapping[str, int],
    lengths: Mapping[str, GameLength],
    spreads: Mapping[str, Spread],
    source: str,
    counted: bool,
) -> PowerAnalysis:
    parts = {name: part for name, (of, part) in spec.methods().items() if of == model}
    found = foretold(spec, model, items, spreads=spreads, source=source)
    plays = {name: len(spec.arms(name)) for name in parts}
    return PowerAnalysis(
        model=model,
        reference=reference,
        again=plays[reference] > 1,
        methods=tuple(parts),
        prospect=found,
        planned=_cost(parts, plays, items, lengths, spec.repeats),
        needed=None if found.needed is None else _cost(parts, plays, items, lengths, found.needed),
        lengths=source if counted else "guessed from the games' own bots, four characters a token",
        unpriced=tuple(name for name, part in parts.items() if not _priced(part)),
        stops_early=spec.audit.stop == "early",
    )


def _priced(part: MethodPart) -> bool:
    return part.price_input_usd_per_mtok is not None and part.price_output_usd_per_mtok is not None


def _cost(
    parts: Mapping[str, MethodPart],
    plays: Mapping[str, int],
    items: Mapping[str, int],
    lengths: Mapping[str, GameLength],
    repeats: int,
) -> SettlingCost:
    def one(what: str) -> float:
        return repeats * sum(
            count * float(getattr(lengths[game], what)) for game, count in items.items() if count
        )

    read, written, passes = one("prompt_tokens"), one("reply_tokens"), sum(plays.values())
    dollars = [
        plays[name] * (read * part.price_input_usd_per_mtok + written * part.price_output_usd_per_mtok) / 1e6
        for name, part in parts.items()
        if part.price_input_usd_per_mtok is not None and part.price_output_usd_per_mtok is not None
    ]
    return SettlingCost(
        repeats=repeats,
        episodes=repeats * sum(items.values()) * passes,
        calls=round(one("calls") * passes),
        tokens=round((read + written) * passes),
        cost_usd=sum(dollars) if dollars else None,
    )


def sentences(found: Sequence[PowerAnalysis]) -> list[str]:
    """The forecasts in words, a warning first where a sweep is too small."""
    return [sentence for one in found for sentence in _sentences(one)]


def _sentences(one: PowerAnalysis) -> list[str]:
    points, played = one.prospect.endpoints
    items = sum(game.items for game in one.prospect.games)
    twice = f", {one.reference} twice" if one.again else ""
    said = [
        f"{one.model}: {len(one.methods)} access methods{twice}, {items} items x {one.planned.repeats}: {_priced_as(one.planned)}.",
        f"It finds differences of {points.found:.1f} points, and proves methods truly alike so within "
        f"{_provable(points)} points and {_provable(played)} % of episodes played, each four times in five.",
    ]
    if one.prospect.enough:
        fewer = ""
        if one.needed is not None and one.needed.repeats < one.planned.repeats:
            fewer = f" {one.needed.repeats} would do: {_priced_as(one.needed)}."
        return [*said, f"Enough for its margins of {_margins(one.prospect)}.{fewer}"]
    cost = "" if one.needed is None else f": {_priced_as(one.needed)}"
    return [*said, f"WARNING: {too_small(one.prospect)}{cost}."]


def too_small(found: PowerEstimate) -> str:
    """For what, and what would settle it."""
    small = f"too small for its margins of {_margins(found)}"
    if found.needed is not None:
        return f"{small}: {found.needed} repeats settle them"
    return f"{small}, and no number of repeats settles them: it takes about {found.factor:.1f} times the items x {found.repeats}"


def _margins(found: PowerEstimate) -> str:
    points, played = found.endpoints
    return f"{points.margin:g} points and {played.margin:g} % played"


def _provable(endpoint: EndpointPower) -> str:
    return f"{max(endpoint.provable, endpoint.floor):.1f}"


def _priced_as(cost: SettlingCost) -> str:
    dollars = "" if cost.cost_usd is None else f", ${cost.cost_usd:,.2f}"
    return f"{cost.episodes:,} episodes, about {cost.calls:,} calls and {_round(cost.tokens)} tokens{dollars}"


def _round(tokens: int) -> str:
    return f"{tokens / 1e6:,.1f} million" if tokens >= 1e6 else f"{tokens:,}"
