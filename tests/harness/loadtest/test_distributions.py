"""Descriptions of values, and the rule for percentiles."""

from __future__ import annotations

import pytest

from harness.loadtest.distributions import describe, quantile, values_needed


def test_percentiles_need_values_beyond_them() -> None:
    """p50 needs 20 values, p90 100, p95 200, p99 1,000; one fewer gives none."""
    assert [values_needed(percent) for percent in (50, 90, 95, 99)] == [20, 100, 200, 1000]
    for n, known in ((19, 0), (20, 1), (99, 1), (100, 2), (199, 2), (200, 3), (999, 3), (1000, 4)):
        found = describe([float(value) for value in range(n)])
        given = [one for one in (found.p50, found.p90, found.p95, found.p99) if one is not None]
        assert (found.n, len(given)) == (n, known)


def test_the_figures_are_those_of_the_values() -> None:
    """1 to 1,001: the mean is 501, p99 is exactly 991, sd is that of n - 1."""
    found = describe([float(value) for value in range(1001, 0, -1)])
    assert (found.mean, found.min, found.max, found.p50, found.p99) == pytest.approx((501, 1, 1001, 501, 991))
    assert describe([1.0, 3.0]).sd == pytest.approx(2**0.5)
    assert describe([]).mean is None


def test_quantiles_lie_between_neighbours() -> None:
    """A quarter of the way from the first to the last of five values is the second; no values have none."""
    assert quantile([5.0, 1.0, 2.0, 4.0, 3.0], 0.25) == 2.0
    assert quantile([1.0, 2.0], 0.25) == 1.25
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
