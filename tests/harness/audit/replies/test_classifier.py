"""Replies that hardly repeat: what is called equivalent, and what never is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.audit.replies.classifier import ClassifierTest, _p_below_planted, tell_apart
from harness.audit.replies.columns import ReplyColumns, gather
from harness.audit.replies.reply_audit import CrossMatch, compare_replies
from tests.harness.audit.free_text import (
    DIFFERENT_STYLES,
    REFERENCE,
    Style,
    independent_of_the_prompt,
    write,
)


def audited(*styles: Style, prompts: int = 200, seed: int = 1) -> tuple[CrossMatch, ...]:
    columns = write((REFERENCE, *styles), prompts=prompts, repeats=5, seed=seed)
    return compare_replies(columns, "m0", seed=seed, draws=199).across


def distinguish(columns: ReplyColumns) -> ClassifierTest:
    replies = gather(columns)
    prompts = np.flatnonzero(replies.informative(0, 1))
    test = tell_apart(replies, 0, 1, prompts, 0.05, np.random.default_rng(0))
    assert test is not None
    return test


def test_the_same_model_is_equivalent_where_no_reply_ever_repeats() -> None:
    """200 prompts with five replies each bound both classifiers, and the sentence states what the margin
    means."""
    (match,) = audited(REFERENCE)
    assert match.pairs_equal == 0
    assert match.divergence is not None
    assert match.divergence.self_match == 0.0
    assert (match.verdict, match.label) == ("EQUIVALENT", "EQUIVALENT (margin: 10 of 100 replies)")
    assert "It can tell fewer than 10 of 100 replies of this method apart" in match.sentence


@pytest.mark.parametrize("style", DIFFERENT_STYLES)
def test_a_difference_in_a_tenth_of_the_replies_is_not_equivalent(style: str) -> None:
    """No word in common, half the length, other subjects, refusals: DIFFERENT, though rho is near 1 and no
    reply is equal; foreign replies of the same words at least INCONCLUSIVE."""
    (match,) = audited(DIFFERENT_STYLES[style])
    assert match.pairs_equal == 0
    assert match.verdict == ("INCONCLUSIVE" if style == "10 % foreign" else "DIFFERENT")
    assert match.classifier is not None
    assert match.classifier.p_equivalence > 0.05


def test_replies_that_do_not_depend_on_the_prompt_settle_nothing() -> None:
    """Foreign replies cannot be noticed among them, so that alike methods are INCONCLUSIVE, with advice; and
    two servers without a word in common are DIFFERENT at 60 prompts and at 200."""
    plain = independent_of_the_prompt(REFERENCE)
    disjoint = independent_of_the_prompt(Style(other_words=True))
    columns = write((plain, plain, disjoint), prompts=200, repeats=5, seed=2)
    same, other = compare_replies(columns, "m0", seed=1, draws=199).across
    assert (same.verdict, other.verdict) == ("INCONCLUSIVE", "DIFFERENT")
    assert "so similar from prompt to prompt that 10 of 100 replies from another model" in same.sentence
    assert "temperature 0" in same.sentence
    few = compare_replies(
        write((plain, disjoint), prompts=60, repeats=5, seed=3), "m0", seed=1, draws=199
    ).across[0]
    assert few.verdict == "DIFFERENT"


def test_more_data_do_not_turn_different_into_equivalent() -> None:
    """The verdict on methods with 10 % refusals is never EQUIVALENT at 60, 120 and 240 prompts."""
    for prompts in (60, 120, 240):
        (match,) = audited(Style(refused=0.1), prompts=prompts, seed=prompts)
        assert match.verdict != "EQUIVALENT"


def test_figures_are_those_of_a_coin_without_a_difference() -> None:
    """Over 6 data sets the AUC centres on .5 and the share on 0; planted shares of .1 are found on
    average."""
    alike = [
        distinguish(write((REFERENCE, REFERENCE), prompts=60, repeats=4, seed=seed)) for seed in range(6)
    ]
    planted = [
        distinguish(write((REFERENCE, Style(foreign=0.1)), prompts=60, repeats=4, seed=seed))
        for seed in range(6)
    ]
    assert np.mean([test.auc for test in alike]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([test.share or 0.0 for test in alike]) == pytest.approx(0.0, abs=0.04)
    assert np.mean([test.share or 0.0 for test in planted]) == pytest.approx(0.1, abs=0.04)


def test_too_few_items_get_no_test() -> None:
    """Fewer than 20 items are no test, and the advice says so."""
    (match,) = audited(REFERENCE, prompts=19)
    assert match.classifier is None
    assert match.verdict == "INCONCLUSIVE"
    assert "too few prompts" in match.sentence


def test_a_method_with_more_repeats_counts_its_prompts_once() -> None:
    """Two and five replies a prompt: the figures exist and centre on chance."""
    columns = write((REFERENCE, REFERENCE), prompts=80, repeats=5, seed=4)
    kept = [place for place, name in enumerate(columns.method) if name == "m0" or place % 5 < 2]
    prompts = [columns.item[place] for place in kept]
    fewer = ReplyColumns(
        method=[columns.method[place] for place in kept],
        item=prompts,
        turn=[0] * len(kept),
        ask_hash=prompts,
        reply=[columns.reply[place] for place in kept],
        size=[columns.size[place] for place in kept],
        ending=["stop"] * len(kept),
    )
    test = distinguish(fewer)
    assert test.prompts == 80
    assert 0.4 < test.auc < 0.6


def test_one_share_among_planted_ones_is_a_t_of_a_future_value() -> None:
    """Three planted shares of mean 1 and deviation 1: a share as far below as t's 5 % quantile times the root
    of 1 + 1/3 has a p of .05."""
    share = 1 + stats.t.ppf(0.05, 2) * np.sqrt(4 / 3)
    assert _p_below_planted(share, np.array([0.0, 1.0, 2.0])) == pytest.approx(0.05)
