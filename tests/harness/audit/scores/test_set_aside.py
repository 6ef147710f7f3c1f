"""Tests of methods without a comparison, and of audits of unfinished sweeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.audit.scores.arrays import ABSENT, FAILED, ScoreArray
from harness.audit.scores.interim import spending
from harness.audit.scores.score_audit import audit
from harness.audit.scores.unfinished import MethodProgress, difference_bounds, level_of
from harness.core.errors import AuditError
from tests.harness.audit.simulator import CLEAN, DEAD_GAME, from_games, game_of, simulate

DRAWS = 999
NAN = float("nan")
SHARES = (0.25, 0.5, 0.75, 1.0)


def _simulated(count: int = 3, *, last: str = "clean") -> ScoreArray:
    defects = [CLEAN] * (count - 1) + [CLEAN if last == "clean" else DEAD_GAME]
    return simulate("strong", defects, np.random.default_rng(11), repeats=3, greedy=True)


def _failed(scores: ScoreArray, method: int) -> ScoreArray:
    """The scores with all plays of one method failed."""
    games = []
    for game in scores.games:
        outcome, score = game.outcome.copy(), game.score.copy()
        outcome[method], score[method] = FAILED, NAN
        games.append(replace(game, outcome=outcome, score=score))
    return replace(scores, games=tuple(games))


def _progress(whole: int, *, complete: bool = False, ended: int = 60) -> MethodProgress:
    return MethodProgress(
        complete=complete,
        shares=SHARES,
        whole=whole,
        planned={"taboo": 240},
        ended={"taboo": ended},
        points={"taboo": 60.0 * ended},
    )


def test_a_dead_method_is_set_beside_the_others() -> None:
    """It used to refuse all verdicts. It has a sentence, and Holm counts it with p = 1."""
    scores = _simulated(3, last="dead game")
    both = audit(scores, "m0", seed=1, draws=DRAWS)
    found = audit(_failed(scores, 1), "m0", seed=1, draws=DRAWS)
    (comparison,) = found.comparisons
    assert (comparison.method, comparison.verdict) == ("m2", "DIFFERENT")
    assert found.family == 2
    assert comparison.p_difference == pytest.approx(2 * comparison.p_joint)
    assert comparison.p_difference == both.comparisons[1].p_difference
    (aside,) = found.set_aside
    assert (aside.method, aside.verdict, aside.reason) == ("m1", "INCONCLUSIVE", "nothing finished")
    assert "none of its episodes finished (1,260 failed)" in aside.sentence


def test_a_planned_method_without_an_episode_is_named() -> None:
    """A method whose gate closed before its first end does not vanish."""
    found = audit(_simulated(2), "m0", planned=("m9",), seed=1, draws=DRAWS)
    assert [aside.method for aside in found.set_aside] == ["m9"]
    assert found.family == 2


def test_a_method_left_out_counts_all_the_same() -> None:
    """Leaving a method out after the data does not make the others' p-values smaller."""
    scores = _simulated(3, last="dead game")
    found = audit(scores, "m0", left_out=("m1",), seed=1, draws=DRAWS)
    (comparison,) = found.comparisons
    assert comparison.p_difference == pytest.approx(2 * comparison.p_joint)
    assert found.set_aside[0].reason == "left out"
    assert "after the data were collected" in found.set_aside[0].sentence


def test_all_methods_may_be_set_aside() -> None:
    """The audit then has sentences and no comparison; a reference without a finished episode is refused."""
    scores = _failed(_simulated(2), 1)
    found = audit(scores, "m0", seed=1, draws=DRAWS)
    assert found.comparisons == ()
    assert len(found.set_aside) == 1
    with pytest.raises(AuditError, match="cannot be the reference"):
        audit(scores, "m1", seed=1, draws=DRAWS)


def test_other_items_are_set_aside_too() -> None:
    """A method that played other items is named, and does not refuse the others."""
    game = game_of("taboo", np.full((3, 40, 1), 50.0))
    game.outcome[1, :20] = game.outcome[0, 20:] = game.outcome[2, 20:] = ABSENT
    found = audit(from_games([game], 1), "m0", seed=1, draws=DRAWS)
    assert [comparison.method for comparison in found.comparisons] == ["m2"]
    assert [aside.reason for aside in found.set_aside] == ["no common item"]


