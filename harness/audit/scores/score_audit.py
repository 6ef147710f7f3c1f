"""The audit of scores, end to end: an array in, one frozen Audit out.

Knows the order of questions; every estimate, test and word has its own file.
Keeps: all methods are judged by the same margins, seed and support; the reference's second self is reported, never counted among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from scipy import stats

from harness.audit import verdicts
from harness.audit.scores.arrays import (
    ABORTED,
    FAILED,
    SUCCESS,
    BoolArray,
    FloatArray,
    GameScores,
    ScoreArray,
)
from harness.audit.scores.clemscore import (
    ClemscoreDifference,
    MethodFigures,
    common_support,
    method_figures,
    supported_difference,
)
from harness.audit.scores.contrasts import (
    ENDPOINTS,
    PairedGame,
    batch_differences,
    batch_p,
    discordance,
    pair,
    split,
)
from harness.audit.scores.findings import Audit, Comparison, Estimate, GameFinding, ItemFinding, Missing
from harness.audit.scores.intervals import (
    POINTS_MAX,
    Strata,
    equivalence_interval,
    equivalence_p,
    hidden_bound,
    strata,
    t_interval,
    total,
)
from harness.audit.scores.pairs import compare_all_pairs
from harness.audit.scores.sample_size import NoiseLevel, Question, SampleSizePlan, noise_of, plan
from harness.audit.scores.sign_flips import DRAWS, SignFlipResult, sign_flip_test
from harness.audit.scores.variance import (
    SelfAgreement,
    VarianceParts,
    complete_items,
    self_agreement,
    split_variance,
)
from harness.audit.verdicts import Verdict
from harness.core.errors import AuditError

FURTHEST = 40  # items shown by themselves
MISSING_SHARE = 0.01  # more failed episodes than this and the missing ones are imagined at both extremes
UNEVEN_ALPHA = 0.05  # failure rates that differ at this level are not chance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """What was decided before looking."""

    margins: Mapping[str, float]
    margin_game: float
    alpha: float
    seed: int
    draws: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """Everything computed for all contrasts at once; the first axis of arrays is the contrast.

    contrasts  the methods compared, the reference's second self last if there is one
    methods    how many of them count
    p_difference, p_equivalence_holm  after Holm for those that count, as they are for the second self"""

    scores: ScoreArray
    reference: str
    contrasts: tuple[str, ...]
    methods: int
    rules: _Rules
    games: tuple[PairedGame, ...]
    parts: Mapping[str, Strata]
    flips: SignFlipResult
    p_equivalence: Mapping[str, FloatArray]
    p_batches: tuple[float | None, ...]
    p_difference: tuple[float, ...]
    p_equivalence_holm: tuple[float, ...]


def audit(
    scores: ScoreArray,
    reference: str,
    *,
    again: str | None = None,
    margin: float = 3.0,
    margin_played: float = 5.0,
    margin_game: float = 10.0,
    alpha: float = 0.05,
    seed: int,
    draws: int = DRAWS,
) -> Audit:
    """Compares every method with the reference and says what can be said.

    again   the name under which the reference was played a second time; None if it was not
    margin  points of difference that do not matter; margin_played: percent of episodes played; margin_game: points in a single game
    raises  AuditError if there is nothing to compare, or a method shares no finished item with the reference"""
    methods = tuple(name for name in scores.methods if name not in (reference, again))
    if not methods:
        raise AuditError(f"An audit compares access methods: there are no episodes of any but {reference!r}.")
    rules = _Rules(
        margins={"points": margin, "played": margin_played},
        margin_game=margin_game,
        alpha=alpha,
        seed=seed,
        draws=draws,
    )
    contrasts = (*methods, again) if again is not None else methods
    support = common_support(scores, (reference, *methods))
    figures = {name: method_figures(scores, name, support, alpha) for name in (reference, *contrasts)}
    evidence = _gather(scores, reference, contrasts, len(methods), rules)
    compared = tuple(
        _comparison(evidence, index, _clemscore_difference(evidence, index, support, figures))
        for index in range(len(contrasts))
    )
    twin = _twin(compared[-1]) if again is not None else None
    return Audit(
        reference=reference,
        alpha=alpha,
        margin=margin,
        margin_played=margin_played,
        margin_game=margin_game,
        seed=seed,
        draws=draws,
        repeats=scores.repeats,
        batches=len(set(scores.batches)),
        methods=tuple(figures.values()),
        comparisons=_with_missing(evidence, compared[: len(methods)]),
        again=twin,
        calibrated=twin is None or twin.p_joint >= verdicts.CALIBRATION_ALPHA,
        support=tuple(game.game for game, inside in zip(scores.games, support, strict=True) if inside),
        unsupported=tuple(
            game.game for game, inside in zip(scores.games, support, strict=True) if not inside
        ),
        spread=_spread(scores, (reference, *methods)),
        pairs=compare_all_pairs(scores, (reference, *methods), seed),
    )


def _gather(
    scores: ScoreArray, reference: str, contrasts: tuple[str, ...], methods: int, rules: _Rules
) -> _Evidence:
    games = pair(scores, reference, contrasts)
    shared = [game.shared for game in games]
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    parts = {
        endpoint: strata(values, shared) for endpoint, values in zip(ENDPOINTS, differences, strict=True)
    }
    batches = [batch_differences(scores, reference, contrasts, endpoint) for endpoint in ENDPOINTS]
    flips = sign_flip_test(differences, shared, [game.game for game in games], rules.seed, rules.draws)
    p_equivalence = {
        endpoint: equivalence_p(parts[endpoint], rules.margins[endpoint]) for endpoint in ENDPOINTS
    }
    return _Evidence(
        scores=scores,
        reference=reference,
        contrasts=contrasts,
        methods=methods,
        rules=rules,
        games=games,
        parts=parts,
        flips=flips,
        p_equivalence=p_equivalence,
        p_batches=tuple(batch_p(points, played) for points, played in zip(*batches, strict=True)),
        p_difference=_holm_first(flips.joint, methods),
        p_equivalence_holm=_holm_first(np.maximum(p_equivalence["points"], p_equivalence["played"]), methods),
    )


def _holm_first(p: FloatArray, methods: int) -> tuple[float, ...]:
    """Holm over the first `methods`, the rest as they are."""
    values: list[float] = p.tolist()
    return (*verdicts.holm(values[:methods]), *values[methods:])


def _beyond(evidence: _Evidence, index: int) -> BoolArray:
    """Games whose points differ for sure and by more than one game may, (games,)."""
    mean = evidence.parts["points"].mean[index]
    sure = evidence.flips.adjusted[index, 0, 1:] <= evidence.rules.alpha
    return np.asarray(sure & (np.abs(mean) > evidence.rules.margin_game), dtype=np.bool_)


def _verdict(evidence: _Evidence, index: int) -> Verdict:
    return verdicts.decide(
        p_difference=evidence.p_difference[index],
        p_equivalence=evidence.p_equivalence_holm[index],
        alpha=evidence.rules.alpha,
        game_beyond=bool(_beyond(evidence, index).any()),
    )


def _comparison(evidence: _Evidence, index: int, clemscore: ClemscoreDifference) -> Comparison:
    points, played = (_estimate(evidence, endpoint, index) for endpoint in ENDPOINTS)
    games = tuple(
        _game(evidence, index, g) for g in range(len(evidence.games)) if evidence.games[g].shared[index].any()
    )
    items = sum(game.items for game in games)
    verdict, p_batches = _verdict(evidence, index), evidence.p_batches[index]
    of_method = p_batches is not None and (verdict != "DIFFERENT" or p_batches <= evidence.rules.alpha)
    found = Comparison(
        method=evidence.contrasts[index],
        items=items,
        items_dropped=_items_dropped(evidence, index, items),
        repeats=evidence.scores.repeats,
        points=points,
        played=played,
        clemscore=clemscore,
        games=games,
        p_joint=float(evidence.flips.joint[index]),
        p_difference=evidence.p_difference[index],
        p_equivalence=max(points.p_equivalence, played.p_equivalence),
        p_equivalence_holm=evidence.p_equivalence_holm[index],
        p_batches=p_batches,
        agreement=_agreement(evidence, index),
        repeats_effective=_repeats_effective(evidence, index),
        furthest=_furthest(evidence, index),
        verdict=verdict,
        label=verdicts.label(
            verdict, margin=points.margin, low=points.low, high=points.high, missing_data=False
        ),
        scope="the access method" if of_method else "these runs",
        sentence="",
        plan=_plan(evidence, index, items) if verdict == "INCONCLUSIVE" else None,
        missing=None,
    )
    return replace(found, sentence=_sentence(evidence, found))


def _estimate(evidence: _Evidence, endpoint: str, index: int) -> Estimate:
    parts, alpha = evidence.parts[endpoint].only(index), evidence.rules.alpha
    whole = total(parts)
    low, high = t_interval(whole, 1 - alpha)
    if whole.se[0] == 0:
        low, high = equivalence_interval(parts, alpha / 2)
    equivalence_low, equivalence_high = equivalence_interval(parts, alpha)
    open_low, open_high = equivalence_interval(parts, alpha / 2 / evidence.methods)
    return Estimate(
        difference=float(whole.estimate[0]),
        se=float(whole.se[0]),
        df=float(whole.df[0]),
        low=_cut(float(low[0])),
        high=_cut(float(high[0])),
        equivalence_low=_cut(float(equivalence_low[0])),
        equivalence_high=_cut(float(equivalence_high[0])),
        open_low=_cut(float(open_low[0])),
        open_high=_cut(float(open_high[0])),
        hidden=float(hidden_bound(parts, np.array([alpha]))[0, 0]),
        margin=evidence.rules.margins[endpoint],
        p=float(evidence.flips.adjusted[index, ENDPOINTS.index(endpoint), 0]),
        p_equivalence=float(evidence.p_equivalence[endpoint][index]),
    )


def _cut(difference: float) -> float:
    """No difference exceeds the scale."""
    return min(POINTS_MAX, max(-POINTS_MAX, difference))


def _game(evidence: _Evidence, index: int, g: int) -> GameFinding:
    game = evidence.games[g]
    shared = game.shared[index]
    low, high = _game_interval(evidence, index, g)
    points_a, points_b = (
        float(game.points_a[index, shared].mean()),
        float(game.points_b[index, shared].mean()),
    )
    played_a, played_b = (
        float(game.played_a[index, shared].mean()),
        float(game.played_b[index, shared].mean()),
    )
    parts = split(points_a, points_b, played_a, played_b)
    a, b, cells = *_places(evidence, index), evidence.scores.games[g]
    once = evidence.scores.repeats == 1
    return GameFinding(
        game=game.game,
        items=int(shared.sum()),
        difference=float(evidence.parts["points"].mean[index, g]),
        low=low,
        high=high,
        p_points=float(evidence.flips.adjusted[index, 0, 1 + g]),
        p_played=float(evidence.flips.adjusted[index, 1, 1 + g]),
        form=parts.form,
        play=parts.play,
        played_reference=100 * played_a,
        played_method=100 * played_b,
        quality_reference=points_a / played_a if played_a > 0 else None,
        quality_method=points_b / played_b if played_b > 0 else None,
        beyond=bool(_beyond(evidence, index)[g]),
        played_discordance=discordance(cells.played[a], cells.played[b]) if once else None,
        success_discordance=discordance(cells.succeeded[a], cells.succeeded[b]) if once else None,
    )


def _game_interval(evidence: _Evidence, index: int, g: int) -> tuple[float, float]:
    """Student's interval of one game's difference; as far as what may hide there when its items are all alike."""
    alone = replace(evidence.parts["points"].only(index), weight=np.eye(len(evidence.games))[[g]])
    whole = total(alone)
    low, high = (
        t_interval(whole, 1 - evidence.rules.alpha)
        if whole.se[0] > 0
        else equivalence_interval(alone, evidence.rules.alpha / 2)
    )
    return _cut(float(low[0])), _cut(float(high[0]))


def _places(evidence: _Evidence, index: int) -> tuple[int, int]:
    """Where the reference and the contrast's method stand in the score array."""
    return evidence.scores.index(evidence.reference), evidence.scores.index(evidence.contrasts[index])


