"""Three verdicts, word for word."""

from __future__ import annotations

import pytest

from harness.audit import verdicts
from harness.audit.scores.sample_size import SampleSizePlan
from harness.audit.verdicts import decide, holm, label

PLAN = SampleSizePlan(
    repeats=5, items=None, factor=1.0, episodes=4200, margins_smallest=(1.2, 0.4), calls=12600, cost_usd=None
)


def test_holm_steps() -> None:
    """The smallest p counts k times, the next k - 1, never less than the one before, never above 1."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


@pytest.mark.parametrize(
    ("difference", "same", "game_beyond", "verdict"),
    [
        (0.01, 0.50, False, "DIFFERENT"),
        (0.01, 0.01, False, "EQUIVALENT"),
        (0.50, 0.01, False, "EQUIVALENT"),
        (0.50, 0.50, False, "INCONCLUSIVE"),
        (0.01, 0.01, True, "DIFFERENT"),
        (0.50, 0.01, True, "INCONCLUSIVE"),
    ],
)
def test_the_table_of_verdicts(difference: float, same: float, game_beyond: bool, verdict: str) -> None:
    """Both p's decide; a game beyond its own margin makes a detected difference DIFFERENT and never lets EQUIVALENT pass."""
    assert decide(p_difference=difference, p_equivalence=same, alpha=0.05, game_beyond=game_beyond) == verdict


def test_labels() -> None:
    """A table cell says the margin, or that it was left behind."""
    assert label("EQUIVALENT", margin=3.0, low=-1, high=1, missing_data=False) == "EQUIVALENT within ±3"
    assert (
        label("DIFFERENT", margin=3.0, low=-9, high=-3.5, missing_data=False)
        == "DIFFERENT by more than the margin"
    )
    assert label("DIFFERENT", margin=3.0, low=-9, high=-2.5, missing_data=False) == "DIFFERENT"
    assert (
        label("INCONCLUSIVE", margin=3.0, low=-9, high=2.5, missing_data=True)
        == "INCONCLUSIVE (missing data)"
    )


def test_different_in_words() -> None:
    """The sentence of DIFFERENT."""
    said = verdicts.different(
        method="b",
        reference="a",
        difference=-3.26,
        low=-5.01,
        high=-1.5,
        items=420,
        repeats=5,
        p=0.00123,
        methods=3,
        mostly=("taboo", "form", -8.04),
        scope="the access method",
    )
    assert said == (
        "b differs from a: -3.3 points [-5.0, -1.5] on 420 items x 5 (p = 0.0012, 3 methods, Holm). "
        "Mostly taboo: form -8.0. Scope: the access method."
    )


def test_equivalent_in_words() -> None:
    """The sentence of EQUIVALENT, without and with a detectable difference."""
    plain = verdicts.equivalent(
        method="b",
        reference="a",
        margin=3.0,
        difference=0.2,
        level=90.0,
        low=-0.8,
        high=1.2,
        p_detectable=None,
        scope="the access method",
    )
    assert plain == "b is equivalent to a within 3 points: +0.2 [90 % -0.8, +1.2]."
    detectable = verdicts.equivalent(
        method="b",
        reference="a",
        margin=3.0,
        difference=0.2,
        level=90.0,
        low=-0.8,
        high=1.2,
        p_detectable=0.02,
        scope="these runs",
    )
    assert detectable == (
        "b is equivalent to a within 3 points: +0.2 [90 % -0.8, +1.2]; a difference is detectable (p = 0.02). Scope: these runs."
    )


def test_inconclusive_in_words() -> None:
    """The sentence of INCONCLUSIVE: by repeats, and by items where repeats cannot settle it."""
    by_repeats = verdicts.inconclusive(
        method="b",
        reference="a",
        unit="points",
        low=-4.2,
        high=2.8,
        margin=3.0,
        repeats=3,
        plan=PLAN,
        margin_smallest=1.2,
        scope="the access method",
    )
    assert (
        by_repeats
        == "b may lie anywhere from -4.2 to +2.8 points off a. To settle 3 points: 5 repeats in all (12,600 calls)."
    )
    by_items = verdicts.inconclusive(
        method="b",
        reference="a",
        unit="points",
        low=-4.2,
        high=2.8,
        margin=3.0,
        repeats=3,
        plan=SampleSizePlan(
            repeats=None,
            items=900,
            factor=2.1,
            episodes=5400,
            margins_smallest=(4.4, 0.4),
            calls=None,
            cost_usd=12.5,
        ),
        margin_smallest=4.4,
        scope="these runs",
    )
    assert by_items == (
        "b may lie anywhere from -4.2 to +2.8 points off a. To settle 3 points: about 900 items in all x 3 ($12.50); "
        "to settle with these items is impossible below 4.4 points. Scope: these runs."
    )


def test_the_second_self_in_words() -> None:
    """The sentence of the reference against itself, and how the least p's are written."""
    assert (
        verdicts.again(difference=0.3, low=-1, high=1.6, p=0.61)
        == "The reference against itself: +0.3 [-1.0, +1.6]; joint p = 0.61."
    )
    assert verdicts.again(difference=0.3, low=-1, high=1.6, p=0.00005).endswith("joint p < 0.0001.")
