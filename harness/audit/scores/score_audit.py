"""The audit of scores, end to end: an array in, one frozen Audit out.

Knows the order of the steps; every estimate, test and sentence has its own file. Keeps: all methods are
compared by the same margins, seed and support; the reference's A/A replicate is reported and never counted
among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.audit import verdicts
from harness.audit.scores import verdict_sentences
from harness.audit.scores.arrays import ScoreArray
from harness.audit.scores.clemscore import common_support, method_figures
from harness.audit.scores.comparison import compare
from harness.audit.scores.evidence import AuditRules, gather_evidence
from harness.audit.scores.findings import Audit, Comparison
from harness.audit.scores.missing_data import guard_missing
from harness.audit.scores.pairs import compare_all_pairs
from harness.audit.scores.sign_flips import DRAWS
from harness.audit.scores.variance import VarianceParts, complete_items, split_variance
from harness.core.errors import AuditError


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
    """Compares every method with the reference.

    again   the name of the reference's A/A replicate; None if it was not played a second time
    margin  difference in points that does not matter; margin_played: percent of episodes played; margin_game:
            points in a single game
    seed    root of the random streams; draws: of the sign-flip test
    raises  AuditError if there is nothing to compare, or a method shares no finished item with the
            reference"""
    methods = tuple(name for name in scores.methods if name not in (reference, again))
    if not methods:
        raise AuditError(f"An audit compares access methods: there are no episodes of any but {reference!r}.")
    rules = AuditRules(
        margin=margin, margin_played=margin_played, margin_game=margin_game, alpha=alpha, seed=seed
    )
    contrasts = (*methods, again) if again is not None else methods
    support = common_support(scores, (reference, *methods))
    figures = {name: method_figures(scores, name, support, alpha) for name in (reference, *contrasts)}
    evidence = gather_evidence(scores, reference, contrasts, methods=len(methods), rules=rules, draws=draws)
    compared = tuple(compare(evidence, index, support, figures) for index in range(len(contrasts)))
    replicate = _replicate(compared[-1]) if again is not None else None
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
        comparisons=guard_missing(evidence, compared[: len(methods)], draws=draws),
        again=replicate,
        calibrated=replicate is None or replicate.p_joint >= verdicts.CALIBRATION_ALPHA,
        support=tuple(game.game for game, inside in zip(scores.games, support, strict=True) if inside),
        unsupported=tuple(
            game.game for game, inside in zip(scores.games, support, strict=True) if not inside
        ),
        spread=_spread(scores, (reference, *methods)),
        pairs=compare_all_pairs(scores, (reference, *methods), seed),
    )


def _replicate(comparison: Comparison) -> Comparison:
    """Returns the comparison of the reference with itself, with the sentence for it."""
    points = comparison.points
    return replace(
        comparison,
        sentence=verdict_sentences.replicate(
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