def _clemscore_difference(
    evidence: _Evidence, index: int, support: BoolArray, figures: Mapping[str, MethodFigures]
) -> ClemscoreDifference:
    a, b = (figures[name].clemscore.value for name in (evidence.reference, evidence.contrasts[index]))
    supported = supported_difference(evidence.games, index, support, evidence.rules.alpha)
    return ClemscoreDifference(
        published=None if a is None or b is None else b - a,
        supported=supported[0] if supported else None,
        low=supported[1] if supported else None,
        high=supported[2] if supported else None,
    )


def _agreement(evidence: _Evidence, index: int) -> SelfAgreement | None:
    a, b = _places(evidence, index)
    points = [game.points for game in evidence.scores.games]
    return self_agreement([game[a] for game in points], [game[b] for game in points], evidence.rules.alpha)


def _repeats_effective(evidence: _Evidence, index: int) -> float | None:
    """R / (1 + (R - 1) rho), rho how alike the repeats of one item's difference are: 1 where another repeat tells nothing new."""
    noise = _noise(evidence, "points", index)
    if noise is None:
        return None
    whole = noise.items + noise.chance
    alike = noise.items / whole if whole > 0 else 1.0
    return evidence.scores.repeats / (1 + (evidence.scores.repeats - 1) * alike)


