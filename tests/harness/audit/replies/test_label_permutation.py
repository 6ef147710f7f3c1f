"""Relabelling within strata, against the same by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.audit.replies.label_permutation import Block, pair_weights, pairs_of, permutation_test
from harness.audit.scores.arrays import FloatArray


def _block(first: FloatArray, second: FloatArray) -> Block:
    """Values become similarities: minus their distance. first, second (strata, values)."""
    values = np.concatenate([first, second], axis=1)
    one, other = pairs_of(values.shape[1])
    return Block(
        first=first.shape[1],
        second=second.shape[1],
        similarity=-np.abs(values[:, one] - values[:, other])[..., None],
    )


def test_one_stratum_is_enumerated() -> None:
    """The p of one stratum is close to the share of all labellings whose statistic is as large."""
    first, second = np.array([[0.0, 0.1, 0.9]]), np.array([[1.0, 1.1, 0.2]])
    values = np.concatenate([first, second], axis=1)[0]
    statistics = []
    for chosen in combinations(range(6), 3):
        a, b = values[list(chosen)], np.delete(values, list(chosen))
        inside = [-np.abs(x[:, None] - x).sum() / 6 for x in (a, b)]
        statistics.append(sum(inside) + 2 * np.abs(a[:, None] - b).mean())
    found = permutation_test([_block(first, second)], np.random.default_rng(1), 4_000)
    assert found.discrepancy[0] == pytest.approx(statistics[0])
    assert found.p == pytest.approx(np.mean(np.array(statistics) >= statistics[0] - 1e-9), abs=0.03)


def test_a_sample_of_one_has_no_inside() -> None:
    """Its weight lies on the pairs across only."""
    weight = pair_weights(np.array([[True, False, False]]), 1, 2)[:, 0]
    assert weight.tolist() == [-1.0, -1.0, 1.0]


def test_shapes_may_differ_and_many_values_are_drawn() -> None:
    """Strata with unequal samples join in one test; beyond 1,024 labellings random ones serve: p flat, unless
    there is a difference."""
    rng = np.random.default_rng(2)
    p = []
    for seed in range(40):
        blocks = [
            _block(rng.normal(size=(4, 8)), rng.normal(size=(4, 9))),
            _block(rng.normal(size=(6, 1)), rng.normal(size=(6, 2))),
        ]
        p.append(permutation_test(blocks, np.random.default_rng(seed), 199).p)
    assert 0.2 < np.mean(p) < 0.8
    assert np.mean(np.array(p) <= 0.05) <= 0.15
    moved = [_block(rng.normal(size=(4, 8)), rng.normal(2, 1, size=(4, 9)))]
    assert permutation_test(moved, rng, 199).p == 1 / 200
