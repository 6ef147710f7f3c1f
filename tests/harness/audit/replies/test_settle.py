"""The number of prompts that settles an open verdict on replies, against the formula worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
from scipy import stats

from harness.audit.replies.classifier import ClassifierTest
from harness.audit.replies.divergence import Divergence
from harness.audit.replies.settle import prompts_to_settle

HARDLY = Divergence(
    prompts=100,
    items=100,
    hazard_reference=0.1,
    hazard_method=0.1,
    hazard_across=0.1,
    rho=1.0,
    low=0.9,
    high=1.1,
    error=0.05,
    self_match=0.0,
    excess=0.0,
    excess_low=0.0,
    excess_high=0.0,
    p_equivalence=1.0,
    curve=(),
)
TEST = ClassifierTest(
    prompts=100, auc=0.5, auc_high=0.54, share=0.0, share_high=0.2, separation=0.9, p_auc=0.5, p_share=0.5
)


def test_a_classifier_needs_prompts_by_the_square_of_its_error() -> None:
    """The error of the AUC is its bound over the 95 % quantile. An AUC of .5 is shown to be below .55 in nine
    audits of ten, if the two quantiles of the level and of .9 fit between them."""
    error = 0.04 / stats.norm.ppf(0.95)
    quantiles = stats.norm.ppf(0.95) + stats.norm.ppf(0.9)
    expected = ceil(100 * (quantiles * error / 0.05) ** 2)
    assert expected == 203
    assert prompts_to_settle(HARDLY, TEST, 1.5, 0.05) == expected


@pytest.mark.parametrize("test", [None, replace(TEST, share=None), replace(TEST, auc=0.6, auc_high=0.62)])
def test_a_classifier_without_power_or_with_a_difference_settles_nothing(test: ClassifierTest | None) -> None:
    """No number of prompts makes such a test an equivalence."""
    assert prompts_to_settle(HARDLY, test, 1.5, 0.05) is None


def test_there_are_always_more_prompts_than_now() -> None:
    """Also where the error is already small; nothing is said of replies that were not compared."""
    assert prompts_to_settle(HARDLY, replace(TEST, auc_high=0.501), 1.5, 0.05) == 101
    assert prompts_to_settle(None, TEST, 1.5, 0.05) is None