def _noise(evidence: _Evidence, endpoint: str, index: int) -> NoiseLevel | None:
    a, b = _places(evidence, index)
    values = [game.points if endpoint == "points" else 100 * game.played for game in evidence.scores.games]
    return noise_of(
        [game[a] for game in values], [game[b] for game in values], evidence.parts[endpoint].only(index)
    )


def _furthest(evidence: _Evidence, index: int) -> tuple[ItemFinding, ...]:
    moved: list[tuple[float, int, int]] = []
    for g, game in enumerate(evidence.games):
        difference = game.difference("points")[index]
        moved += [(float(difference[i]), g, int(i)) for i in np.flatnonzero(difference)]
    moved = sorted(sorted(moved, key=lambda one: -abs(one[0]))[:FURTHEST])
    return tuple(_item(evidence, index, g, i) for _, g, i in moved)


def _item(evidence: _Evidence, index: int, g: int, i: int) -> ItemFinding:
    game = evidence.games[g]
    return ItemFinding(
        label=evidence.scores.games[g].items[i],
        reference=float(game.points_a[index, i]),
        method=float(game.points_b[index, i]),
        played_reference=float(game.played_a[index, i]),
        played_method=float(game.played_b[index, i]),
    )


def _items_dropped(evidence: _Evidence, index: int, items: int) -> int:
    either = list(_places(evidence, index))
    return sum(int(game.finished[either].any(axis=(0, 2)).sum()) for game in evidence.scores.games) - items


