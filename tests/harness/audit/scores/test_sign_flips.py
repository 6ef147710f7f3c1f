"""The joint sign-flip test."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from harness.audit.scores.sign_flips import sign_flip_test


def _test(
    values: list[npt.ArrayLike], draws: int = 999, seed: int = 1
) -> tuple[float, npt.NDArray[np.float64]]:
    """One endpoint, one contrast, a game each entry."""
    games = [np.asarray(value, dtype=np.float64)[None] for value in values]
    found = sign_flip_test(
        [games],
        [np.ones(game.shape, dtype=np.bool_) for game in games],
        [f"g{i}" for i in range(len(games))],
        seed,
        draws,
    )
    return float(found.joint[0]), found.adjusted[0, 0]


def test_it_is_the_exact_test() -> None:
    """With one game the p is that of all sign patterns, within Monte Carlo error."""
    d = np.array([3.0, 1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0])
    signs = np.array(list(product((1, -1), repeat=len(d))))
    exact = (np.abs(signs @ d) >= abs(d.sum())).mean()
    p, _ = _test([d], draws=20_000)
    assert p == pytest.approx(exact, abs=0.01)


def test_differences_of_nothing_say_nothing() -> None:
    """All-zero differences, and a single item, give p = 1 everywhere."""
    cases: list[list[npt.ArrayLike]] = [
        [np.zeros(9)],
        [np.zeros(9), np.zeros(4)],
        [[100.0]],
        [[100.0], np.zeros(3)],
    ]
    for games in cases:
        p, adjusted = _test(games)
        assert p == 1.0
        assert (adjusted == 1.0).all()


def test_one_game_all_alike_is_found() -> None:
    """A game that always loses everything has no variance and about the least p there is, one draw in a
    thousand for each column that has an extreme of its own; the silent games stay silent."""
    quiet = np.array([10.0, -10.0, 5.0, -5.0, 20.0, -20.0] * 5)
    p, adjusted = _test([np.full(30, -100.0), quiet, np.zeros(10)])
    assert p <= 0.003
    assert adjusted[1] == p
    assert (adjusted[2:] > 0.5).all()


def test_the_smallest_adjusted_p_is_the_joint_one() -> None:
    """The step-down p's start at the joint p and none is below its own statistic's p."""
    rng = np.random.default_rng(5)
    games = [rng.normal(0.3, 1, size=20), rng.normal(0, 1, size=35)]
    p, adjusted = _test([*games])
    assert adjusted.min() == p
    for game, of_game in zip(games, adjusted[1:], strict=True):
        assert of_game >= _test([game])[0] - 0.03


def test_ties_count_against_us() -> None:
    """Differences of a third, which no float holds, tie exactly: +-x in two items is as large under half of
    all signs."""
    third = 100 / 3
    p, _ = _test([[third, third, third - 1e-12]], draws=20_000)
    assert p == pytest.approx(0.25, abs=0.02)


def test_swapping_methods_or_scale_changes_nothing() -> None:
    """d, -d and 7 d have the same p's: the draws are the same and the statistic has no sign or unit."""
    d = np.random.default_rng(2).normal(1, 3, size=25)
    assert _test([d])[0] == _test([-d])[0] == _test([7 * d])[0]
