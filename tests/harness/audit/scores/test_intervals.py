"""Stratified intervals, equivalence, shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.audit.scores.intervals import (
    Strata,
    equivalence_interval,
    equivalence_p,
    hidden_bound,
    mean_interval,
    share_interval,
    strata,
    t_interval,
    total,
)


def _strata(*games: list[float]) -> Strata:
    values = [np.array([game]) for game in games]
    return strata(values, [np.ones(value.shape, dtype=np.bool_) for value in values])


def test_one_game_is_the_paired_t() -> None:
    """With one game estimate, error and interval are the ordinary one-sample t's."""
    d = [3.0, 1.0, -4.0, 1.0, 5.0, 9.0]
    low, high = t_interval(total(_strata(d)), 0.95)
    expected = stats.ttest_1samp(d, 0).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


def test_two_games_are_welch() -> None:
    """The difference of two games' means has Welch's error and degrees of freedom; the average half of it."""
    x, y = [3.0, 1.0, -4.0, 1.0, 5.0, 9.0], [2.0, 6.0, 5.0, 3.0]
    whole = total(_strata(x, [-v for v in y]))
    welch = stats.ttest_ind(x, y, equal_var=False)
    assert whole.df[0] == pytest.approx(welch.df)
    assert whole.estimate[0] / whole.se[0] == pytest.approx(welch.statistic)


def test_the_interval_lies_inside_exactly_when_p_says_so() -> None:
    """Equivalence by p at alpha and by the 1 - 2 alpha interval are one decision, skewed data and silent
    games included."""
    rng = np.random.default_rng(3)
    agreed = set()
    for _ in range(150):
        games = [
            list(-rng.exponential(6, 12) * (rng.random(12) < 0.5)),
            list(rng.normal(0, 3, 15)),
            [0.0] * 60,
        ]
        parts = _strata(*games)
        low, high = equivalence_interval(parts, 0.05)
        margin = float(rng.uniform(2, 6))
        inside = bool(low[0] > -margin and high[0] < margin)
        assert inside == bool(equivalence_p(parts, margin)[0] <= 0.05)
        agreed.add(inside)
    assert agreed == {True, False}


def test_nothing_seen_is_not_nothing() -> None:
    """n items without a difference leave 1 - alpha^(1/n) of them unknown; several games leave less than the
    sum of theirs."""
    one = _strata([0.0] * 20)
    assert hidden_bound(one, np.array([0.05]))[0, 0] == pytest.approx(100 * (1 - 0.05 ** (1 / 20)))
    two = _strata([0.0] * 20, [0.0] * 20)
    assert hidden_bound(two, np.array([0.05]))[0, 0] == pytest.approx(50 * 2 * (1 - 0.05 ** (1 / 40)))
    uneven = hidden_bound(_strata([0.0] * 20, [0.0] * 2000), np.array([0.05]))[0, 0]
    assert uneven == pytest.approx(50 * (1 - 0.05 ** (1 / 20)), rel=0.05)
    assert equivalence_p(one, 3.0)[0] > 0.05
    assert equivalence_p(one, 3.0)[0] == pytest.approx(0.97**20, rel=0.02)
    assert equivalence_p(_strata([0.0] * 200), 3.0)[0] < 0.05


def test_what_hides_is_the_largest_that_could() -> None:
    """No other sharing of hidden differences over three games exceeds the bound at its level."""
    n, level = np.array([10.0, 40.0, 25.0]), 0.05
    bound = hidden_bound(_strata([0.0] * 10, [0.0] * 40, [0.0] * 25), np.array([level]))[0, 0]
    rng = np.random.default_rng(8)
    exponents = rng.dirichlet(np.ones(3), size=4000)  # how the log of the level is shared out
    hidden = 1 - np.exp(np.log(level) * exponents / n)
    assert (100 * hidden.mean(axis=1) <= bound + 1e-9).all()
    assert (100 * hidden.mean(axis=1)).max() > 0.98 * bound


def test_a_single_item_leaves_all_open() -> None:
    """One item has the largest variance there is, not none."""
    low, high = t_interval(total(_strata([0.0])), 0.95)
    assert low[0] < -100
    assert high[0] > 100
    assert equivalence_p(_strata([0.0]), 3.0)[0] > 0.4


def test_a_share_with_one_try_a_unit_is_wilsons() -> None:
    """Without repeats the clustered interval is scipy's Wilson interval."""
    hits = np.array([1.0] * 7 + [0.0] * 13)
    wilson = stats.binomtest(7, 20).proportion_ci(method="wilson")
    assert share_interval(hits, np.ones(20), 0.05) == pytest.approx((wilson.low, wilson.high))


def test_repeats_that_agree_add_nothing_to_a_share() -> None:
    """Every try doubled verbatim leaves the interval as it is; independent repeats narrow it."""
    hits = np.array([1.0] * 7 + [0.0] * 13)
    assert share_interval(2 * hits, np.full(20, 2.0), 0.05) == pytest.approx(
        share_interval(hits, np.ones(20), 0.05)
    )
    low, high = share_interval(np.array([4.0, 5.0, 6.0, 3.0, 7.0] * 4), np.full(20, 10.0), 0.05)
    assert high - low < 0.2


def test_a_mean_near_a_bound_reaches_inwards() -> None:
    """One item of five played well: at each bound, the mean lies Student's quantile of errors away, where the
    error is that of the effective number of scores of 0 and 100 alone."""
    points = np.array([100.0, 0.0, 0.0, 0.0, 0.0])
    low, high = mean_interval(20.0, points - 20.0, 0.05)
    quantile = stats.t.ppf(0.975, 4)
    assert 0 < low < 20
    for bound in (low, high):
        error = np.sqrt(bound * (100 - bound) / 4)  # four tries: the sample variance divides by n - 1
        assert abs(20.0 - bound) / error == pytest.approx(quantile)
    assert high - 20 > 2 * (20 - low)


def test_means_all_alike_stay_open() -> None:
    """Equal scores leave room for what was not seen; one leaves all."""
    assert mean_interval(40.0, np.zeros(1), 0.05) == (0.0, 100.0)
    low, high = mean_interval(40.0, np.zeros(10), 0.05)
    assert low == pytest.approx(40 * 0.05**0.1)
    assert high == pytest.approx(40 + 60 * (1 - 0.05**0.1))
