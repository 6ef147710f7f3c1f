"""The audit of scores, end to end: an array in, one frozen Audit out.

Knows the order of the steps; every estimate, test and sentence has its own file. Keeps: all methods are
compared by the same margins, seed and support; the reference's A/A replicate is reported and never counted
among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.audit import verdicts
from harness.audit.scores import verdict_sentences
from harness.audit.scores.arrays import BoolArray, ScoreArray
from harness.audit.scores.clemscore import MethodFigures, common_support, method_figures
from harness.audit.scores.comparison import compare
from harness.audit.scores.evidence import AuditRules, Level, gather_evidence
from harness.audit.scores.findings import Audit, Comparison, SetAside
from harness.audit.scores.missing_data import guard_missing
from harness.audit.scores.pairs import compare_all_pairs
from harness.audit.scores.set_aside import set_aside
from harness.audit.scores.sign_flips import DRAWS
from harness.audit.scores.unfinished import MethodProgress, level_of
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
    planned: Sequence[str] = (),
    left_out: Sequence[str] = (),
    progress: Mapping[str, MethodProgress] = MappingProxyType({}),
) -> Audit:
    """Compares every method with the reference.

    scores    of an unfinished sweep only the plays in whole look blocks
    again     the name of the reference's A/A replicate; None if it was not played a second time
    margin    difference in points that does not matter; margin_played: percent of episodes played;
              margin_game: points in a single game
    seed      root of the random streams; draws: of the sign-flip test
    planned   methods beyond those in `scores`: they have no episode, and Holm counts them
    left_out  planned methods that are not compared, and that Holm counts
    progress  how far each planned method's plays have ended; empty: all have
    raises    AuditError if there is nothing to compare, or the reference has no finished episode"""
    methods = _methods(scores, reference, again, planned)
    levels, asides = _levels(scores, reference, again, methods, alpha, left_out, progress)
    present = tuple(name for name in (reference, *methods) if name == reference or name in levels)
    support, figures = _figures(scores, present, levels, alpha)
    rules = AuditRules(
        margin=margin, margin_played=margin_played, margin_game=margin_game, alpha=alpha, seed=seed
    )
    comparisons, replicate = _compared(
        scores, reference, levels, again, support, figures, family=len(methods), rules=rules, draws=draws
    )
    compared = [name for name in figures if name != again]
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
        family=len(methods),
        sessions=max(1, len(set(scores.sessions))),
        methods=tuple(figures.values()),
        comparisons=comparisons,
        set_aside=tuple(aside for aside in asides if aside.method != again),
        again=replicate,
        calibrated=replicate is None or replicate.p_joint >= verdicts.CALIBRATION_ALPHA,
        support=_games(scores, support),
        unsupported=_games(scores, ~support),
        spread=_spread(scores, compared),
        pairs=compare_all_pairs(scores, compared, seed),
    )


def _methods(
    scores: ScoreArray, reference: str, again: str | None, planned: Sequence[str]
) -> tuple[str, ...]:
    """Returns the methods to compare with the reference.

    raises  AuditError if there is none, or the reference has episodes and none of them finished"""
    methods = tuple(
        dict.fromkeys(name for name in (*scores.methods, *planned) if name not in (reference, again))
    )
    if not methods:
        raise AuditError(f"An audit compares access methods: there are only episodes of {reference!r}.")
    if reference in scores.methods:
        row = scores.index(reference)
        if not any(game.finished[row].any() for game in scores.games):
            raise AuditError(
                f"{reference} cannot be the reference: none of its episodes finished. "
                "Repair the access method, or name another reference."
            )
    return methods


def _figures(
    scores: ScoreArray, present: Sequence[str], levels: Iterable[str], alpha: float
) -> tuple[BoolArray, dict[str, MethodFigures]]:
    """Returns the games of the common support of the present methods, and each method's own figures.

    levels   the methods that are compared, the A/A replicate included"""
    present = [name for name in present if name in scores.methods]
    support = common_support(scores, present)
    return support, {
        name: method_figures(scores, name, support, alpha) for name in dict.fromkeys((*present, *levels))
    }


def _levels(
    scores: ScoreArray,
    reference: str,
    again: str | None,
    methods: Sequence[str],
    alpha: float,
    left_out: Sequence[str],
    progress: Mapping[str, MethodProgress],
) -> tuple[dict[str, Level], list[SetAside]]:
    """Returns the levels of the methods that can be compared, the A/A replicate last, and the others with
    reasons.

    methods   all but the reference and the replicate;  alpha, left_out, progress: as in `audit`"""
    levels: dict[str, Level] = {}
    asides = []
    for name in (*methods, *([again] if again else [])):
        level = level_of(progress.get(reference), progress.get(name), alpha=alpha)
        aside = set_aside(scores, reference, name, level=level, left_out=left_out, progress=progress)
        if aside is not None:
            asides.append(aside)
        elif level is not None:
            levels[name] = level
    return levels, asides


def _games(scores: ScoreArray, chosen: BoolArray) -> tuple[str, ...]:
    return tuple(game.game for game, inside in zip(scores.games, chosen, strict=True) if inside)


def _compared(
    scores: ScoreArray,
    reference: str,
    levels: Mapping[str, Level],
    again: str | None,
    support: BoolArray,
    figures: Mapping[str, MethodFigures],
    *,
    family: int,
    rules: AuditRules,
    draws: int,
) -> tuple[tuple[Comparison, ...], Comparison | None]:
    """Returns the comparisons of the methods, and that of the A/A replicate if it can be compared.

    levels   of each method to compare, the A/A replicate last if it is one of them
    again    the A/A replicate's name
    support  the games of the common support; figures: each method's own
    family   how many methods Holm counts; draws: of the sign-flip test"""
    if not levels:
        return (), None
    counted = len([name for name in levels if name != again])
    evidence = gather_evidence(
        scores,
        reference,
        tuple(levels),
        counted=counted,
        family=family,
        levels=tuple(levels.values()),
        rules=rules,
        draws=draws,
    )
    found = tuple(compare(evidence, index, support, figures) for index in range(len(levels)))
    replicate = _replicate(found[-1]) if again in levels else None
    return guard_missing(evidence, found[:counted], draws=draws), replicate


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
    if len(methods) < 2 or scores.repeats < 2 or not kept:
        return None
    return split_variance(kept)