def test_without_a_whole_block_there_are_bounds_only() -> None:
    """A method with 10 of 240 plays at 95 points, of a reference at 5.9: -1.9 to +94, and no verdict."""
    reference = replace(_progress(4, complete=True, ended=240), points={"taboo": 240 * 5.92})
    method = replace(_progress(0, ended=10), points={"taboo": 950.0})
    assert difference_bounds(reference, method) == pytest.approx(
        (950 / 240 - 5.92, (950 + 23_000) / 240 - 5.92)
    )
    found = audit(
        _simulated(1),
        "m0",
        planned=("m1",),
        progress={"m0": reference, "m1": method},
        seed=1,
        draws=DRAWS,
    )
    (aside,) = found.set_aside
    assert (aside.reason, aside.label) == ("unfinished", "INCONCLUSIVE (unfinished)")
    assert aside.low == pytest.approx(-1.96, abs=0.01)
    assert aside.high == pytest.approx(93.9, abs=0.1)
    assert "230 planned episodes of the two methods have not ended" in aside.sentence


def test_levels_are_those_of_the_interim_analyses() -> None:
    """Two of four blocks: the level of the second analysis; all of it, or no plan at all: alpha."""
    spent = spending(SHARES, 0.05)
    level = level_of(_progress(4, complete=True), _progress(2), alpha=0.05)
    assert level is not None
    assert (level.number, level.of, level.share) == (2, 4, 0.5)
    assert (level.difference, level.equivalence, level.interval) == (
        spent.difference[1],
        spent.equivalence[1],
        spent.repeated[1],
    )
    for reference in (None, _progress(4, complete=True)):
        level = level_of(reference, _progress(4, complete=True), alpha=0.05)
        assert level is not None
        assert (level.number, level.difference) == (None, 0.05)
    assert level_of(_progress(0), _progress(4, complete=True), alpha=0.05) is None


def test_an_unfinished_audit_says_so_and_is_wider() -> None:
    """The same scores, as half of a plan: an interval at the analysis' level, a larger p, the sentence."""
    scores = _simulated(2)
    (whole,) = audit(scores, "m0", seed=1, draws=DRAWS).comparisons
    progress = {name: _progress(2) for name in ("m0", "m1")}
    (half,) = audit(scores, "m0", progress=progress, seed=1, draws=DRAWS).comparisons
    assert half.points.high - half.points.low > whole.points.high - whole.points.low
    assert half.points.difference == whole.points.difference
    assert half.interim is not None
    assert (half.interim.number, half.interim.of) == (2, 4)
    assert (
        "This is interim analysis 2 of 4 (analysis 4 is the final one). It uses the first 50 % of the planned plays"
        in half.sentence
    )
    assert half.plan is None
    first = {name: _progress(1) for name in ("m0", "m1")}
    (early,) = audit(scores, "m0", progress=first, seed=1, draws=DRAWS).comparisons
    assert early.verdict == "INCONCLUSIVE"
    assert (early.points.equivalence_low, early.points.equivalence_high) == (-100.0, 100.0)


def test_where_nothing_was_played_there_is_no_verdict() -> None:
    """All plays of both methods aborted: scores cannot tell them apart, nor make them EQUIVALENT."""
    games = [game_of(name, np.full((2, 350, 1), NAN)) for name in ("taboo", "wordle")]
    (found,) = audit(from_games(games, 1), "m0", seed=1, draws=DRAWS).comparisons
    assert (found.verdict, found.label, found.reason) == (
        "INCONCLUSIVE",
        "INCONCLUSIVE (nothing played)",
        "nothing played",
    )
    games[0] = game_of("taboo", np.full((2, 350, 1), 50.0))
    (found,) = audit(from_games(games, 1), "m0", seed=1, draws=DRAWS).comparisons
    assert (found.verdict, found.reason, found.never_played) == ("EQUIVALENT", None, ("wordle",))
    assert "Neither method completed an episode of wordle" in found.sentence


def test_each_game_is_bounded_by_its_own_test() -> None:
    """EQUIVALENT is about the mean over games; a game of few items is not bounded within 10 points by
    itself."""
    rng = np.random.default_rng(4)
    item = rng.integers(20, 80, 400).astype(float)
    many = np.stack([item, item + rng.normal(0, 5, 400)])[..., None]
    few = np.stack([item[:8], item[:8] + rng.normal(0, 25, 8)])[..., None]
    (found,) = audit(
        from_games([game_of("many", many), game_of("few", few)], 1), "m0", seed=1, draws=DRAWS
    ).comparisons
    assert [(game.game, game.equivalent) for game in found.games] == [("many", True), ("few", False)]
    assert all(game.equivalent == (game.p_equivalence <= 0.05) for game in found.games)
