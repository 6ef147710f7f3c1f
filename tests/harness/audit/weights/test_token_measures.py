"""Margins and places of tokens, against values computed by hand."""

from __future__ import annotations

from math import log

import pytest

from harness.audit.weights.token_measures import CAP, margin, place
from harness.core.vocabulary import ScoredToken

TOP = (log(0.5), log(0.3), log(0.1))


def said(rank: int, logprob: float | None = None) -> ScoredToken:
    return ScoredToken("t", TOP[rank - 1] if logprob is None else logprob, rank, TOP)


def test_the_margin_is_the_distance_to_the_best_token() -> None:
    """It is 0 for the best token, and cut."""
    assert margin(said(1)) == 0
    assert margin(said(2)) == pytest.approx(log(0.5 / 0.3))
    assert margin(said(900, -30.0)) == CAP
    assert margin(ScoredToken("t", -1.0, 1, ())) == 0


@pytest.mark.parametrize(
    ("rank", "temperature", "top_p", "low", "high"),
    [
        (1, 1.0, 1.0, 0.0, 0.5),
        (2, 1.0, 1.0, 0.5, 0.8),
        (3, 1.0, 1.0, 0.8, 0.9),
        (7, 1.0, 1.0, 0.9, 1.0),
        # The squares .25, .09 and .01; the tenth that is not listed is at most one token of .1, so .01.
        (1, 0.5, 1.0, 0.0, 0.25 / 0.36),
        (2, 0.5, 1.0, 0.25 / 0.36, 0.34 / 0.36),
        (7, 0.5, 1.0, 0.35 / 0.36, 1.0),
        # The first two reach .7, so the sampler draws from them alone.
        (1, 1.0, 0.7, 0.0, 0.625),
        (2, 1.0, 0.7, 0.625, 1.0),
        (3, 1.0, 0.7, 1.0, 1.0),
        (7, 1.0, 0.7, 1.0, 1.0),
    ],
)
def test_the_place_is_the_share_before_and_up_to_a_token(
    rank: int, temperature: float, top_p: float, low: float, high: float
) -> None:
    """The distribution is that which the sampler draws from."""
    token = said(rank) if rank <= 3 else said(rank, log(0.05))
    assert place(token, temperature=temperature, top_p=top_p) == pytest.approx((low, high))
