"""Clemscore, as published and on common support."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from harness.audit.scores.arrays import UNSCORED, GameScores
from harness.audit.scores.clemscore import (
    Clemscore,
    GameFigures,
    clemscore,
    common_support,
    method_figures,
    round2,
    summary_figures,
)
from harness.audit.scores.score_audit import audit
from tests.harness.audit.simulator import GAMES, from_games, game_of

with (Path(__file__).parents[1] / "data" / "published_scores.csv").open(newline="") as file:
    PUBLISHED = list(csv.DictReader(file))
NAN = float("nan")


def _number(text: str) -> float:
    return float(text) if text else NAN


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['model']}@{row['backend']}")
def test_every_published_row_is_recomputed(row: dict[str, str]) -> None:
    """From a row's per-game figures follow its averages and its clemscore, to two decimals."""
    found = clemscore(
        np.array([_number(row[f"{game}_played"]) for game in GAMES]),
        np.array([_number(row[f"{game}_quality"]) for game in GAMES]),
    )
    published = Clemscore(
        value=_number(row["clemscore"]),
        played=_number(row["avg_played"]),
        quality=_number(row["avg_quality"]),
    )
    assert found == published


def test_the_groq_row_from_its_counts() -> None:
    """Llama-3-70B through Groq: counts of played episodes and mean scores give 82.35, 47.77 and 39.34."""
    played = 100 * np.array([4 / 40, 50 / 50, 180 / 180, 58 / 60, 25 / 30, 28 / 30, 27 / 29])
    quality = np.array([80.5, 75.49, 62.78, 68.97, 2.0, 17.38, 27.28])
    assert clemscore(played, quality) == Clemscore(value=39.34, played=82.35, quality=47.77)


def test_the_together_row_skips_the_game_nobody_played() -> None:
    """A game with 0 % played counts in the percentage and not in the quality: 79.52, 44.26 and 35.2."""
    row = next(row for row in PUBLISHED if row["clemscore"] == "35.2" and "together" in row["backend"])
    assert (row["imagegame_played"], row["imagegame_quality"]) == ("0.0", "")
    assert (row["avg_played"], row["avg_quality"]) == ("79.52", "44.26")


def test_averages_alone_give_the_published_figure_only() -> None:
    """Averages without episodes have no counts, no intervals and no common support."""
    games = [
        GameFigures(game="a", episodes=None, played=100.0, quality=50.0),
        GameFigures(game="b", episodes=None, played=0.0),
    ]
    found = summary_figures("m", games)
    assert found.clemscore == Clemscore(value=25.0, played=50.0, quality=50.0)
    assert (found.episodes, found.aborted, found.low, found.high, found.supported) == (
        None,
        None,
        None,
        None,
        None,
    )


def test_ties_go_to_even_on_the_product() -> None:
    """33.335 becomes 33.34 and 0.125 becomes 0.12: two episodes of 3 played in one game of two give 25.01."""
    image = game_of("imagegame", np.full((1, 3, 1), NAN))
    taboo = game_of("taboo", np.array([100.0, 50.0, NAN]).reshape(1, 3, 1))
    found = method_figures(from_games([image, taboo], 1), "m0", np.array([False, True]), 0.05)
    assert [game.played for game in found.games] == [0.0, 66.67]
    assert found.clemscore == Clemscore(value=25.01, played=33.34, quality=75.0)
    np.testing.assert_array_equal(round2(np.array([33.335, 0.125])), [33.34, 0.12])


def test_what_is_not_scored_leaves_the_denominator() -> None:
    """Unscored episodes count nowhere; a game with none but those is skipped in both averages; nothing at all
    gives None."""
    taboo = game_of("taboo", np.array([100.0, NAN, 50.0]).reshape(1, 3, 1))
    cell = (1, 1, 1)
    unscored = GameScores(
        game="imagegame",
        items=("i",),
        outcome=np.full(cell, UNSCORED, dtype=np.int8),
        score=np.full(cell, NAN),
    )
    found = method_figures(from_games([unscored, taboo], 1), "m0", np.array([False, False]), 0.05)
    assert found.games[0].episodes == 0
    assert [(game.aborted, game.unscored) for game in found.games] == [(0, 1), (1, 0)]
    assert (found.episodes, found.aborted, found.unscored, found.failed) == (4, 1, 1, 0)
    assert found.clemscore == Clemscore(value=50.0, played=66.67, quality=75.0)
    assert clemscore(np.array([NAN]), np.array([NAN])) == Clemscore(value=None, played=None, quality=None)
    assert clemscore(np.array([0.0, NAN]), np.array([NAN, NAN])) == Clemscore(
        value=None, played=0.0, quality=None
    )


