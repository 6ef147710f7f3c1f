"""Everything an audit of scores computes for all methods at once: paired differences, moments, tests.

Knows the score array and the rules of the audit; no words. Keeps: all methods are compared by the same
margins, seed and draws; the A/A replicate of the reference is tested with them and never counted among
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.audit import verdicts
from harness.audit.scores.arrays import BoolArray, FloatArray, ScoreArray
from harness.audit.scores.contrasts import ENDPOINTS, PairedGame, batch_differences, batch_p, pair
from harness.audit.scores.intervals import Strata, equivalence_p, strata
from harness.audit.scores.sign_flips import SignFlipResult, sign_flip_test
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
        """The margin of each endpoint."""
        return {"points": self.margin, "played": self.margin_played}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The results of all tests; the first axis of arrays is the contrast.

    contrasts  the methods compared with the reference, its A/A replicate last if there is one
    methods    how many of them count
    moments    of the item differences, for each endpoint
    p_difference, p_equivalence_holm  after Holm for the methods that count, unadjusted for the A/A
                                      replicate"""

    scores: ScoreArray
    reference: str
    contrasts: tuple[str, ...]
    methods: int
    rules: AuditRules
    games: tuple[PairedGame, ...]
    moments: Mapping[str, Strata]
    flips: SignFlipResult
    p_equivalence: Mapping[str, FloatArray]
    p_batches: tuple[float | None, ...]
    p_difference: tuple[float, ...]
    p_equivalence_holm: tuple[float, ...]

    def places(self, index: int) -> tuple[int, int]:
        """Returns the rows of the reference and of the contrast's method in the score array."""
        return self.scores.index(self.reference), self.scores.index(self.contrasts[index])

    def games_beyond(self, index: int) -> BoolArray:
        """Returns which games differ significantly and by more than the margin for one game, (games,)."""
        mean = self.moments["points"].mean[index]
        significant = self.flips.adjusted[index, 0, 1:] <= self.rules.alpha
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
    methods: int,
    rules: AuditRules,
    draws: int,
) -> Evidence:
    """Tests every contrast.

    contrasts  methods to compare with the reference, the A/A replicate last if there is one
    methods    how many of them count for Holm
    draws      of the sign-flip test
    raises     AuditError if a method shares no finished item with the reference"""
    games = pair(scores, reference, contrasts)
    shared = [game.shared for game in games]
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    moments = {
        endpoint: strata(values, shared) for endpoint, values in zip(ENDPOINTS, differences, strict=True)
    }
    batches = [batch_differences(scores, reference, contrasts, endpoint) for endpoint in ENDPOINTS]
    flips = sign_flip_test(differences, shared, [game.game for game in games], rules.seed, draws)
    p_equivalence = {
        endpoint: equivalence_p(moments[endpoint], rules.margins[endpoint]) for endpoint in ENDPOINTS
    }
    return Evidence(
        scores=scores,
        reference=reference,
        contrasts=contrasts,
        methods=methods,
        rules=rules,
        games=games,
        moments=moments,
        flips=flips,
        p_equivalence=p_equivalence,
        p_batches=tuple(batch_p(points, played) for points, played in zip(*batches, strict=True)),
        p_difference=_holm_of_first(flips.joint, methods),
        p_equivalence_holm=_holm_of_first(
            np.maximum(p_equivalence["points"], p_equivalence["played"]), methods
        ),
    )


def _holm_of_first(p: FloatArray, methods: int) -> tuple[float, ...]:
    """Returns the first `methods` p-values after Holm, the others unadjusted."""
    values: list[float] = p.tolist()
    return (*verdicts.holm(values[:methods]), *values[methods:])
