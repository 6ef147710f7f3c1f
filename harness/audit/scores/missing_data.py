"""The guard against missing data: could the failed episodes have changed the verdict?

Knows the evidence and how to gather it again. Keeps: where failures are many or uneven, a verdict stands only
if it is the same with every failed episode at its worst and at its best (Horowitz & Manski 2000, J. Amer.
Statist. Assoc. 95)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from harness.audit import verdicts
from harness.audit.scores import verdict_sentences
from harness.audit.scores.arrays import ABORTED, FAILED, SUCCESS, GameScores, ScoreArray
from harness.audit.scores.evidence import Evidence, gather_evidence
from harness.audit.scores.findings import Comparison, Missing
from harness.audit.scores.intervals import POINTS_MAX, total

MISSING_SHARE = 0.01  # with fewer failed episodes the mean moves by less than 1 point of 100
UNEVEN_ALPHA = 0.05  # the conventional level at which failure rates count as unequal


def guard_missing(
    evidence: Evidence, compared: tuple[Comparison, ...], *, draws: int
) -> tuple[Comparison, ...]:
    """Returns the comparisons, each inconclusive where failed episodes are many or uneven and could change
    its verdict.

    draws  of the sign-flip test at either extreme"""
    uneven = [_p_uneven(evidence, index) for index in range(len(compared))]
    if all(p is None for p in uneven):
        return compared
    worst, best_case = (
        gather_evidence(
            _at_extreme(evidence.scores, evidence.reference, best=best),
            evidence.reference,
            evidence.contrasts[: len(compared)],
            methods=evidence.methods,
            rules=evidence.rules,
            draws=draws,
        )
        for best in (False, True)
    )
    return tuple(
        comparison if p is None else _guarded(evidence, comparison, index, p, worst, best_case)
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
    """Returns the scores with every failed episode best (or worst) for the methods and worst (or best) for
    the reference."""
    at_best = np.full(len(scores.methods), best)
    at_best[scores.index(reference)] = not best
    outcome = np.where(at_best, SUCCESS, ABORTED).astype(np.int8)[:, None, None]
    score = np.where(at_best, POINTS_MAX, np.nan)[:, None, None]
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


def _guarded(
    evidence: Evidence,
    comparison: Comparison,
    index: int,
    p_uneven: float,
    worst: Evidence,
    best: Evidence,
) -> Comparison:
    """Returns the comparison, inconclusive if its verdict is another at either extreme."""
    differences = [
        float(total(extreme.moments["points"].only(index)).estimate[0]) for extreme in (worst, best)
    ]
    failed = [_failures(evidence.scores, name)[0] for name in (evidence.reference, comparison.method)]
    missing = Missing(
        failed_reference=failed[0],
        failed_method=failed[1],
        p_uneven=p_uneven,
        worst=differences[0],
        best=differences[1],
        verdict_worst=worst.verdict(index),
        verdict_best=best.verdict(index),
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
        sentence=verdict_sentences.missing_data(
            method=comparison.method,
            reference=evidence.reference,
            worst=missing.worst,
            best=missing.best,
            failed=sum(failed),
        ),
    )
