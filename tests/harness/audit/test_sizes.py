"""Score against parameters."""

from __future__ import annotations

import pytest

from harness.audit.sizes import SizePoint, size_fit


def points(*pairs: tuple[float, float]) -> list[SizePoint]:
    return [SizePoint(model=str(place), parameters=size, clemscore=score) for place, (size, score) in enumerate(pairs)]


def test_a_straight_line_is_found() -> None:
    """Ten points a decade, exactly: that slope, R² of one, an interval without width."""
    fit = size_fit(points((1e8, 10), (1e9, 20), (1e10, 30), (1e11, 40)), 0.05)
    assert fit is not None
    assert (fit.slope, fit.intercept, fit.r2, fit.low, fit.high) == pytest.approx((10, -70, 1, 10, 10))


def test_chance_has_a_wide_interval() -> None:
    """Scores that do not follow size: the interval holds zero."""
    fit = size_fit(points((1e8, 30), (1e9, 10), (1e10, 40), (1e11, 20)), 0.05)
    assert fit is not None
    assert fit.low is not None
    assert fit.high is not None
    assert fit.low < 0 < fit.high


def test_too_little_says_nothing() -> None:
    """Two models, or models of one size: no line."""
    assert size_fit(points((1e8, 10), (1e9, 20)), 0.05) is None
    assert size_fit(points((1e9, 10), (1e9, 20), (1e9, 30)), 0.05) is None
