"""Identical replies to identical prompts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.audit.replies import ReplyColumns, compare_replies
from harness.core.errors import AuditError


def _columns(rows: list[tuple[str, str, str | None]]) -> ReplyColumns:
    return ReplyColumns(method=[row[0] for row in rows], ask_hash=[row[1] for row in rows], reply=[row[2] for row in rows])


def test_one_reply_each_is_a_proportion() -> None:
    """With one repeat the share is agreeing prompts over common ones, its interval Wilson's; self-agreement is unknown."""
    rows = [("a", f"p{i}", "x") for i in range(10)] + [("b", f"p{i}", "x" if i < 6 else "y") for i in range(10)]
    found = compare_replies(_columns([*rows, ("b", "p-other", "x"), ("a", "p-lost", None)]), "a")
    (match,) = found.across
    wilson = stats.binomtest(6, 10).proportion_ci(method="wilson")
    assert (match.method, match.prompts, match.share) == ("b", 10, 0.6)
    assert (match.low, match.high) == pytest.approx((wilson.low, wilson.high))
    assert match.excess is None
    assert [own.share for own in found.within] == [None, None]
    assert match.sentence == (
        "First replies of b and a to 10 identical prompts agree in 60 % [95 % 31, 83]; "
        "whether that is rarer than within a method needs two repeats."
    )


def test_repeats_compare_within_and_across() -> None:
    """Pairs of replies count within a prompt, prompts count alike: 1/2 across, 1 and 1/3 within."""
    rows: list[tuple[str, str, str | None]] = []
    for prompt in ("p", "q", "r"):
        rows += [("a", prompt, "x")] * 2 + [("b", prompt, "x"), ("b", prompt, "x"), ("b", prompt, "y")]
    found = compare_replies(_columns(rows), "a")
    assert [own.share for own in found.within] == pytest.approx([1.0, 1 / 3])
    assert found.across[0].share == pytest.approx(2 / 3)
    assert found.across[0].excess == pytest.approx(0.0)


def test_one_mixture_through_both_has_no_excess() -> None:
    """Replies drawn from one distribution agree as often across as within; the interval covers 0 in about 95 % of 200 audits."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        letters = rng.integers(0, 3, size=(2, 30, 3))
        rows: list[tuple[str, str, str | None]] = [
            ("ab"[m], f"p{i}", str(letters[m, i, r])) for m in range(2) for i in range(30) for r in range(3)
        ]
        (match,) = compare_replies(_columns(rows), "a").across
        assert match.excess_low is not None
        assert match.excess_high is not None
        covered += match.excess_low <= 0 <= match.excess_high
    assert 180 <= covered <= 199


def test_methods_without_common_prompts_are_named() -> None:
    """They are left out by name; an unknown reference is refused."""
    columns = _columns([("a", "p", "x"), ("b", "q", "x")])
    assert compare_replies(columns, "a").left_out == ("b",)
    with pytest.raises(AuditError, match="no replies through the reference"):
        compare_replies(columns, "c")