def test_the_published_wordle_deviation() -> None:
    """A standard deviation is the sample's, over played episodes: one 30 and one 20 among 25 give 7.07 about
    2.0."""
    scores = [[30.0], [20.0], *[[0.0]] * 23, *[[NAN]] * 5]
    figures = method_figures(
        from_games([game_of("wordle", [scores])], 1), "m0", np.array([True]), 0.05
    ).games[0]
    assert (figures.played, figures.quality, figures.std) == (83.33, 2.0, 7.07)


def test_one_lucky_episode_moves_the_published_figure_only() -> None:
    """A game played once in 40 brings its quality back with full weight as published, and stays out of the
    common support."""
    taboo = game_of("taboo", np.repeat([[[100.0], [0.0], [50.0], [50.0], [0.0], [100.0]]], 2, axis=0))
    lucky = np.full((2, 40, 1), NAN)
    lucky[1, 0, 0] = 100
    scores = from_games([game_of("imagegame", lucky), taboo], 1)
    support = common_support(scores, scores.methods)
    np.testing.assert_array_equal(support, [False, True])
    difference = audit(scores, "m0", seed=1, draws=99).comparisons[0].clemscore
    assert difference.published == pytest.approx(13.44, abs=0.01)
    assert difference.supported == pytest.approx(0.625)


def test_intervals_keep_to_the_scale() -> None:
    """Extreme shares, one item, all scores alike: every bound is finite, on the scale and around its
    figure."""
    games = [game_of("a", [[[100.0]]]), game_of("b", [[[0.0], [0.0], [0.0]]]), game_of("c", [[[NAN], [NAN]]])]
    found = method_figures(from_games(games, 1), "m0", np.array([True, True, False]), 0.05)
    for game in found.games:
        assert game.played is not None
        assert game.played_low is not None
        assert game.played_high is not None
        assert 0 <= game.played_low <= game.played <= game.played_high <= 100
        assert game.played_high - game.played_low > 40
    assert (found.games[0].quality_low, found.games[0].quality_high) == (0.0, 100.0)
    assert found.games[1].quality_high == pytest.approx(100 * (1 - 0.05 ** (1 / 3)))
    assert found.games[2].quality is None


@pytest.mark.parametrize(("score", "low", "high"), [(0.0, 0.0, 25.9), (100.0, 63.4, 100.0)])
def test_clemscore_has_an_interval_where_all_plays_end_alike(score: float, low: float, high: float) -> None:
    """Ten items, all lost or all won: as wide as 1 - .05^(1/10) of the items allow, in quality and in %
    played. It had no width."""
    scores = from_games([game_of("taboo", np.full((1, 10, 3), score))], 3)
    found = method_figures(scores, "m0", np.array([True]), 0.05)
    assert found.clemscore.value == score
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)


def test_a_difference_on_common_support_has_an_interval_where_all_items_are_alike() -> None:
    """Both methods win all ten items: the difference 0 is open to both sides."""
    scores = from_games([game_of("taboo", np.full((2, 10, 1), 100.0))], 1)
    difference = audit(scores, "m0", seed=1, draws=99).comparisons[0].clemscore
    assert difference.supported == 0.0
    assert difference.low is not None
    assert difference.low == pytest.approx(-36.7, abs=0.1)
    assert difference.high == pytest.approx(36.7, abs=0.1)


def test_unscored_episodes_never_count_as_played() -> None:
    """Five unscored and some aborted episodes are no common support; clemscore on it used to be NaN."""
    game = game_of("imagegame", np.full((1, 10, 1), NAN))
    game.outcome[0, :5] = UNSCORED
    scores = from_games([game, game_of("taboo", np.full((1, 10, 1), 50.0))], 1)
    support = common_support(scores, scores.methods)
    np.testing.assert_array_equal(support, [False, True])
    assert method_figures(scores, "m0", support, 0.05).supported == pytest.approx(25.0)


def test_the_error_of_a_game_is_that_of_a_mean_over_items() -> None:
    """Items of 90, 60, 30 and 60 points, each twice: their standard deviation over the root of four."""
    score = [[[100.0, 80.0], [60.0, 60.0], [40.0, 20.0], [50.0, 70.0]]]
    (figures,) = method_figures(from_games([game_of("a", score)], 2), "m0", np.array([True]), 0.05).games
    assert figures.points_se == pytest.approx(np.std([90, 60, 30, 60], ddof=1) / 2)
