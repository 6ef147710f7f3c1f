"""Rows become arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.audit.scores.arrays import ABSENT, FAILED, EpisodeColumns, score_array
from harness.core.errors import AuditError

COLUMNS = EpisodeColumns(
    method=["b", "a", "a", "b", "a", "b"],
    game=["wordle", "taboo", "taboo", "taboo", "wordle", "taboo"],
    item=["w1", "t1", "t2", "t2", "w1", "t1"],
    repeat=[0, 0, 0, 0, 0, 0],
    outcome=["lost", "success", "aborted", "unscored", None, "success"],
    score=[0.0, 50.0, None, None, None, 100.0],
    calls=[6, 2, 1, 3, 0, 3],
)


def test_every_outcome_has_its_worth() -> None:
    """Aborted and unscored earn 0 points, an aborted episode is not played, a failed one is neither: it is
    missing."""
    scores = score_array(COLUMNS)
    taboo, wordle = scores.games
    assert scores.methods == ("a", "b")
    assert (taboo.game, wordle.game) == ("taboo", "wordle")
    assert taboo.items == ("t1", "t2")
    np.testing.assert_array_equal(taboo.points[..., 0], [[50, 0], [100, 0]])
    np.testing.assert_array_equal(taboo.played[..., 0], [[1, 0], [1, 1]])
    np.testing.assert_array_equal(wordle.points[..., 0], [[np.nan], [0]])
    assert wordle.outcome[0, 0, 0] == FAILED
    np.testing.assert_array_equal(scores.calls_per_episode, [1.0, 4.0])


def test_masked_columns_of_a_query_are_nulls() -> None:
    """numpy's masked columns, as a database hands them over, say the same as lists with None."""
    outcomes = np.array([*COLUMNS.outcome[:4], "x", COLUMNS.outcome[5]], dtype=object)
    masked = replace(
        COLUMNS,
        outcome=np.ma.masked_array(outcomes, mask=[False, False, False, False, True, False]),
        score=np.ma.masked_array(
            [0.0, 50.0, 9.0, 9.0, 9.0, 100.0], mask=[False, False, True, True, True, False]
        ),
        method=np.array(COLUMNS.method, dtype=object),
    )
    for left, right in zip(score_array(COLUMNS).games, score_array(masked).games, strict=True):
        np.testing.assert_array_equal(left.points, right.points)
        np.testing.assert_array_equal(left.outcome, right.outcome)


def test_only_the_methods_asked_for_are_kept() -> None:
    """Other methods' rows leave no trace, not even their items."""
    scores = score_array(COLUMNS, methods=["b"])
    assert scores.methods == ("b",)
    assert [game.items for game in scores.games] == [("t1", "t2"), ("w1",)]


def test_what_nobody_played_is_absent() -> None:
    """A hole in the design is neither a failure nor a zero."""
    scores = score_array(replace(COLUMNS, repeat=[0, 0, 0, 0, 0, 1]))
    assert scores.games[0].outcome[1, 0, 0] == ABSENT
    assert np.isnan(scores.games[0].points[1, 0, 0])
    assert scores.games[0].points[1, 0, 1] == 100


def test_batches_order_the_repeats() -> None:
    """A repeat is known by its batch and number; without batches all count as one."""
    scores = score_array(replace(COLUMNS, batch=[1, 0, 0, 0, 0, 0]))
    assert scores.batches == (0, 1)
    assert score_array(COLUMNS).batches == (0,)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (replace(COLUMNS, item=["w1", "t1", "t1", "t2", "w1", "t1"]), "Two rows have the same"),
        (replace(COLUMNS, outcome=["won"] * 6), "Unknown outcome 'won'"),
        (replace(COLUMNS, score=[101.0, 50.0, None, None, None, 100.0]), "no main score"),
        (replace(COLUMNS, score=[None, 50.0, None, None, None, 100.0]), "no main score"),
    ],
)
def test_rows_that_cannot_be_are_refused(columns: EpisodeColumns, words: str) -> None:
    """Two rows in one place, an unknown outcome, a score off the scale: each is refused in words."""
    with pytest.raises(AuditError, match=words):
        score_array(columns)


def test_no_rows_are_refused() -> None:
    """An audit of nothing is an error, not an empty finding."""
    with pytest.raises(AuditError, match="no episodes"):
        score_array(COLUMNS, methods=["c"])


def test_a_method_without_known_calls_has_no_mean() -> None:
    """A mean takes the known values only; it is unknown, not 0, where there are none."""
    scores = score_array(replace(COLUMNS, calls=[6, None, None, 3, None, None]))
    np.testing.assert_array_equal(scores.calls_per_episode, [np.nan, 4.5])
