"""Verdicts on weights, on replies whose margins are made: size, power, and what is not tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.audit.weights.item_tests import mean_excess, moments, permutation_p, rate_high
from harness.audit.weights.weight_audit import (
    MARGIN_UNLIKE,
    AskedSampling,
    RescoredReply,
    WeightsFindings,
    audit_weights,
)

GREEDY = AskedSampling(temperature=0.0)


def replies(
    method: str, *, share: float, items: int = 40, tokens: int = 40, seed: int = 0
) -> list[RescoredReply]:
    """Replies of which this share of tokens has a margin, exponential with mean .5."""
    rng = np.random.default_rng([seed, len(method)])
    listed = []
    for item in range(items):
        unlike = rng.random(tokens) < share
        margins = np.where(unlike, rng.exponential(0.5, tokens), 0.0)
        listed.append(
            RescoredReply(
                method=method,
                item=str(item),
                turn=0,
                margins=margins.tolist(),
                ranks=(1 + unlike).tolist(),
            )
        )
    return listed


def audited(
    *samples: list[RescoredReply],
    asked: AskedSampling = GREEDY,
    own: AskedSampling = GREEDY,
    left_out: Sequence[str] = (),
) -> WeightsFindings:
    found = audit_weights(
        [reply for sample in samples for reply in sample],
        "m/own",
        {"m/own": own, "m/a": asked, "m/other": asked},
        again="m/own (again)",
        rescored_at=0.0,
        alpha=0.05,
        seed=1,
        left_out=left_out,
    )
    assert found is not None
    return found


def test_other_weights_deviate_and_equal_ones_are_consistent() -> None:
    """The verdicts follow the margins; the first difference is named."""
    found = audited(
        replies("m/own", share=0.001), replies("m/a", share=0.06), replies("m/other", share=0.001, seed=4)
    )
    other, same = found.methods
    assert (other.method, other.verdict) == ("m/a", "DEVIATES")
    assert other.p is not None
    assert other.p <= 0.001
    assert other.first_turn == 0
    assert other.tested is not None
    assert other.tested_low is not None
    assert 0 < other.tested_low < other.tested < other.excess
    assert (
        "Other weights than those of m/own, another precision or another engine wrote these replies"
        in other.sentence
    )
    assert (same.method, same.verdict) == ("m/other", "CONSISTENT")
    assert same.unlike_high is not None
    assert same.unlike_high < MARGIN_UNLIKE


@pytest.mark.parametrize("share", [0.0, 0.13])
def test_scores_by_other_weights_than_the_references_confirm_nothing(share: float) -> None:
    """A reference whose own tokens are not its most likely ones was scored by another server than its own. No
    method is CONSISTENT then, neither with fewer such tokens nor with as many."""
    found = audited(
        replies("m/own", share=0.13, items=400), replies("m/other", share=share, items=400, seed=4)
    )
    (one,) = found.methods
    assert one.unlike_high is not None
    assert one.unlike_high < MARGIN_UNLIKE
    assert one.verdict == "INCONCLUSIVE"
    assert one.sentence.startswith("No method can be shown to have the weights of m/own: for 12.9 %")


def test_a_method_that_is_left_out_has_no_verdict_and_counts_in_holm() -> None:
    """As on scores: to leave a method out after the data makes no p-value of another method smaller."""
    samples = (
        replies("m/own", share=0.001),
        replies("m/a", share=0.06),
        replies("m/other", share=0.06, seed=4),
    )
    every, without = audited(*samples), audited(*samples, left_out=["m/a"])
    assert [one.method for one in every.methods] == ["m/a", "m/other"]
    (other,) = without.methods
    assert (other.method, other.verdict) == ("m/other", "DEVIATES")
    assert other.p is not None
    assert other.p_holm == 2 * other.p


def test_the_place_of_a_difference_is_that_of_one_reply() -> None:
    """The first turn is the earliest one; the token is a median over replies, and counts those before it."""
    differing = [
        RescoredReply(
            method="m/a", item=str(item), turn=turn, margins=[0.0] * place + [1.0], ranks=[1] * place + [2]
        )
        for item, (turn, place) in enumerate([(3, 4), (1, 30), *[(5, 7)] * 20])
    ]
    (one,) = audited(replies("m/own", share=0), differing).methods
    assert one.verdict == "DEVIATES"
    assert one.sentence.endswith(
        "The first clear difference is in turn 1. A reply with such a difference has its first one after 7 tokens "
        "(median)."
    )


def test_few_tokens_decide_nothing() -> None:
    """Without a difference, consistency needs enough tokens; fewer than five items are not tested."""
    (few,) = audited(
        replies("m/own", share=0, items=6, tokens=5), replies("m/a", share=0, items=6, tokens=5)
    ).methods
    assert few.verdict == "INCONCLUSIVE"
    assert few.p == 1
    (fewer,) = audited(replies("m/own", share=0), replies("m/a", share=0.5, items=4)).methods
    assert (fewer.verdict, fewer.p, fewer.reason) == (
        "INCONCLUSIVE",
        None,
        "fewer than 5 items of this method",
    )
    (lacking,) = audited(replies("m/own", share=0, items=4), replies("m/a", share=0.5)).methods
    assert (lacking.items, lacking.reason) == (40, "fewer than 5 items of the reference")


def test_other_sampling_is_not_compared() -> None:
    """Margins of another sampling show the sampling, and not the weights."""
    (one,) = audited(
        replies("m/own", share=0), replies("m/a", share=0.5), asked=AskedSampling(temperature=0.7)
    ).methods
    assert one.reason == "the method and the reference have different sampling or a different constraint"
    assert one.verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("temperature", "reason"),
    [
        (None, "the temperature of the method is not stated"),
        (0.7, "above temperature 0, only a temperature of at most 1 without top_k and penalties is tested"),
    ],
)
def test_the_reason_names_what_forbids_a_test(temperature: float | None, reason: str) -> None:
    """An import may not state a temperature. With top_k or penalties there are no places of tokens."""
    asked = AskedSampling(temperature=temperature, alike={"top_k": 40})
    own = AskedSampling(temperature=0.7, alike={"top_k": 40})
    (one,) = audited(replies("m/own", share=0), replies("m/a", share=0.5), asked=asked, own=own).methods
    assert (one.verdict, one.p, one.reason) == ("INCONCLUSIVE", None, reason)


def test_a_reference_that_differs_from_itself_is_not_calibrated() -> None:
    """The A/A replicate is tested on both sides and has no verdict."""
    found = audited(replies("m/own", share=0.05), replies("m/own (again)", share=0))
    assert not found.calibrated
    assert found.methods == ()
    sound = audited(replies("m/own", share=0.05), replies("m/own (again)", share=0.05, seed=9))
    assert sound.calibrated


def test_the_test_keeps_its_size() -> None:
    """About 5 % of 200 comparisons of equal weights have a p of at most .05, with replies of half the length,
    too."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        lengths = (rng.integers(20, 60, 40), rng.integers(10, 30, 20))
        first, second = (
            np.stack([rng.exponential(0.5, len(of)) * (rng.random(len(of)) < 0.01 * of), of], axis=1)
            for of in lengths
        )
        found += permutation_p(moments(first), moments(second), mean_excess, rng, draws=199) <= 0.05
    assert 3 <= found <= 19


def test_the_bound_of_a_rate_is_that_of_clopper_and_pearson() -> None:
    """Without a case in n tokens it is 1 - alpha^(1/n); with as many cases as tokens it is 1."""
    assert rate_high(0, 300, 0.05) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert rate_high(5, 5, 0.05) == 1


def test_each_verdict_has_its_sentence() -> None:
    """Consistent, too few tokens, and weights that differ are said in different words."""
    same, few = (
        audited(replies("m/own", share=0.001), replies("m/other", share=0.001, seed=4, items=items)).methods[
            0
        ]
        for items in (40, 5)
    )
    assert (same.verdict, few.verdict) == ("CONSISTENT", "INCONCLUSIVE")
    assert same.sentence.startswith(
        "With 95 % confidence, tokens that are not the most likely ones by the weights of m/own are at most 1 of 100 "
        "more frequent in the replies of this method than in those of the reference ("
    )
    assert few.sentence.startswith("There are too few tokens to decide about the weights")
