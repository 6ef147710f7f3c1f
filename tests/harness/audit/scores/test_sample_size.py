"""What settling costs."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit.scores.arrays import FloatArray
from harness.audit.scores.intervals import Strata, strata
from harness.audit.scores.sample_size import Question, SampleSizePlan, noise_of, plan, reach


def _pair(
    rng: np.random.Generator, items: int, repeats: int, interaction: float, chance: float
) -> tuple[FloatArray, FloatArray, Strata]:
    a, b = (
        interaction * rng.normal(size=(items, 1)) + chance * rng.normal(size=(items, repeats))
        for _ in range(2)
    )
    d = (b.mean(axis=1) - a.mean(axis=1))[None]
    return a, b, strata([d], [np.ones(d.shape, dtype=np.bool_)])


def _plan(a: FloatArray, b: FloatArray, parts: Strata, margin: float) -> SampleSizePlan:
    question = Question(parts=parts, noise=noise_of([a], [b], parts), margin=margin)
    return plan([question], repeats=a.shape[1], items=a.shape[0], alpha=0.05, calls=10.0, cost_usd=None)


def test_noise_is_split_as_planted() -> None:
    """The part that repeats shrink is 2 chance / n, the part they do not is 2 interaction / n."""
    a, b, parts = _pair(np.random.default_rng(1), 4000, 3, 2.0, 5.0)
    noise = noise_of([a], [b], parts)
    assert noise is not None
    assert 4000 * noise.chance == pytest.approx(50, rel=0.05)
    assert 4000 * noise.items == pytest.approx(8, rel=0.25)


def test_repeats_are_forecast_by_the_formula() -> None:
    """R = A / ((m/z)^2 - B), rounded up, and its calls for both methods."""
    a, b, parts = _pair(np.random.default_rng(2), 200, 2, 1.0, 20.0)
    noise = noise_of([a], [b], parts)
    assert noise is not None
    found = _plan(a, b, parts, 3.0)
    assert found.repeats == int(np.ceil(noise.chance / ((3.0 / reach(0.05)) ** 2 - noise.items)))
    assert found.calls == found.repeats * 200 * 10
    assert found.items is None


def test_what_repeats_cannot_buy_is_said() -> None:
    """When items themselves respond to the method, more repeats are no way: more items are, and the least
    provable margin is told."""
    a, b, parts = _pair(np.random.default_rng(3), 30, 4, 30.0, 3.0)
    found = _plan(a, b, parts, 3.0)
    assert found.repeats is None
    assert found.items is not None
    assert found.items > 30
    assert found.margins_smallest[0] is not None
    assert found.margins_smallest[0] > 3


def test_one_repeat_can_only_ask_for_items() -> None:
    """With one repeat the parts cannot be told apart: the plan grows the items, four times for half the
    margin."""
    a, b, parts = _pair(np.random.default_rng(4), 50, 1, 0.0, 30.0)
    wide, narrow = _plan(a, b, parts, 3.0), _plan(a, b, parts, 1.5)
    assert wide.items is not None
    assert narrow.items == pytest.approx(4 * wide.items, rel=0.01)
    assert wide.margins_smallest == (None,)


def test_scores_all_zero_need_items_enough_to_see_one() -> None:
    """Nothing seen in 20 items: a margin of 3 points needs 99, since .97^99 < .05."""
    zeros = np.zeros((20, 1))
    d = np.zeros((1, 20))
    found = _plan(zeros, zeros, strata([d], [np.ones(d.shape, dtype=np.bool_)]), 3.0)
    assert found.items == 99


def test_a_plan_always_asks_for_more() -> None:
    """A difference near the margin is open at any error held so far: the plan then aims at the difference
    seen."""
    rng = np.random.default_rng(5)
    a, b, _ = _pair(rng, 400, 3, 0.0, 10.0)
    b = b + 2.6
    d = (b.mean(axis=1) - a.mean(axis=1))[None]
    found = _plan(a, b, strata([d], [np.ones(d.shape, dtype=np.bool_)]), 3.0)
    assert found.repeats is not None
    assert found.repeats > 3
