"""One access method compared with the reference: estimates, games, items, the verdict and its sentence.

Knows the evidence of all methods; computes no test. Keeps: the verdict follows from the p-values alone; the
sentence states the interval that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from harness.audit import verdicts
from harness.audit.scores import verdict_sentences
from harness.audit.scores.arrays import BoolArray
from harness.audit.scores.clemscore import ClemscoreDifference, MethodFigures, supported_difference
from harness.audit.scores.contrasts import ENDPOINTS, discordance, split, unscored_games
from harness.audit.scores.evidence import Evidence
from harness.audit.scores.findings import Comparison, Estimate, GameFinding, InterimShare, ItemFinding
from harness.audit.scores.intervals import (
    POINTS_MAX,
    Strata,
    equivalence_interval,
    equivalence_p,
    hidden_bound,
    t_interval,
    total,
)
from harness.audit.scores.sample_size import NoiseLevel, Question, SampleSizePlan, noise_of, plan
from harness.audit.scores.session_tests import OVERLAP_MIN, overlap
from harness.audit.scores.variance import SelfAgreement, self_agreement
from harness.audit.verdicts import Scope, Verdict

FURTHEST = 40  # items listed one by one: as many as a figure of one page can label


def compare(
    evidence: Evidence, index: int, support: BoolArray, figures: Mapping[str, MethodFigures]
) -> Comparison:
    """Returns the comparison of one contrast with the reference, without regard to missing data.

    support  the games that count for clemscore on common support, (games,)
    figures  each method's own figures
    source   scope: a claim about the access method needs the larger p of items and sessions (Berger 1982,
             Technometrics 24)"""
    points, played = (_estimate(evidence, endpoint, index) for endpoint in ENDPOINTS)
    games = tuple(
        _game(evidence, index, g) for g in range(len(evidence.games)) if evidence.games[g].shared[index].any()
    )
    items = sum(game.items for game in games)
    never_played = tuple(
        game.game for game in games if game.played_reference == 0 and game.played_method == 0
    )
    reason = "nothing played" if len(never_played) == len(games) else None
    verdict = evidence.verdict(index) if reason is None else "INCONCLUSIVE"
    level, method = evidence.levels[index], evidence.contrasts[index]
    shared_time = overlap(evidence.scores, evidence.reference, method)
    apart_in_time = shared_time is not None and shared_time < OVERLAP_MIN
    settled = reason is None and level.number is None
    comparison = Comparison(
        method=method,
        items=items,
        items_dropped=_items_dropped(evidence, index, items),
        repeats=evidence.scores.repeats,
        points=points,
        played=played,
        clemscore=_clemscore_difference(evidence, index, support, figures),
        games=games,
        p_joint=float(evidence.flips.joint[index]),
        p_difference=evidence.p_difference[index],
        p_equivalence=max(points.p_equivalence, played.p_equivalence),
        p_equivalence_holm=evidence.p_equivalence_holm[index],
        p_batches=evidence.p_batches[index],
        p_sessions=evidence.p_sessions[index],
        p_sessions_equivalence=evidence.p_sessions_equivalence[index],
        apart_in_time=apart_in_time,
        reason=reason,
        interim=None
        if level.number is None or level.of is None
        else InterimShare(number=level.number, of=level.of, share=level.share),
        never_played=never_played,
        left_out=unscored_games(evidence.scores, evidence.reference, method),
        agreement=_agreement(evidence, index),
        repeats_effective=_repeats_effective(evidence, index),
        furthest=_furthest(evidence, index),
        verdict=verdict,
        label=verdicts.label(verdict, margin=points.margin, low=points.low, high=points.high, reason=reason),
        scope=_scope(evidence, index, verdict, apart_in_time=apart_in_time),
        sentence="",
        plan=_plan(evidence, index, items) if verdict == "INCONCLUSIVE" and settled else None,
        missing=None,
    )
    return replace(comparison, sentence=_sentence(evidence, comparison))


def _scope(evidence: Evidence, index: int, verdict: Verdict, *, apart_in_time: bool) -> Scope:
    """Returns what the verdict is about: the access method only if sessions show the same, else these
    runs."""
    p = {
        "DIFFERENT": evidence.p_sessions[index],
        "EQUIVALENT": evidence.p_sessions_equivalence[index],
        "INCONCLUSIVE": None,
    }[verdict]
    of_method = p is not None and p <= evidence.rules.alpha and not apart_in_time
    return "the access method" if of_method else "these runs"


def _estimate(evidence: Evidence, endpoint: str, index: int) -> Estimate:
    parts, level = evidence.moments[endpoint].only(index), evidence.levels[index]
    whole = total(parts)
    low, high = t_interval(whole, 1 - level.interval)
    if whole.se[0] == 0:
        low, high = equivalence_interval(parts, level.interval / 2)
    equivalence_low, equivalence_high = (
        equivalence_interval(parts, level.equivalence)
        if level.equivalence > 0
        else (np.array([-POINTS_MAX]), np.array([POINTS_MAX]))
    )
    open_low, open_high = equivalence_interval(parts, level.interval / 2 / evidence.family)
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
        hidden=float(hidden_bound(parts, np.array([level.interval]))[0, 0]),
        margin=evidence.rules.margins[endpoint],
        p=float(evidence.flips.adjusted[index, ENDPOINTS.index(endpoint), 0]),
        p_equivalence=float(evidence.p_equivalence[endpoint][index]),
    )


def _cut(difference: float) -> float:
    """Returns the difference within the scale."""
    return min(POINTS_MAX, max(-POINTS_MAX, difference))


def _game(evidence: Evidence, index: int, g: int) -> GameFinding:
    game = evidence.games[g]
    shared = game.shared[index]
    alone = replace(evidence.moments["points"].only(index), weight=np.eye(len(evidence.games))[[g]])
    low, high = _game_interval(alone, evidence.levels[index].interval)
    p_equivalence = float(equivalence_p(alone, evidence.rules.margin_game)[0])
    points_a, points_b = (
        float(game.points_a[index, shared].mean()),
        float(game.points_b[index, shared].mean()),
    )
    played_a, played_b = (
        float(game.played_a[index, shared].mean()),
        float(game.played_b[index, shared].mean()),
    )
    parts = split(points_a, points_b, played_a, played_b)
    a, b, cells = *evidence.places(index), evidence.scores.games[g]
    once = evidence.scores.repeats == 1
    return GameFinding(
        game=game.game,
        items=int(shared.sum()),
        difference=float(evidence.moments["points"].mean[index, g]),
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
        beyond=bool(evidence.games_beyond(index)[g]),
        p_equivalence=p_equivalence,
        equivalent=p_equivalence <= evidence.levels[index].equivalence,
        played_discordance=discordance(cells.played[a], cells.played[b]) if once else None,
        success_discordance=discordance(cells.succeeded[a], cells.succeeded[b]) if once else None,
    )


def _game_interval(alone: Strata, level: float) -> tuple[float, float]:
    """Returns Student's interval of one game's difference; the hidden bound when all its items have equal
    differences."""
    whole = total(alone)
    low, high = t_interval(whole, 1 - level) if whole.se[0] > 0 else equivalence_interval(alone, level / 2)
    return _cut(float(low[0])), _cut(float(high[0]))


def _clemscore_difference(
    evidence: Evidence, index: int, support: BoolArray, figures: Mapping[str, MethodFigures]
) -> ClemscoreDifference:
    a, b = (figures[name].clemscore.value for name in (evidence.reference, evidence.contrasts[index]))
    supported = supported_difference(evidence.games, index, support, evidence.rules.alpha)
    return ClemscoreDifference(
        published=None if a is None or b is None else b - a,
        supported=supported[0] if supported else None,
        low=supported[1] if supported else None,
        high=supported[2] if supported else None,
    )


def _agreement(evidence: Evidence, index: int) -> SelfAgreement | None:
    a, b = evidence.places(index)
    points = [game.points for game in evidence.scores.games]
    return self_agreement([game[a] for game in points], [game[b] for game in points], evidence.rules.alpha)


def _repeats_effective(evidence: Evidence, index: int) -> float | None:
    """Returns R / (1 + (R - 1) rho), rho the correlation of repeats of one item's difference."""
    noise = _noise(evidence, "points", index)
    if noise is None:
        return None
    whole = noise.items + noise.chance
    correlation = noise.items / whole if whole > 0 else 1.0
    return evidence.scores.repeats / (1 + (evidence.scores.repeats - 1) * correlation)