def _mostly(games: Sequence[GameFinding], alpha: float) -> tuple[str, str, float]:
    """The game and part that moved most points, among the games that differ for sure if there are any."""
    sure = [game for game in games if min(game.p_points, game.p_played) <= alpha] or games
    parts = [
        (game.game, name, value)
        for game in sure
        for name, value in (("form", game.form), ("play", game.play))
    ]
    return max(parts, key=lambda part: abs(part[2]))


def _plan(evidence: _Evidence, index: int, items: int) -> SampleSizePlan:
    (a, b), scores = _places(evidence, index), evidence.scores
    questions = [
        Question(
            parts=evidence.parts[endpoint].only(index),
            noise=_noise(evidence, endpoint, index),
            margin=evidence.rules.margins[endpoint],
        )
        for endpoint in ENDPOINTS
    ]
    calls, cost = (
        float(values[a] + values[b]) for values in (scores.calls_per_episode, scores.cost_per_episode_usd)
    )
    return plan(
        questions,
        repeats=scores.repeats,
        items=items,
        alpha=evidence.rules.alpha / evidence.methods,
        calls=calls if isfinite(calls) else None,
        cost_usd=cost if isfinite(cost) else None,
    )


def _sentence(evidence: _Evidence, found: Comparison) -> str:
    points, alpha = found.points, evidence.rules.alpha
    if found.verdict == "DIFFERENT":
        return verdicts.different(
            method=found.method,
            reference=evidence.reference,
            difference=points.difference,
            low=points.low,
            high=points.high,
            items=found.items,
            repeats=found.repeats,
            p=found.p_difference,
            methods=evidence.methods,
            mostly=_mostly(found.games, alpha),
            scope=found.scope,
        )
    if found.verdict == "EQUIVALENT":
        return verdicts.equivalent(
            method=found.method,
            reference=evidence.reference,
            margin=points.margin,
            difference=points.difference,
            level=100 * (1 - 2 * alpha),
            low=points.equivalence_low,
            high=points.equivalence_high,
            p_detectable=found.p_difference if found.p_difference <= alpha else None,
            scope=found.scope,
        )
    assert found.plan is not None
    unsettled = found.played if max(-points.open_low, points.open_high) < points.margin else points
    return verdicts.inconclusive(
        method=found.method,
        reference=evidence.reference,
        unit="points" if unsettled is points else "percent of episodes played",
        low=unsettled.open_low,
        high=unsettled.open_high,
        margin=unsettled.margin,
        repeats=found.repeats,
        plan=found.plan,
        margin_smallest=found.plan.margins_smallest[0 if unsettled is points else 1],
        scope=found.scope,
    )


