"""Paired differences and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.audit.scores.arrays import FAILED, GameScores
from harness.audit.scores.contrasts import discordance, pair, split
from harness.core.errors import AuditError
from tests.harness.audit.simulator import CLEAN, NEW_ABORTS, from_games, simulate

NAN = float("nan")


def test_a_difference_is_form_plus_play() -> None:
    """The two parts add up to the difference, in every simulated game; where one method never played, all of
    it is form."""
    scores = simulate("mid", [CLEAN, NEW_ABORTS], np.random.default_rng(4), repeats=2, greedy=False)
    for game in pair(scores, "m0", ("m1",)):
        a, b = game.points_a[0].mean(), game.points_b[0].mean()
        parts = split(float(a), float(b), float(game.played_a[0].mean()), float(game.played_b[0].mean()))
        assert parts.form + parts.play == pytest.approx(b - a)
    dead = split(60.0, 0.0, 0.8, 0.0)
    assert (dead.form, dead.play) == pytest.approx((-60.0, 0.0))
    assert split(0.0, 0.0, 0.0, 0.0).form == 0


def test_missing_is_dropped_in_pairs() -> None:
    """A repeat counts only where both finished it; an item without any such repeat is not shared."""
    outcome = np.zeros((2, 2, 2), dtype=np.int8)
    outcome[1, 0, 1] = outcome[0, 1] = FAILED
    score = np.array([[[100.0, 0.0], [NAN, NAN]], [[50.0, NAN], [100.0, 100.0]]])
    (game,) = pair(
        from_games([GameScores(game="g", items=("1", "2"), outcome=outcome, score=score)], 2), "m0", ("m1",)
    )
    np.testing.assert_array_equal(game.shared, [[True, False]])
    np.testing.assert_array_equal(game.difference("points"), [[-50, 0]])


def test_no_common_items_are_refused() -> None:
    """Methods that played different puzzles cannot be compared, nor one whose episodes all failed."""
    score = np.array([[[100.0], [NAN]], [[NAN], [100.0]]])
    outcome = np.array([[[0], [-2]], [[-2], [0]]], dtype=np.int8)
    with pytest.raises(AuditError, match=r"there is no item .* that both finished"):
        pair(
            from_games([GameScores(game="g", items=("1", "2"), outcome=outcome, score=score)], 1),
            "m0",
            ("m1",),
        )
    failed = np.array([[[0], [0]], [[FAILED], [FAILED]]], dtype=np.int8)
    with pytest.raises(AuditError, match=r"none of its episodes finished \(2 failed\)"):
        pair(
            from_games([GameScores(game="g", items=("1", "2"), outcome=failed, score=score)], 1),
            "m0",
            ("m1",),
        )


def test_discordant_pairs_are_counted_exactly() -> None:
    """McNemar's p is the exact binomial of the discordant pairs; without any it is 1; missing pairs do not
    count."""
    a, b = np.array([1, 1, 1, 1, 1, 0, 1.0, NAN]), np.array([0, 0, 0, 0, 0, 1, 1.0, 0])
    found = discordance(a, b)
    assert (found.only_reference, found.only_method) == (5, 1)
    assert found.p == pytest.approx(stats.binomtest(1, 6).pvalue)
    assert discordance(a, a).p == 1.0
