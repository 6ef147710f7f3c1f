"""Tests over sessions: differences, equivalence, overlap in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.audit.scores.arrays import EpisodeColumns, score_array
from harness.audit.scores.score_audit import audit
from harness.audit.scores.session_tests import (
    difference_p,
    differences_by,
    overlap,
    sessions_equivalence_p,
)
from tests.harness.audit.simulator import CLEAN, DEAD_GAME, Defect, from_games, game_of, simulate

STEADY = np.array([-3.0, -3.1, -2.9, -3.2, -3.0])
WILD = np.array([-9.0, 5.0, -8.0, 4.0, -7.0])


def test_a_difference_needs_three_sessions_that_agree() -> None:
    """Two sessions give no p; steady differences over five are significant, differences that disagree are
    not."""
    assert difference_p(STEADY[:2], STEADY[:2]) is None
    assert (difference_p(STEADY, 0 * STEADY) or 0) < 0.001
    assert (difference_p(WILD, 0 * WILD) or 0) > 0.2
    assert difference_p(0 * WILD, 0 * WILD) == 1.0
    score = np.stack([np.full((3, 2), 50.0), np.tile([60.0, 40.0], (3, 1))])
    np.testing.assert_allclose(
        differences_by(from_games([game_of("g", score)], 2), "m0", ("m1",), "points", (0, 1)),
        [[10.0, -10.0]],
    )


def test_differences_in_episodes_played_are_in_percent() -> None:
    """The reference aborts three of four items in the second session, the method none: 75 percent."""
    score = np.full((2, 4, 2), 50.0)
    score[0, :3, 1] = np.nan
    np.testing.assert_allclose(
        differences_by(from_games([game_of("g", score)], 2), "m0", ("m1",), "played", (0, 1)), [[0.0, 75.0]]
    )


def test_equivalence_over_sessions_is_two_one_sided_t_tests() -> None:
    """The p is that of scipy's one-sample t against the nearer margin; a spread of 0 inside the margins gives
    0."""
    values = np.array([0.5, 1.5, -0.5, 1.0])
    expected = stats.ttest_1samp(values, 3.0, alternative="less").pvalue
    assert sessions_equivalence_p(values, 0 * values, margin=3.0, margin_played=5.0) == pytest.approx(
        expected
    )
    assert sessions_equivalence_p(values[:2], values[:2], margin=3.0, margin_played=5.0) is None
    assert sessions_equivalence_p(STEADY, 0 * STEADY, margin=3.0, margin_played=5.0) == pytest.approx(
        1 - stats.ttest_1samp(STEADY, -3.0, alternative="less").pvalue
    )


def test_only_three_sessions_speak_for_the_access_method() -> None:
    """A dead game in each of three sessions is the method's doing; in one session it is of these runs."""
    scores = simulate("strong", [CLEAN, CLEAN, DEAD_GAME], np.random.default_rng(11), repeats=3, greedy=True)
    once = audit(scores, "m0", seed=1, draws=999).comparisons
    assert [one.scope for one in once] == ["these runs"] * 2
    assert once[0].p_sessions is None
    found = audit(replace(scores, sessions=(0, 1, 2)), "m0", seed=1, draws=999)
    assert found.sessions == 3
    assert [(one.verdict, one.scope) for one in found.comparisons] == [
        ("EQUIVALENT", "the access method"),
        ("DIFFERENT", "the access method"),
    ]
    assert "holds for the access method" in found.comparisons[1].sentence


def test_sessions_that_differ_among_themselves_are_not_the_method() -> None:
    """A spread between sessions without an effect of the method may be DIFFERENT, but only for these runs."""
    scopes = []
    for seed in range(12):
        scores = simulate(
            "strong",
            [CLEAN, Defect(run_sd=0.5)],
            np.random.default_rng(seed),
            repeats=3,
            greedy=False,
        )
        found = audit(replace(scores, sessions=(0, 1, 2)), "m0", seed=1, draws=999)
        scopes += [one.scope for one in found.comparisons if one.verdict == "DIFFERENT"]
    assert len(scopes) >= 3
    assert scopes.count("the access method") <= 1


def _played(start: float) -> EpisodeColumns:
    """Two methods, 40 items of one game each a second long; the second starts `start` seconds after the
    first."""
    items = [*range(40)] * 2
    methods = ["a"] * 40 + ["b"] * 40
    starts = [
        1000.0 + item + (start if method == "b" else 0.0) for item, method in zip(items, methods, strict=True)
    ]
    return EpisodeColumns(
        method=methods,
        game=["taboo"] * 80,
        item=[f"i{item}" for item in items],
        repeat=[0] * 80,
        outcome=["success"] * 80,
        score=[100.0] * 80,
        started_at=starts,
        finished_at=[at + 1 for at in starts],
    )


@pytest.mark.parametrize(
    ("start", "share", "apart"), [(0.0, 1.0, False), (20.0, 0.5, False), (38.0, 0.05, True), (9e5, 0.0, True)]
)
def test_methods_that_did_not_play_at_the_same_time_say_so(start: float, share: float, apart: bool) -> None:
    """Fewer than one in ten plays at the same time: the verdict says it, and is about these runs."""
    scores = score_array(_played(start))
    assert overlap(scores, "a", "b") == pytest.approx(share, abs=0.03)
    (found,) = audit(scores, "a", seed=1, draws=199).comparisons
    assert found.apart_in_time is apart
    assert ("were not played at the same time" in found.sentence) is apart


def test_unknown_times_say_nothing_of_overlap() -> None:
    """Imported plays have no times."""
    columns = replace(_played(0.0), started_at=[0.0] * 80, finished_at=[0.0] * 80)
    assert overlap(score_array(columns), "a", "b") is None
    assert overlap(score_array(replace(columns, started_at=None)), "a", "b") is None
