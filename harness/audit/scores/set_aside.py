"""Planned methods that cannot be compared, each with its reason, beside the verdicts of the others.

Knows which plays there are; no test. Keeps: a method without a comparison never vanishes and never changes
the verdicts of others, but for Holm's adjustment, which counts it with p = 1."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.audit import verdicts
from harness.audit.scores import verdict_sentences
from harness.audit.scores.arrays import ABSENT, FAILED, ScoreArray
from harness.audit.scores.contrasts import comparable, no_common_items
from harness.audit.scores.evidence import Level
from harness.audit.scores.findings import SetAside
from harness.audit.scores.unfinished import MethodProgress, difference_bounds


def set_aside(
    scores: ScoreArray,
    reference: str,
    method: str,
    *,
    level: Level | None,
    left_out: Collection[str],
    progress: Mapping[str, MethodProgress],
) -> SetAside | None:
    """Returns why the method is not compared with the reference; None if it can be.

    level     None: no look block has ended for both
    left_out  methods that the command leaves out
    progress  how far each planned method's plays have ended"""
    if method in left_out:
        return _aside(method, "left out", verdict_sentences.left_out(method=method))
    if level is None:
        return _unfinished(reference, method, progress)
    if _count(scores, method, FAILED) == _count(scores, method):
        words = verdict_sentences.nothing_finished(method=method, failed=_count(scores, method, FAILED))
        return _aside(method, "nothing finished", words)
    if not comparable(scores, reference, method):
        return _aside(method, "no common item", no_common_items(scores, reference, method))
    return None


def _count(scores: ScoreArray, method: str, code: int | None = None) -> int:
    """Returns how many plays of a method there are, or how many with this outcome."""
    if method not in scores.methods:
        return 0
    outcomes = [game.outcome[scores.index(method)] for game in scores.games]
    return sum(int((values != ABSENT if code is None else values == code).sum()) for values in outcomes)


def _unfinished(reference: str, method: str, progress: Mapping[str, MethodProgress]) -> SetAside:
    a, b = progress.get(reference), progress.get(method)
    low, high = (-100.0, 100.0) if a is None or b is None else difference_bounds(a, b)
    not_ended = sum(one.not_ended for one in (a, b) if one is not None)
    words = verdict_sentences.unfinished(
        method=method, reference=reference, low=low, high=high, not_ended=not_ended
    )
    return _aside(method, "unfinished", words, low, high)


def _aside(
    method: str, reason: str, sentence: str, low: float | None = None, high: float | None = None
) -> SetAside:
    return SetAside(
        method=method,
        verdict="INCONCLUSIVE",
        label=verdicts.label("INCONCLUSIVE", margin=0.0, low=0.0, high=0.0, reason=reason),
        reason=reason,
        low=low,
        high=high,
        sentence=sentence,
    )
