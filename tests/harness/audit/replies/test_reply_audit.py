"""Replies to identical prompts: what is counted, what is tested, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.audit.replies.columns import ReplyColumns
from harness.audit.replies.reply_audit import ReplyFindings, compare_replies
from harness.core.errors import AuditError
from tests.harness.audit.automaton import CAPPED, EIGHT_BIT, FOUR_BIT, TRUE, WARM, Served, ask

Row = tuple[str, str, str | None]


def columns_of(rows: Sequence[Row], turns: Sequence[int] | None = None) -> ReplyColumns:
    """First replies (or of these turns), each to a prompt of an item of its own."""
    return ReplyColumns(
        method=[row[0] for row in rows],
        item=[row[1] for row in rows],
        turn=turns or [0] * len(rows),
        ask_hash=[row[1] for row in rows],
        reply=[row[2] for row in rows],
        size=[len(row[2] or "") for row in rows],
        ending=["stop"] * len(rows),
    )


def test_one_reply_each_is_a_proportion_and_no_verdict() -> None:
    """One repeat gives the share of equal prompts with Wilson's interval; the sentence says nothing is
    tested."""
    rows: list[Row] = [("b", "p-other", "x"), ("a", "p-lost", None)]
    rows += [("a", f"p{i}", "x") for i in range(10)]
    rows += [("b", f"p{i}", "x" if i < 6 else "y") for i in range(10)]
    found = compare_replies(columns_of(rows), "a", seed=1)
    (match,) = found.across
    wilson = stats.binomtest(6, 10).proportion_ci(method="wilson")
    assert (match.method, match.prompts, match.share) == ("b", 10, 0.6)
    assert (match.low, match.high) == pytest.approx((wilson.low, wilson.high))
    assert (match.p, match.verdict, match.label) == (None, None, "not compared")
    assert [own.share for own in found.within] == [None, None]
    assert match.sentence.endswith("(60 % of 10 replies equal those of a).")


def test_repeats_compare_within_and_across() -> None:
    """Pairs of replies count within a prompt, prompts count alike: 1/2 across, 1 and 1/3 within."""
    rows: list[Row] = []
    for prompt in ("p", "q", "r"):
        rows += [("a", prompt, "x")] * 2 + [("b", prompt, "x"), ("b", prompt, "x"), ("b", prompt, "y")]
    found = compare_replies(columns_of(rows), "a", seed=1)
    assert [own.share for own in found.within] == pytest.approx([1.0, 1 / 3])
    assert found.across[0].share == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def panel() -> ReplyFindings:
    """60 asks, five times each, at temperature 0, of one automaton served in several ways."""
    columns = ask([TRUE, TRUE, TRUE, EIGHT_BIT, FOUR_BIT, WARM, CAPPED], prompts=60, repeats=5, seed=3)
    return compare_replies(columns, "m0", again="m1", seed=1, draws=499)


def test_each_defect_is_seen_and_the_truth_is_alike(panel: ReplyFindings) -> None:
    """The same model is EQUIVALENT; coarse weights, a temperature and a cap are DIFFERENT; fine weights
    show."""
    same, fine, coarse, warm, capped = panel.across
    assert (same.verdict, same.label) == ("EQUIVALENT", "EQUIVALENT (margin: divergence ratio 1.5)")
    assert same.sentence.startswith(
        "Replies to identical prompts are as similar across methods as within one method (two replies of "
    )
    assert [match.verdict for match in (coarse, warm, capped)] == ["DIFFERENT"] * 3
    assert "Replies to identical prompts differ (p " in coarse.sentence
    assert fine.p_difference is not None
    assert fine.p_difference <= 0.05
    assert all(
        match.divergence is not None and (match.divergence.rho or 0.0) > 1.2
        for match in (fine, coarse, warm, capped)
    )
    endings = dict(next(own for own in panel.within if own.method == "m6").endings)
    assert endings["length"] > 0.5


def test_the_replicate_of_is_apart(panel: ReplyFindings) -> None:
    """It is not among the methods, is not counted by Holm, and says whether the audit may be believed."""
    assert "m1" not in [match.method for match in panel.across]
    assert panel.again is not None
    assert panel.calibrated
    assert panel.again.sentence.startswith(
        "The test for a difference between the replies of the reference's two runs gives p "
    )
    broken = compare_replies(
        ask([TRUE, FOUR_BIT, TRUE], prompts=40, repeats=3, seed=5), "m0", again="m1", seed=1, draws=499
    )
    assert not broken.calibrated


def test_histories_are_compared_not_turns() -> None:
    """A defect in the first turn does not count for the second: only equal histories are compared."""
    rng = np.random.default_rng(4)
    rows: list[Row] = []
    turns: list[int] = []
    for i in range(40):
        for method in "ab":
            for _ in range(5):
                first = str(rng.integers(0, 2)) if method == "a" else str(rng.integers(0, 3))
                rows += [(method, f"p{i}", first), (method, f"p{i}+{first}", str(rng.integers(0, 3)))]
                turns += [0, 1]
    columns = columns_of(rows, turns)
    (match,) = compare_replies(
        replace(columns, item=[row[1].split("+")[0] for row in rows]), "a", seed=1, draws=499
    ).across
    first_turn, second = match.turns
    assert first_turn.p is not None
    assert first_turn.p <= 0.05
    assert second.p is not None
    assert second.p > 0.05
    assert first_turn.comparable == 1.0
    assert second.comparable < 0.9
    assert match.verdict == "DIFFERENT"


def test_a_reply_that_never_changes_needs_many_prompts() -> None:
    """If no method ever contradicts itself, 59 prompts with equal replies prove that at most one in twenty
    differs; 30 do not, and the sentence says how many would."""
    few, many = (
        compare_replies(
            columns_of([(m, f"p{i}", "x") for m in "aabb" for i in range(n)]), "a", seed=1
        ).across[0]
        for n in (30, 59)
    )
    assert (few.verdict, few.prompts_to_settle) == ("INCONCLUSIVE", 59)
    assert "For the verdict EQUIVALENT, use about 59 prompts with as many repeats as now." in few.sentence
    assert many.verdict == "EQUIVALENT"


@pytest.mark.parametrize("prompts", [24, 96])
def test_there_is_no_ratio_where_nothing_varies_within(prompts: int) -> None:
    """Two methods that each repeat themselves and differ in every reply: DIFFERENT, and no ratio is shown,
    for it would only count the prompts."""
    rows = [(m, f"p{i}", m) for m in "aabb" for i in range(prompts)]
    (match,) = compare_replies(columns_of(rows), "a", seed=1).across
    assert match.verdict == "DIFFERENT"
    assert match.divergence is not None
    assert (match.divergence.rho, match.divergence.low, match.divergence.high) == (None, None, None)
    assert "rho" not in match.sentence


def test_neither_order_nor_names_nor_keys_matter() -> None:
    """Shuffled rows, other names and keyed texts change no figure; swapped methods keep p and rho."""
    columns = ask([TRUE, EIGHT_BIT], prompts=20, repeats=3, seed=8)
    plain = compare_replies(columns, "m0", seed=1, draws=199).across[0]
    order = np.random.default_rng(0).permutation(len(columns.reply))
    keys = {text: number for number, text in enumerate(sorted(set(columns.reply)))}
    changed = ReplyColumns(
        method=[{"m0": "z", "m1": "y"}[columns.method[i]] for i in order],
        item=[columns.item[i] for i in order],
        turn=[0] * len(order),
        ask_hash=[columns.ask_hash[i] for i in order],
        reply=[keys[columns.reply[i]] for i in order],
        size=[columns.size[i] for i in order],
        ending=[columns.ending[i] for i in order],
        texts={number: text for text, number in keys.items()},
    )
    other = compare_replies(changed, "z", seed=1, draws=199).across[0]
    assert (other.p, other.share, other.divergence) == (plain.p, plain.share, plain.divergence)
    swapped = compare_replies(columns, "m1", seed=1, draws=199).across[0]
    assert swapped.divergence is not None
    assert plain.divergence is not None
    assert swapped.divergence.rho == pytest.approx(plain.divergence.rho)


@pytest.mark.parametrize("served", [TRUE, Served(temperature=1.0, tokens_max=20)], ids=["greedy", "warm"])
def test_one_model_twice_is_rarely_different(served: Served) -> None:
    """At most 6 of 40 audits of one model with itself are below .05, and rho's interval holds 1 in at least
    32."""
    low, held = 0, 0
    for seed in range(40):
        (match,) = compare_replies(
            ask([served, served], prompts=15, repeats=3, seed=seed), "m0", seed=seed, draws=199
        ).across
        assert match.p is not None
        assert match.divergence is not None
        low += match.p <= 0.05
        low_rho, high_rho = match.divergence.low, match.divergence.high
        held += low_rho is None or high_rho is None or low_rho <= 1 <= high_rho
    assert low <= 6
    assert held >= 32


def test_methods_without_common_prompts_are_named() -> None:
    """They are left out by name; an unknown reference is refused."""
    columns = columns_of([("a", "p", "x"), ("b", "q", "x")])
    assert compare_replies(columns, "a", seed=1).left_out == ("b",)
    with pytest.raises(AuditError, match="no replies through the reference"):
        compare_replies(columns, "c", seed=1)
