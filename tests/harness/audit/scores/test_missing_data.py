"""Tests of the guard against missing data: plays that failed, or that an import lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.audit.scores.arrays import ABSENT, FAILED, LOST, UNSCORED, BoolArray, GameScores, ScoreArray
from harness.audit.scores.missing_data import absent_as_failed
from harness.audit.scores.score_audit import audit
from tests.harness.audit.simulator import CLEAN, DEAD_GAME, from_games, game_of, simulate

DRAWS = 999
NAN = float("nan")


def _without(scores: ScoreArray, lost: dict[str, BoolArray], code: int = FAILED) -> ScoreArray:
    """The scores without these plays of the second method."""
    games = []
    for game in scores.games:
        outcome, score = game.outcome.copy(), game.score.copy()
        outcome[1][lost[game.game]], score[1][lost[game.game]] = code, NAN
        games.append(GameScores(game=game.game, items=game.items, outcome=outcome, score=score))
    return replace(scores, games=tuple(games))


def _simulated(*, seed: int = 11) -> ScoreArray:
    return simulate("strong", [CLEAN, CLEAN], np.random.default_rng(seed), repeats=3, greedy=True)


def test_a_tenth_of_failures_at_random_settles_nothing() -> None:
    """Had they been lost the method would be worse, so the verdict is open, and the sentence says what to
    do."""
    scores = _simulated()
    rng = np.random.default_rng(1)
    lost = {game.game: rng.random(game.outcome[1].shape) < 0.10 for game in scores.games}
    (found,) = audit(_without(scores, lost), "m0", seed=1, draws=DRAWS).comparisons
    assert found.missing is not None
    assert found.missing.low < found.missing.worst < found.points.difference
    assert found.points.difference < found.missing.best < found.missing.high
    assert (found.label, found.reason) == ("INCONCLUSIVE (missing data)", "missing data")
    assert f"{found.missing.failed_method} plays are missing" in found.sentence
    assert "--retry-failed" in found.sentence
    assert audit(scores, "m0", seed=1, draws=DRAWS).comparisons[0].missing is None


@pytest.mark.parametrize("code", [FAILED, ABSENT])
def test_bad_episodes_that_go_missing_make_no_difference(code: int) -> None:
    """One model; a third of the episodes below 50 points of one method are missing. Both extremes are
    DIFFERENT, in opposite directions: in ten audits none says DIFFERENT or EQUIVALENT."""
    for seed in range(10):
        scores, rng = _simulated(seed=seed), np.random.default_rng(seed)
        lost = {
            game.game: (np.nan_to_num(game.score[1]) < 50) & (rng.random(game.score[1].shape) < 0.35)
            for game in scores.games
        }
        thinned = absent_as_failed(_without(scores, lost, code), scores.methods)
        (found,) = audit(thinned, "m0", seed=1, draws=DRAWS).comparisons
        assert (found.verdict, found.reason) == ("INCONCLUSIVE", "missing data")


def test_a_difference_that_missing_plays_cannot_explain_stands() -> None:
    """A dead game is DIFFERENT at both extremes of 3 % failures, in the same direction."""
    scores = simulate("strong", [CLEAN, DEAD_GAME], np.random.default_rng(11), repeats=3, greedy=True)
    rng = np.random.default_rng(1)
    lost = {game.game: rng.random(game.outcome[1].shape) < 0.03 for game in scores.games}
    (found,) = audit(_without(scores, lost), "m0", seed=1, draws=DRAWS).comparisons
    assert found.missing is not None
    assert (found.verdict, found.reason) == ("DIFFERENT", None)


def test_an_item_that_an_import_lacks_is_missing() -> None:
    """Absent plays of an item that the other method has are failed; a game that a method never played, and
    repeats that it never played, stay absent."""
    taboo = game_of("taboo", np.full((2, 4, 2), 50.0))
    taboo.outcome[1, 2:, :] = ABSENT
    taboo.outcome[1, :, 1] = ABSENT
    wordle = game_of("wordle", np.full((2, 3, 2), 50.0))
    wordle.outcome[1] = ABSENT
    scores = from_games([taboo, wordle], 2)
    filled = absent_as_failed(scores, {"m1"})
    assert filled.games[0].outcome[1].tolist() == [[LOST, ABSENT]] * 2 + [[FAILED, ABSENT]] * 2
    assert (filled.games[1].outcome[1] == ABSENT).all()
    assert (absent_as_failed(scores, {"m0"}).games[0].outcome == taboo.outcome).all()


def test_dropped_bad_items_of_an_import_make_no_difference() -> None:
    """One model, one play each; a third of one method's lost items were never written. They used to make it
    14 points better."""
    rng = np.random.default_rng(5)
    score = np.where(rng.random((2, 180, 1)) < 0.5, 100.0, 0.0)
    scores = from_games([game_of("referencegame", score)], 1)
    lost = {"referencegame": (score[1] == 0) & (rng.random((180, 1)) < 0.35)}
    thinned = _without(scores, lost, ABSENT)
    (found,) = audit(absent_as_failed(thinned, scores.methods), "m0", seed=1, draws=DRAWS).comparisons
    assert (found.verdict, found.reason) == ("INCONCLUSIVE", "missing data")
    assert found.missing is not None
    assert found.missing.failed_method == int(lost["referencegame"].sum())


@pytest.mark.parametrize("unscored_both", [False, True])
def test_a_game_without_a_score_leaves_the_comparison(unscored_both: bool) -> None:
    """It used to be a loss of 100 points, or a game of equal zeros in the average; now it is named and not
    counted."""
    rng = np.random.default_rng(2)
    taboo = game_of("taboo", np.where(rng.random((2, 30, 1)) < 0.5, 100.0, 0.0))
    wordle = game_of("wordle", np.full((2, 30, 1), 100.0))
    wordle.outcome[1 - int(unscored_both) :] = UNSCORED
    wordle.score[1 - int(unscored_both) :] = NAN
    (alone,) = audit(from_games([taboo], 1), "m0", seed=1, draws=DRAWS).comparisons
    (found,) = audit(from_games([taboo, wordle], 1), "m0", seed=1, draws=DRAWS).comparisons
    assert found.points.difference == alone.points.difference
    assert [game.game for game in found.games] == ["taboo"]
    assert ("wordle", "m1") in found.left_out
    assert "wordle is not compared, because m1 has no score in it." in found.sentence
