"""Everything an audit of scores computes for all methods at once: paired differences, moments, tests.

Knows the score array and the rules of the audit; no words. Keeps: all methods are compared by the same
margins, seed and draws; the A/A replicate of the reference is tested with them and never counted among them;
a method that was planned and has no comparison counts for Holm all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.audit import verdicts
from harness.audit.scores.arrays import BoolArray, FloatArray, ScoreArray
from harness.audit.scores.contrasts import ENDPOINTS, PairedGame, pair
from harness.audit.scores.intervals import Strata, equivalence_p, strata
from harness.audit.scores.session_tests import (
    SESSIONS_MIN,
    difference_p,
    differences_by,
    sessions_equivalence_p,
)
from harness.audit.scores.sign_flips import DRAWS_MAX, SignFlipResult, sign_flip_test
from harness.audit.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRules:
    """The decisions of the plan, made before the first call.

    margin         difference in mean score that does not matter, in points of 100
    margin_played  the same for the percentage of episodes played
    margin_game    the same for the score of a single game
    seed           root of all random streams"""

    margin: float
    margin_played: float
    margin_game: float
    alpha: float
    seed: int

    @property
    def margins(self) -> Mapping[str, float]:
        """Returns the margin of each endpoint."""
        return {"points": self.margin, "played": self.margin_played}


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The levels at which a contrast is judged: alpha for a finished sweep, those of an interim analysis
    otherwise.

    number, of   of the analysis; None for a finished sweep
    share        of the planned plays that it rests on
    difference   of the joint test; equivalence: of each one-sided test; interval: two-sided, of intervals"""

    difference: float
    equivalence: float
    interval: float
    number: int | None = None
    of: int | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The results of all tests; the first axis of arrays is the contrast.

    contrasts  the methods compared with the reference, its A/A replicate last if there is one
    counted    how many of them count
    family     how many methods Holm counts: those without a comparison have p = 1
    levels     of each contrast
    moments    of the item differences, for each endpoint
    p_difference, p_equivalence_holm  after Holm for the methods that count, unadjusted for the A/A replicate.
                                      In an interim analysis they are multiplied by alpha over its level, so
                                      that alpha is the bound everywhere
    p_sessions, p_sessions_equivalence  the same for the larger p of items and sessions; None below three
                                        sessions"""

    scores: ScoreArray
    reference: str
    contrasts: tuple[str, ...]
    counted: int
    family: int
    levels: tuple[Level, ...]
    rules: AuditRules
    games: tuple[PairedGame, ...]
    moments: Mapping[str, Strata]
    flips: SignFlipResult
    p_equivalence: Mapping[str, FloatArray]
    p_batches: tuple[float | None, ...]
    p_difference: tuple[float, ...]
    p_equivalence_holm: tuple[float, ...]
    p_sessions: tuple[float | None, ...]
    p_sessions_equivalence: tuple[float | None, ...]

    def places(self, index: int) -> tuple[int, int]:
        """Returns the rows of the reference and of the contrast's method in the score array."""
        return self.scores.index(self.reference), self.scores.index(self.contrasts[index])

    def games_beyond(self, index: int) -> BoolArray:
        """Returns which games differ significantly and by more than the margin for one game, (games,)."""
        mean = self.moments["points"].mean[index]
        significant = self.flips.adjusted[index, 0, 1:] <= self.levels[index].difference
        return np.asarray(significant & (np.abs(mean) > self.rules.margin_game), dtype=np.bool_)

    def verdict(self, index: int) -> Verdict:
        return verdicts.decide(
            p_difference=self.p_difference[index],
            p_equivalence=self.p_equivalence_holm[index],
            alpha=self.rules.alpha,
            game_beyond=bool(self.games_beyond(index).any()),
        )


