"""The sentences of the verdicts on scores, word for word."""

from __future__ import annotations

from harness.audit.scores import verdict_sentences
from harness.audit.scores.sample_size import SampleSizePlan

PLAN = SampleSizePlan(
    repeats=5, items=None, factor=1.0, episodes=4200, margins_smallest=(1.2, 0.4), calls=12600, cost_usd=None
)


def test_different_in_words() -> None:
    """The sentence of DIFFERENT."""
    said = verdict_sentences.different(
        method="b",
        reference="a",
        difference=-3.26,
        low=-5.01,
        high=-1.5,
        items=420,
        repeats=5,
        p=0.00123,
        methods=3,
        mostly=("taboo", "format", -8.04),
        scope="the access method",
    )
    assert said == (
        "b differs from a by -3.3 points [-5.0, -1.5] on 420 items, each played 5 times (p = 0.0012, adjusted "
        "for 3 methods by Holm's method). The largest part is in taboo: -8.0 points due to format. This result "
        "holds for the access method, not only for these runs."
    )


def test_equivalent_in_words() -> None:
    """The sentence of EQUIVALENT, without and with a detectable difference."""
    plain = verdict_sentences.equivalent(
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
    assert plain == (
        "b is equivalent to a within 3 points: the difference is +0.2 points, 90 % interval [-0.8, +1.2]."
    )
    detectable = verdict_sentences.equivalent(
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
        f"{plain} The difference is not 0 (p = 0.02), but it is smaller than the margin. "
        "This result holds for these runs only; at another time it may be different."
    )


def test_inconclusive_in_words() -> None:
    """The sentence of INCONCLUSIVE: by repeats, and by items where repeats cannot settle it."""
    by_repeats = verdict_sentences.inconclusive(
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
    assert by_repeats == (
        "The difference between b and a is between -4.2 and +2.8 points. This range is too wide for a "
        "decision. It also allows for differences on rare items that were not played. To decide with the margin of "
        "3 points, play each item 5 times (12,600 calls)."
    )
    by_items = verdict_sentences.inconclusive(
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
        "The difference between b and a is between -4.2 and +2.8 points. This range is too wide for a "
        "decision. It also allows for differences on rare items that were not played. To decide with the margin of "
        "3 points, play about 900 items, each played 3 times ($12.50). More repeats of the same items are not "
        "enough: they cannot confirm a margin below 4.4 points. This result holds for these runs only; at another "
        "time it may be different."
    )


def test_the_replicate_in_words() -> None:
    """The sentence of the reference against itself, and how the smallest p-values are written."""
    assert (
        verdict_sentences.replicate(difference=0.3, low=-1, high=1.6, p=0.61)
        == "The two runs of the reference differ by +0.3 points [-1.0, +1.6] (p = 0.61, from one test of "
        "scores and % played over all games)."
    )
    assert "(p < 0.0001, " in verdict_sentences.replicate(difference=0.3, low=-1, high=1.6, p=0.00005)
