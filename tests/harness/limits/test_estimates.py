"""The expected cost of a call follows the calls before it."""

from __future__ import annotations

import pytest

from harness.limits.estimates import CHARACTERS_A_TOKEN, LEARNED_IN, CallCost, Estimates


def test_before_the_first_call_a_reply_is_as_long_as_it_may_be() -> None:
    """The input is estimated by the usual number of characters a token."""
    cost = Estimates().expect("a", characters=400, tokens_max=77)
    assert cost == CallCost(1.0, 400 / CHARACTERS_A_TOKEN, 77.0)
    assert cost.tokens == 100 + 77


def test_a_call_costs_one_request_and_no_tokens_unless_said() -> None:
    """The defaults of a cost."""
    assert CallCost() == (1.0, 0.0, 0.0)


def test_output_is_a_moving_mean_of_its_kind() -> None:
    """The first reply is the estimate, and each later one moves it by a fiftieth of the difference."""
    estimates = Estimates()
    estimates.learn("a", characters=0, cost=CallCost(output_tokens=20.0))
    assert estimates.expect("a", characters=0, tokens_max=100).output_tokens == 20.0
    estimates.learn("a", characters=0, cost=CallCost(output_tokens=70.0))
    assert estimates.expect("a", characters=0, tokens_max=100).output_tokens == 20.0 + 50.0 / LEARNED_IN
    assert estimates.expect("a", characters=0, tokens_max=5).output_tokens == 5.0
    assert estimates.expect("b", characters=0, tokens_max=100).output_tokens == 100.0


def test_characters_a_token_are_a_moving_mean_of_all_kinds() -> None:
    """Two characters a token move the ratio from four by a fiftieth; a call without input does not."""
    estimates = Estimates()
    estimates.learn("a", characters=200, cost=CallCost(input_tokens=100.0))
    ratio = CHARACTERS_A_TOKEN + (2.0 - CHARACTERS_A_TOKEN) / LEARNED_IN
    assert estimates.expect("b", characters=100, tokens_max=1).input_tokens == pytest.approx(100 / ratio)
    estimates.learn("a", characters=200, cost=CallCost(input_tokens=0.0))
    assert estimates.expect("b", characters=100, tokens_max=1).input_tokens == pytest.approx(100 / ratio)


def test_a_single_token_teaches_too() -> None:
    """The smallest input that a provider can count moves the ratio."""
    estimates = Estimates()
    estimates.learn("a", characters=54, cost=CallCost(input_tokens=1.0))
    assert estimates.expect("b", characters=100, tokens_max=1).input_tokens == pytest.approx(100 / 5.0)
