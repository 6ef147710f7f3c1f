"""The guard against missing data: could plays that failed, or are absent from an import, have changed the
verdict?

Knows the evidence and how to gather it again. Keeps: where missing plays are many or uneven, a verdict stands
only if it is the same, and in the same direction, with every missing play at its worst and at its best
(Horowitz & Manski 2000, J. Amer. Statist. Assoc. 95)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from scipy import stats

from harness.audit import verdicts
from harness.audit.scores import verdict_sentences
from harness.audit.scores.arrays import (
    ABORTED,
    ABSENT,
    FAILED,
    SUCCESS,
    BoolArray,
    FloatArray,
    GameScores,
    ScoreArray,
)
from harness.audit.scores.contrasts import ENDPOINTS
from harness.audit.scores.evidence import Evidence, gather_evidence
from harness.audit.scores.findings import Comparison, Missing
from harness.audit.scores.intervals import POINTS_MAX, equivalence_interval, t_interval, total

MISSING_SHARE = 0.01  # with fewer missing plays the mean moves by less than 1 point of 100
UNEVEN_ALPHA = 0.05  # the conventional level at which rates count as unequal


def absent_as_failed(scores: ScoreArray, methods: Collection[str]) -> ScoreArray:
    """Returns the scores with plays of these methods that are absent from an import as failed ones.

    A play is absent if some other method has the item, and this one has other items of the game at the same
    repeat. A game that a method never played stays absent."""
    chosen = np.array([name in methods for name in scores.methods])
    games = []
    for game in scores.games:
        there = game.outcome != ABSENT
        expected = there.any(axis=(0, 2))[None, :, None] & there.any(axis=1)[:, None, :]
        absent = expected & ~there & chosen[:, None, None]
        outcome = np.where(absent, FAILED, game.outcome).astype(np.int8)
        games.append(replace(game, outcome=outcome))
    return replace(scores, games=tuple(games))


def guard_missing(
    evidence: Evidence, compared: tuple[Comparison, ...], *, draws: int
) -> tuple[Comparison, ...]:
    """Returns the comparisons, each inconclusive where missing plays are many or uneven and could change its
    verdict.

    draws  of the sign-flip test at either extreme"""
    uneven = [_p_uneven(evidence, index) for index in range(len(compared))]
    if all(p is None for p in uneven):
        return compared
    worst, best = (
        gather_evidence(
            _at_extreme(evidence.scores, evidence.reference, best=best),
            evidence.reference,
            evidence.contrasts[: len(compared)],
            counted=evidence.counted,
            family=evidence.family,
            levels=evidence.levels[: len(compared)],
            rules=evidence.rules,
            draws=draws,
        )
        for best in (False, True)
    )
    return tuple(
        comparison if p is None else _guarded(evidence, comparison, index, p, worst, best)
        for index, (comparison, p) in enumerate(zip(compared, uneven, strict=True))
    )


def _failures(scores: ScoreArray, method: str) -> tuple[int, int]:
    """Returns how many episodes of a method failed, and how many finished."""
    m = scores.index(method)
    return sum(int(game.failed[m].sum()) for game in scores.games), sum(
        int(game.finished[m].sum()) for game in scores.games
    )


def _p_uneven(evidence: Evidence, index: int) -> float | None:
    """Returns Fisher's p of equal failure rates; None where failures are few and even."""
    a, b = (_failures(evidence.scores, name) for name in (evidence.reference, evidence.contrasts[index]))
    p = float(stats.fisher_exact([a, b]).pvalue)
    few = all(failed <= MISSING_SHARE * (failed + finished) for failed, finished in (a, b))
    return None if few and p >= UNEVEN_ALPHA else p


