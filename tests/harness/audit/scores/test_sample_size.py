"""The designs that settle an open verdict."""

from __future__ import annotations

import numpy as np
import pytest

from harness.audit.scores.arrays import FloatArray
from harness.audit.scores.intervals import Strata, strata
from harness.audit.scores.sample_size import Question, SampleSizePlan, differing_min, noise_of, plan, reach


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
    differing = int((a.mean(axis=1) != b.mean(axis=1)).sum())
    items, repeats = a.shape
    return plan(
        [question], repeats=repeats, items=items, differing=differing, alpha=0.05, calls=10.0, cost_usd=None
    )


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
    """If items themselves respond to the method, more items are the advice and not more repeats; the least
    provable margin is given."""
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


def test_five_items_never_get_more_repeats() -> None:
    """Five items allow 2^5 sign flips and no p below .0625: the plan names six items for any repeats."""
    for repeats in (5, 6, 7, 30):
        a, b = np.full((5, repeats), 100.0), np.zeros((5, repeats))
        d = (b.mean(axis=1) - a.mean(axis=1))[None]
        found = _plan(a, b, strata([d], [np.ones(d.shape, dtype=np.bool_)]), 3.0)
        assert found.repeats is None
        assert found.items is not None
        assert found.items >= 6


def test_enough_items_must_differ() -> None:
    """If 2 of 40 items differ after 5 repeats, the plan asks for repeats or items after which 6 differ."""
    rng = np.random.default_rng(6)
    a = np.full((40, 5), 50.0)
    b = a + np.where(np.arange(40) < 2, 1.0, 0.0)[:, None] * rng.normal(size=(40, 5))
    d = (b.mean(axis=1) - a.mean(axis=1))[None]
    found = _plan(a, b, strata([d], [np.ones(d.shape, dtype=np.bool_)]), 3.0)
    assert found.repeats is None or 40 * (1 - (1 - 2 / 40) ** (found.repeats / 5)) >= 5.9
    assert found.items is None or 2 * found.items / 40 >= 6


def test_equal_repeats_ask_for_items() -> None:
    """All five repeats of every item are equal, and 3 of 400 items differ. A sixth repeat changes nothing, so
    the plan asks for more items: as many as have 6 that differ."""
    a = np.full((400, 5), 50.0)
    b = a + np.where(np.arange(400) < 3, 40.0, 0.0)[:, None]
    d = (b - a).mean(axis=1)[None]
    found = _plan(a, b, strata([d], [np.ones(d.shape, dtype=np.bool_)]), 3.0)
    assert found.repeats is None
    assert found.items == 800


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 7])
def test_the_smallest_p_decides_how_many_items_must_differ(alpha: float) -> None:
    """2^(1 - m) is at most alpha for the number that is named, and above it for one less."""
    count = differing_min(alpha)
    assert 2.0 ** (1 - count) <= alpha < 2.0 ** (2 - count)


def test_no_margin_is_wider_than_the_scale() -> None:
    """Two items that respond to the method by hundreds of points: the smallest margin is 100."""
    a, b, parts = _pair(np.random.default_rng(7), 2, 4, 900.0, 3.0)
    assert _plan(a, b, parts, 3.0).margins_smallest == (100.0,)