def _with_missing(evidence: _Evidence, compared: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
    """The comparisons with what failed episodes may have hidden, where they are many or uneven."""
    uneven = [_p_uneven(evidence, index) for index in range(len(compared))]
    if all(p is None for p in uneven):
        return compared
    worst, best = (
        _gather(
            _imagined(evidence.scores, evidence.reference, best=lucky),
            evidence.reference,
            evidence.contrasts[: len(compared)],
            evidence.methods,
            evidence.rules,
        )
        for lucky in (False, True)
    )
    return tuple(
        comparison if p is None else _judged_with(evidence, comparison, index, p, worst, best)
        for index, (comparison, p) in enumerate(zip(compared, uneven, strict=True))
    )


def _failures(scores: ScoreArray, method: str) -> tuple[int, int]:
    """Failed and finished episodes of a method."""
    m = scores.index(method)
    return sum(int(game.failed[m].sum()) for game in scores.games), sum(
        int(game.finished[m].sum()) for game in scores.games
    )


def _p_uneven(evidence: _Evidence, index: int) -> float | None:
    """Fisher's p of equal failure rates; None where failures are few and even."""
    a, b = (_failures(evidence.scores, name) for name in (evidence.reference, evidence.contrasts[index]))
    p = float(stats.fisher_exact([a, b]).pvalue)
    few = all(failed <= MISSING_SHARE * (failed + finished) for failed, finished in (a, b))
    return None if few and p >= UNEVEN_ALPHA else p


def _imagined(scores: ScoreArray, reference: str, *, best: bool) -> ScoreArray:
    """The scores had every failed episode ended best (or worst) for the methods and worst (or best) for the reference."""
    lucky = np.full(len(scores.methods), best)
    lucky[scores.index(reference)] = not best
    outcome = np.where(lucky, SUCCESS, ABORTED).astype(np.int8)[:, None, None]
    score = np.where(lucky, POINTS_MAX, np.nan)[:, None, None]
    games = tuple(
        GameScores(
            game=game.game,
            items=game.items,
            outcome=np.where(game.outcome == FAILED, outcome, game.outcome),
            score=np.where(game.outcome == FAILED, score, game.score),
        )
        for game in scores.games
    )
    return replace(scores, games=games)


def _judged_with(
    evidence: _Evidence,
    comparison: Comparison,
    index: int,
    p_uneven: float,
    worst: _Evidence,
    best: _Evidence,
) -> Comparison:
    """The comparison, inconclusive if either extreme turns its verdict."""
    differences = [float(total(extreme.parts["points"].only(index)).estimate[0]) for extreme in (worst, best)]
    failed = [_failures(evidence.scores, name)[0] for name in (evidence.reference, comparison.method)]
    missing = Missing(
        failed_reference=failed[0],
        failed_method=failed[1],
        p_uneven=p_uneven,
        worst=differences[0],
        best=differences[1],
        verdict_worst=_verdict(worst, index),
        verdict_best=_verdict(best, index),
    )
    if {missing.verdict_worst, missing.verdict_best} == {comparison.verdict}:
        return replace(comparison, missing=missing)
    return replace(
        comparison,
        missing=missing,
        verdict="INCONCLUSIVE",
        label=verdicts.label(
            "INCONCLUSIVE",
            margin=comparison.points.margin,
            low=missing.worst,
            high=missing.best,
            missing_data=True,
        ),
        sentence=verdicts.missing_data(
            method=comparison.method,
            reference=evidence.reference,
            worst=missing.worst,
            best=missing.best,
            failed=sum(failed),
        ),
    )


def _twin(comparison: Comparison) -> Comparison:
    """The reference against itself, in its own words."""
    points = comparison.points
    return replace(
        comparison,
        sentence=verdicts.again(
            difference=points.difference, low=points.low, high=points.high, p=comparison.p_joint
        ),
    )


def _spread(scores: ScoreArray, methods: Sequence[str]) -> VarianceParts | None:
    index = [scores.index(method) for method in methods]
    games = [complete_items(game.points[index]) for game in scores.games]
    kept = [game for game in games if game.shape[1] > 1]
    if scores.repeats < 2 or not kept:
        return None
    return split_variance(kept)