def _noise(evidence: Evidence, endpoint: str, index: int) -> NoiseLevel | None:
    a, b = evidence.places(index)
    values = [game.points if endpoint == "points" else 100 * game.played for game in evidence.scores.games]
    return noise_of(
        [game[a] for game in values], [game[b] for game in values], evidence.moments[endpoint].only(index)
    )


def _furthest(evidence: Evidence, index: int) -> tuple[ItemFinding, ...]:
    moved: list[tuple[float, int, int]] = []
    for g, game in enumerate(evidence.games):
        difference = game.difference("points")[index]
        moved += [(float(difference[i]), g, int(i)) for i in np.flatnonzero(difference)]
    moved = sorted(sorted(moved, key=lambda item: -abs(item[0]))[:FURTHEST])
    return tuple(_item(evidence, index, g, i) for _, g, i in moved)


def _item(evidence: Evidence, index: int, g: int, i: int) -> ItemFinding:
    game = evidence.games[g]
    return ItemFinding(
        label=evidence.scores.games[g].items[i],
        reference=float(game.points_a[index, i]),
        method=float(game.points_b[index, i]),
        played_reference=float(game.played_a[index, i]),
        played_method=float(game.played_b[index, i]),
    )


def _items_dropped(evidence: Evidence, index: int, items: int) -> int:
    either = list(evidence.places(index))
    return sum(int(game.finished[either].any(axis=(0, 2)).sum()) for game in evidence.scores.games) - items