def _at_extreme(scores: ScoreArray, reference: str, *, best: bool) -> ScoreArray:
    """Returns the scores with every failed play best (or worst) for the methods, and the opposite for the
    reference.

    A game of which a method has no score at all stays as it is: it is not compared."""
    at_best = np.full(len(scores.methods), best)
    at_best[scores.index(reference)] = not best
    outcome = np.where(at_best, SUCCESS, ABORTED).astype(np.int8)[:, None, None]
    score = np.where(at_best, POINTS_MAX, np.nan)[:, None, None]
    games = []
    for game in scores.games:
        imagined = game.failed & _has_a_score(game)[:, None, None]
        games.append(
            replace(
                game,
                outcome=np.where(imagined, outcome, game.outcome).astype(np.int8),
                score=np.where(imagined, score, game.score),
            )
        )
    return replace(scores, games=tuple(games))


def _has_a_score(game: GameScores) -> BoolArray:
    """Returns which methods have a score of this game, or only failed plays of it, (methods,)."""
    scored, finished = game.scored.any(axis=(1, 2)), game.finished.any(axis=(1, 2))
    return np.asarray(scored | ~finished, dtype=np.bool_)


def _guarded(
    evidence: Evidence, comparison: Comparison, index: int, p_uneven: float, worst: Evidence, best: Evidence
) -> Comparison:
    """Returns the comparison, inconclusive if its verdict does not hold at both extremes."""
    failed = [_failures(evidence.scores, name)[0] for name in (evidence.reference, comparison.method)]
    spans = [_interval(extreme, index) for extreme in (worst, best)]
    missing = Missing(
        failed_reference=failed[0],
        failed_method=failed[1],
        p_uneven=p_uneven,
        worst=_difference(worst, index),
        best=_difference(best, index),
        low=min(low for low, _ in spans),
        high=max(high for _, high in spans),
        verdict_worst=worst.verdict(index),
        verdict_best=best.verdict(index),
    )
    if _holds(comparison, index, worst, best):
        return replace(comparison, missing=missing)
    return replace(
        comparison,
        missing=missing,
        verdict="INCONCLUSIVE",
        reason="missing data",
        scope="these runs",
        label=verdicts.label(
            "INCONCLUSIVE",
            margin=comparison.points.margin,
            low=missing.low,
            high=missing.high,
            reason="missing data",
        ),
        sentence=verdict_sentences.missing_data(
            method=comparison.method,
            reference=evidence.reference,
            low=missing.low,
            high=missing.high,
            failed_reference=failed[0],
            failed_method=failed[1],
        ),
        plan=None,
    )


def _holds(comparison: Comparison, index: int, worst: Evidence, best: Evidence) -> bool:
    """Returns whether the verdict is the same at both extremes, and a difference significant in one
    direction."""
    if not {worst.verdict(index), best.verdict(index)} <= {comparison.verdict}:
        return False
    if comparison.verdict != "DIFFERENT":
        return True
    return bool((_directions(worst, index) * _directions(best, index) > 0).any())


def _directions(evidence: Evidence, index: int) -> FloatArray:
    """Returns the sign of every significant statistic, 0 for the others, (endpoints x (1 + games),)."""
    joint = float(evidence.flips.joint[index])
    adjusted = evidence.flips.adjusted[index] * (evidence.p_difference[index] / joint)
    signs = [
        np.sign([total(moments).estimate[index], *moments.mean[index]])
        for moments in (evidence.moments[endpoint] for endpoint in ENDPOINTS)
    ]
    return np.asarray((adjusted <= evidence.rules.alpha) * np.stack(signs)).reshape(-1)


def _difference(evidence: Evidence, index: int) -> float:
    return float(total(evidence.moments["points"].only(index)).estimate[0])


def _interval(evidence: Evidence, index: int) -> tuple[float, float]:
    moments, level = evidence.moments["points"].only(index), evidence.levels[index].interval
    whole = total(moments)
    low, high = t_interval(whole, 1 - level) if whole.se[0] > 0 else equivalence_interval(moments, level / 2)
    return max(-POINTS_MAX, float(low[0])), min(POINTS_MAX, float(high[0]))
