"""Rates over many simulated audits: wide bounds, fixed seeds. The full tables are made by `python -m
bench.audit`."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit.scores.arrays import FloatArray, ScoreArray
from harness.audit.scores.clemscore import common_support, supported_difference
from harness.audit.scores.contrasts import ENDPOINTS, pair
from harness.audit.scores.intervals import equivalence_p, strata, t_interval, total
from harness.audit.scores.score_audit import audit
from harness.audit.scores.sign_flips import sign_flip_test
from tests.harness.audit.simulator import CLEAN, NEW_ABORTS, ONE_GAME, QUANTISATION, Defect, simulate

AUDITS = 100
SETTINGS = [("strong", 1, True), ("mid", 5, False), ("weak", 1, False)]


def _p_joint(scores: ScoreArray, seed: int) -> float:
    games = pair(scores, "m0", ("m1",))
    differences = [[game.difference(endpoint) for game in games] for endpoint in ENDPOINTS]
    return float(
        sign_flip_test(
            differences, [game.shared for game in games], [game.game for game in games], seed, 399
        ).joint[0]
    )


@pytest.mark.parametrize(("profile", "repeats", "greedy"), SETTINGS)
def test_one_model_twice_is_rarely_different(profile: str, repeats: int, greedy: bool) -> None:
    """The joint test at .05 rejects in at most 11 % of 100 audits of one model with itself; intervals of
    points and of clemscore on common support hold 0 in at least 89 %."""
    rng = np.random.default_rng(20)
    rejected = points_held = clemscore_held = 0
    for seed in range(AUDITS):
        scores = simulate(profile, [CLEAN, CLEAN], rng, repeats=repeats, greedy=greedy)
        rejected += _p_joint(scores, seed) <= 0.05
        games = pair(scores, "m0", ("m1",))
        low, high = t_interval(
            total(strata([game.difference("points") for game in games], [game.shared for game in games])),
            0.95,
        )
        points_held += bool(low[0] <= 0 <= high[0])
        supported = supported_difference(games, 0, common_support(scores, scores.methods), 0.05)
        assert supported is not None
        clemscore_held += supported[1] <= 0 <= supported[2]
    assert rejected / AUDITS <= 0.11
    assert points_held / AUDITS >= 0.89
    assert clemscore_held / AUDITS >= 0.89


@pytest.mark.parametrize(
    ("defect", "repeats", "greedy"),
    [(NEW_ABORTS, 1, True), (QUANTISATION, 1, True), (QUANTISATION, 5, False), (ONE_GAME, 1, True)],
)
def test_planted_defects_are_found(defect: Defect, repeats: int, greedy: bool) -> None:
    """5 % new aborts, coarse weights, one game gone bad: the joint test finds each in at least 85 % of 40
    audits."""
    rng = np.random.default_rng(21)
    found = [
        _p_joint(simulate("strong", [CLEAN, defect], rng, repeats=repeats, greedy=greedy), seed) <= 0.05
        for seed in range(40)
    ]
    assert np.mean(found) >= 0.85


def test_at_the_margin_equivalence_is_rarely_claimed() -> None:
    """A method that lost exactly the margin, by rare losses only, is called equivalent in at most 10 % of 800
    audits."""
    rng = np.random.default_rng(22)
    assert _equivalent([np.where(rng.random((800, n)) < 0.03, -100.0, 0.0) for n in (60, 100, 180)]) <= 0.10


@pytest.mark.parametrize("hidden", [0.5, 1.0])
def test_nor_when_part_of_it_hides(hidden: float) -> None:
    """The margin lost again, now partly in a game where most audits see no loss at all: still at most 10 % of
    600 audits."""
    rng = np.random.default_rng(24)
    rare = np.where(rng.random((600, 60)) < hidden * 4 / 100, -100.0, 0.0)
    assert (
        _equivalent([rare, *(rng.normal(-(3 - hidden) * 4 / 3, 12, (600, n)) for n in (60, 100, 180))])
        <= 0.10
    )


def _equivalent(games: list[FloatArray]) -> float:
    """The share of audits, a row each, that would claim equivalence within 3 points."""
    return float(
        (
            equivalence_p(strata(games, [np.ones(game.shape, dtype=np.bool_) for game in games]), 3.0) <= 0.05
        ).mean()
    )


def test_identical_methods_earn_equivalence() -> None:
    """One model at temperature 0 with three repeats is judged EQUIVALENT within 3 points in at least 90 % of
    40 audits."""
    rng = np.random.default_rng(23)
    earned = [
        audit(simulate("strong", [CLEAN, CLEAN], rng, repeats=3, greedy=True), "m0", seed=seed, draws=399)
        .comparisons[0]
        .verdict
        for seed in range(40)
    ]
    assert earned.count("EQUIVALENT") >= 36