def _mostly(games: Sequence[GameFinding], alpha: float) -> tuple[str, str, float]:
    """Returns the game and part with the largest difference, among the significant games if there are any."""
    significant = [game for game in games if min(game.p_points, game.p_played) <= alpha] or games
    parts = [
        (game.game, name, value)
        for game in significant
        for name, value in (("format", game.form), ("quality", game.play))
    ]
    return max(parts, key=lambda part: abs(part[2]))


def _differing(evidence: Evidence, index: int) -> int:
    """Returns the number of items whose difference is not 0 on some endpoint."""
    return sum(
        int(np.any([game.difference(endpoint)[index] != 0 for endpoint in ENDPOINTS], axis=0).sum())
        for game in evidence.games
    )


def _plan(evidence: Evidence, index: int, items: int) -> SampleSizePlan:
    (a, b), scores = evidence.places(index), evidence.scores
    questions = [
        Question(
            parts=evidence.moments[endpoint].only(index),
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
        differing=_differing(evidence, index),
        alpha=evidence.rules.alpha / evidence.family,
        calls=calls if isfinite(calls) else None,
        cost_usd=cost if isfinite(cost) else None,
    )


def _sentence(evidence: Evidence, comparison: Comparison) -> str:
    """Returns the verdict's sentence, then those about what qualifies it."""
    names = {"method": comparison.method, "reference": evidence.reference}
    sentences = [_verdict_sentence(evidence, comparison)]
    if comparison.interim is not None:
        interim = comparison.interim
        sentences.append(verdict_sentences.interim(number=interim.number, of=interim.of, share=interim.share))
    if comparison.apart_in_time:
        sentences.append(verdict_sentences.apart_in_time(**names))
    sentences += [
        verdict_sentences.game_left_out(game=game, method=method) for game, method in comparison.left_out
    ]
    if comparison.never_played and comparison.reason is None:
        sentences.append(verdict_sentences.never_played(comparison.never_played))
    return " ".join(sentences)


def _verdict_sentence(evidence: Evidence, comparison: Comparison) -> str:
    points, alpha = comparison.points, evidence.rules.alpha
    if comparison.reason == "nothing played":
        return verdict_sentences.nothing_played(method=comparison.method, reference=evidence.reference)
    if comparison.verdict == "DIFFERENT":
        return verdict_sentences.different(
            method=comparison.method,
            reference=evidence.reference,
            difference=points.difference,
            low=points.low,
            high=points.high,
            items=comparison.items,
            repeats=comparison.repeats,
            p=comparison.p_difference,
            methods=evidence.family,
            mostly=_mostly(comparison.games, alpha),
            scope=comparison.scope,
        )
    if comparison.verdict == "EQUIVALENT":
        level = evidence.levels[evidence.contrasts.index(comparison.method)].equivalence
        return verdict_sentences.equivalent(
            method=comparison.method,
            reference=evidence.reference,
            margin=points.margin,
            difference=points.difference,
            level=round(100 * (1 - 2 * level), 1),
            low=points.equivalence_low,
            high=points.equivalence_high,
            p_detectable=comparison.p_difference if comparison.p_difference <= alpha else None,
            scope=comparison.scope,
        )
    unsettled = comparison.played if max(-points.open_low, points.open_high) < points.margin else points
    return verdict_sentences.inconclusive(
        method=comparison.method,
        reference=evidence.reference,
        unit="points" if unsettled is points else "percentage points of % played",
        low=unsettled.open_low,
        high=unsettled.open_high,
        margin=unsettled.margin,
        repeats=comparison.repeats,
        plan=comparison.plan,
        margin_smallest=comparison.plan.margins_smallest[0 if unsettled is points else 1]
        if comparison.plan
        else None,
        scope=comparison.scope,
    )