def gather_evidence(
    scores: ScoreArray,
    reference: str,
    contrasts: tuple[str, ...],
    *,
    counted: int,
    family: int,
    levels: tuple[Level, ...],
    rules: AuditRules,
    draws: int,
) -> Evidence:
    """Tests every contrast.

    contrasts  methods to compare with the reference, the A/A replicate last if there is one
    counted    how many of them count for Holm
    family     how many methods Holm counts in all
    levels     of each contrast
    draws      of the sign-flip test; an early interim analysis takes more
    raises     AuditError if a method shares no finished item with the reference"""
    games = pair(scores, reference, contrasts)
    shared = [game.shared for game in games]
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    moments = {
        endpoint: strata(values, shared) for endpoint, values in zip(ENDPOINTS, differences, strict=True)
    }
    smallest = min(level.difference for level in levels)
    enough = draws if smallest >= rules.alpha else min(DRAWS_MAX, max(draws, round(2 * family / smallest)))
    flips = sign_flip_test(differences, shared, [game.game for game in games], rules.seed, enough)
    p_equivalence = {
        endpoint: equivalence_p(moments[endpoint], rules.margins[endpoint]) for endpoint in ENDPOINTS
    }
    p_difference = _at_level(flips.joint, [level.difference for level in levels], rules.alpha)
    p_equivalent = _at_level(
        np.maximum(p_equivalence["points"], p_equivalence["played"]),
        [level.equivalence for level in levels],
        rules.alpha,
    )
    by_session = _p_by_session(scores, reference, contrasts, rules)
    return Evidence(
        scores=scores,
        reference=reference,
        contrasts=contrasts,
        counted=counted,
        family=family,
        levels=levels,
        rules=rules,
        games=games,
        moments=moments,
        flips=flips,
        p_equivalence=p_equivalence,
        p_batches=tuple(
            difference_p(points, played)
            for points, played in _differences(scores, reference, contrasts, scores.batches)
        ),
        p_difference=_holm_of_first(p_difference, counted, family),
        p_equivalence_holm=_holm_of_first(p_equivalent, counted, family),
        p_sessions=_larger(p_difference, [p for p, _ in by_session], counted, family),
        p_sessions_equivalence=_larger(p_equivalent, [p for _, p in by_session], counted, family),
    )


def _at_level(p: FloatArray, levels: Sequence[float], alpha: float) -> FloatArray:
    """Returns each p multiplied by alpha over its level, at most 1; 1 where the level is 0."""
    return np.array(
        [
            min(1.0, value * alpha / level) if level > 0 else 1.0
            for value, level in zip(p.tolist(), levels, strict=True)
        ]
    )


def _differences(
    scores: ScoreArray, reference: str, contrasts: tuple[str, ...], labels: tuple[int, ...]
) -> list[tuple[FloatArray, FloatArray]]:
    """Returns each contrast's differences on both endpoints, (labels,) each."""
    points, played = (
        differences_by(scores, reference, contrasts, endpoint, labels) for endpoint in ENDPOINTS
    )
    return [*zip(points, played, strict=True)]


def _p_by_session(
    scores: ScoreArray, reference: str, contrasts: tuple[str, ...], rules: AuditRules
) -> list[tuple[float | None, float | None]]:
    """Returns each contrast's p over sessions, of a difference and of one at a margin; None below three
    sessions."""
    if len(set(scores.sessions)) < SESSIONS_MIN:
        return [(None, None)] * len(contrasts)
    return [
        (
            difference_p(points, played),
            sessions_equivalence_p(points, played, margin=rules.margin, margin_played=rules.margin_played),
        )
        for points, played in _differences(scores, reference, contrasts, scores.sessions)
    ]


def _larger(
    items: FloatArray, sessions: Sequence[float | None], counted: int, family: int
) -> tuple[float | None, ...]:
    """Returns the larger p of items and sessions, after Holm; None where there are too few sessions.

    source  the larger p tests that either null hypothesis holds: Berger (1982), Technometrics 24"""
    larger = [1.0 if by is None else max(p, by) for p, by in zip(items.tolist(), sessions, strict=True)]
    adjusted = _holm_of_first(np.array(larger), counted, family)
    return tuple(None if by is None else p for p, by in zip(adjusted, sessions, strict=True))


def _holm_of_first(p: FloatArray, counted: int, family: int) -> tuple[float, ...]:
    """Returns the first `counted` p-values after Holm over the whole family, the others unadjusted."""
    values: list[float] = p.tolist()
    without = [1.0] * (family - counted)
    return (*verdicts.holm([*values[:counted], *without])[:counted], *values[counted:])
