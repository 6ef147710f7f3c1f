"""Variance components and self-agreement."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit.scores.arrays import FloatArray
from harness.audit.scores.variance import complete_items, self_agreement, split_variance
from harness.core.errors import AuditError


def _planted(rng: np.random.Generator) -> FloatArray:
    """Four methods, 60 items, 5 repeats: sd 3 of items, 2 of interaction, 4 of chance, 1.5 of methods."""
    return np.asarray(
        50
        + 1.5 * rng.normal(size=(4, 1, 1))
        + 3 * rng.normal(size=(1, 60, 1))
        + 2 * rng.normal(size=(4, 60, 1))
        + 4 * rng.normal(size=(4, 60, 5))
    )


def test_planted_components_are_recovered() -> None:
    """Over 400 sets the mean of each component is the planted one, within 5 %; of methods, with four of them,
    within 20 %."""
    rng = np.random.default_rng(6)
    found = [split_variance([_planted(rng)]) for _ in range(400)]
    assert np.mean([part.chance for part in found]) == pytest.approx(16, rel=0.05)
    assert np.mean([part.interaction for part in found]) == pytest.approx(4, rel=0.05)
    assert np.mean([part.item for part in found]) == pytest.approx(9, rel=0.05)
    assert np.mean([part.method for part in found]) == pytest.approx(2.25, rel=0.2)
    assert np.mean([part.method_low <= 2.25 <= part.method_high for part in found]) > 0.9


def test_negative_parts_are_cut_and_named() -> None:
    """Methods that are one and the same have no variance of their own nor with items; the finding says what
    was cut."""
    same = np.repeat(np.random.default_rng(1).normal(size=(1, 30, 4)), 2, axis=0)
    found = split_variance([same])
    assert (found.method, found.interaction) == (0, 0)
    assert found.cut == ("interaction",)


def test_scores_all_zero_have_no_parts() -> None:
    """Nothing varies: every part is 0, and repeats agree."""
    found = split_variance([np.zeros((2, 5, 3))])
    assert (found.item, found.chance, found.repeat_agreement) == (0, 0, 1)


def test_one_repeat_is_refused() -> None:
    """Chance and interaction cannot be told apart without repeats."""
    with pytest.raises(AuditError, match="two repeats"):
        split_variance([np.zeros((2, 5, 1))])


def test_items_with_a_gap_are_left_out() -> None:
    """Only items that every method finished in every repeat enter balanced formulas."""
    points = np.zeros((2, 3, 2))
    points[1, 1, 0] = np.nan
    assert complete_items(points).shape == (2, 2, 2)


def test_disagreement_beyond_chance_is_the_methods() -> None:
    """Equal mixtures have no excess though repeats disagree half the time; a method that always answers
    otherwise has one."""
    rng = np.random.default_rng(2)
    a, b = (np.where(rng.random((300, 4)) < 0.5, 100.0, 0.0) for _ in range(2))
    alike = self_agreement([a], [b], 0.05)
    assert alike is not None
    assert alike.flips_reference == pytest.approx(0.5, abs=0.05)
    assert alike.excess_low < 0 < alike.excess_high
    other = self_agreement([np.zeros((30, 3))], [np.full((30, 3), 50.0)], 0.05)
    assert other is not None
    assert (other.flips_method, other.across, other.excess) == (0, 1, 1)
    assert self_agreement([np.zeros((30, 1))], [np.zeros((30, 1))], 0.05) is None


def test_repeats_that_differ_by_half_a_point_disagree() -> None:
    """Scores need not be far apart: one of two items has two different scores through each method."""
    points = np.array([[50.0, 50.5], [20.0, 20.0]])
    found = self_agreement([points], [points], 0.05)
    assert found is not None
    assert (found.flips_reference, found.flips_method, found.across) == (0.5, 0.5, 0.25)
