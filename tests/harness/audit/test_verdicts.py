"""The table of verdicts, Holm's adjustment, labels."""

from __future__ import annotations

import pytest

from harness.audit.verdicts import decide, holm, label


def test_holm_steps() -> None:
    """Holm multiplies the smallest of k p-values by k, the next by k - 1; adjusted values never fall and
    never exceed 1."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize(
    ("difference", "same", "game_beyond", "verdict"),
    [
        (0.01, 0.50, False, "DIFFERENT"),
        (0.01, 0.01, False, "EQUIVALENT"),
        (0.50, 0.01, False, "EQUIVALENT"),
        (0.50, 0.50, False, "INCONCLUSIVE"),
        (0.01, 0.01, True, "DIFFERENT"),
        (0.50, 0.01, True, "INCONCLUSIVE"),
    ],
)
def test_the_table_of_verdicts(difference: float, same: float, game_beyond: bool, verdict: str) -> None:
    """Both p-values decide; a game beyond its own margin makes a detected difference DIFFERENT and rules
    EQUIVALENT out."""
    assert decide(p_difference=difference, p_equivalence=same, alpha=0.05, game_beyond=game_beyond) == verdict


def test_labels() -> None:
    """A table cell names the margin, or says that the interval lies outside it."""
    assert label("EQUIVALENT", margin=3.0, low=-1, high=1) == "EQUIVALENT within ±3"
    assert label("DIFFERENT", margin=3.0, low=-9, high=-3.5) == "DIFFERENT by more than the margin"
    assert label("DIFFERENT", margin=3.0, low=-9, high=-2.5) == "DIFFERENT"
    assert (
        label("INCONCLUSIVE", margin=3.0, low=-9, high=2.5, reason="missing data")
        == "INCONCLUSIVE (missing data)"
    )
