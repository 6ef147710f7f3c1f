"""The errors of a line over models, against statsmodels 0.14 in an environment of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.audit.regression import Regression, fit_line
from harness.audit.scores.arrays import FloatArray
from harness.core.errors import AuditError

# 24 models of 8 families, rounded to three decimals so that any program reads the same numbers.
CHANCE = np.random.default_rng(11)
FAMILY = np.repeat(np.arange(8), 3)
FIRST: FloatArray = CHANCE.normal(size=24)
SECOND: FloatArray = CHANCE.normal(size=24) + 0.1 * FAMILY
SCORES = np.round(
    20 + 5 * FIRST - 2 * SECOND + 3 * CHANCE.normal(size=8)[FAMILY] + 2 * CHANCE.normal(size=24), 3
)
FIRST, SECOND = (np.asarray(np.round(values, 3), dtype=np.float64) for values in (FIRST, SECOND))

HC3, HC2 = (0.6119130438, 0.6858723517), (0.5658346670, 0.6271763995)
CR2, Q2_FAMILY = (0.6453349889, 0.4076798221), 0.7619601063


def fitted(families: Sequence[str] | None) -> Regression:
    terms: dict[str, FloatArray] = {"first": FIRST, "second": SECOND}
    names = [f"m{place}" for place in range(24)]
    return fit_line("models", names, SCORES, terms, families=families, seed=1, draws=200)


def test_errors_by_model_are_those_of_statsmodels() -> None:
    """HC3; and CR2 with one model in each family, which is HC2."""
    fit = fitted([f"f{place}" for place in range(24)])
    assert [slope.se for slope in fit.slopes] == pytest.approx(HC3, abs=1e-6)
    assert [slope.se_family for slope in fit.slopes] == pytest.approx(HC2, abs=1e-6)
    assert fit.q2_family == pytest.approx(fit.q2)


def test_errors_by_family_and_prediction_of_families() -> None:
    """CR2 as its definition gives it with scipy's matrix root; Q2 from refits without each family."""
    fit = fitted([f"f{family}" for family in FAMILY])
    assert fit.families == 8
    assert [slope.se_family for slope in fit.slopes] == pytest.approx(CR2, abs=1e-6)
    assert fit.q2_family == pytest.approx(Q2_FAMILY, abs=1e-6)
    assert fit.q2_family is not None
    assert fit.q2_family < fit.q2 < fit.r2


def test_an_error_of_0_is_a_number() -> None:
    """Every model has a variant that is 3 points worse, so that the effect has no error within families:
    rounding would make its variance negative."""
    sizes = np.repeat(np.log10(2.0 ** (np.arange(14) % 7)), 2)
    variant = np.tile([0.0, 1.0], 14)
    noise = np.repeat(np.random.default_rng(0).normal(size=14), 2)
    fit = fit_line(
        "all",
        [str(place) for place in range(28)],
        20 + 25 * sizes + 4 * noise - 3 * variant,
        {"size": sizes, "variant": variant},
        families=[f"f{place // 2 % 6}" for place in range(28)],
        seed=0,
    )
    assert fit.slopes[1].se_family == pytest.approx(0.0, abs=1e-6)


def test_few_or_unknown_families_have_no_errors() -> None:
    """Four families are too few; without families there is nothing to cluster by."""
    few = fitted([f"f{place % 4}" for place in range(24)])
    unknown = fitted(None)
    assert (few.families, few.q2_family, few.slopes[0].se_family) == (4, None, None)
    assert (unknown.families, unknown.q2_family, unknown.slopes[0].se_family) == (None, None, None)


@pytest.mark.parametrize(
    ("first", "second"),
    [((1.0, 2.0, 4.0, 5.0, 7.0), (2.0, 4.0, 8.0, 10.0, 14.0)), ((1.0, 2.0, 4.0), (3.0, 1.0, 1.0))],
)
def test_facts_that_do_not_differ_enough_are_refused(first: Sequence[float], second: Sequence[float]) -> None:
    """A term that is twice the other one; as many coefficients as models."""
    terms = {"first": np.array(first), "second": np.array(second)}
    scores = np.array([float(place**2) for place in range(len(first))])
    names = [f"m{place}" for place in range(len(first))]
    with pytest.raises(AuditError, match=f"these {len(first)} models do not differ enough"):
        fit_line("models", names, scores, terms, families=None, seed=1, draws=50)


def test_the_interval_of_a_share_of_variance_contains_it() -> None:
    """It is that of models drawn again, so a share of 0.9 is neither certain nor nothing."""
    fit = fitted(None)
    assert fit.r2_low < fit.r2 < fit.r2_high
    assert fit.r2_low > 0.4
    assert fit.r2_high < 0.99


def test_as_many_families_as_coefficients_and_one_are_enough() -> None:
    """Four terms and the intercept: six families give errors by family, five do not."""
    terms = {str(number): np.random.default_rng(number).normal(size=24) for number in range(4)}
    names = [f"m{place}" for place in range(24)]
    for count, known in ((6, True), (5, False)):
        families = [f"f{place % count}" for place in range(24)]
        fit = fit_line("models", names, SCORES, terms, families=families, seed=1, draws=50)
        assert (fit.slopes[0].se_family is not None) is known
