"""Interim analyses: constants, false alarms, stops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.audit.scores.arrays import ScoreArray
from harness.audit.scores.evidence import AuditRules
from harness.audit.scores.interim import (
    InterimResult,
    SequentialMonitor,
    first_items,
    interim_analysis,
    sentence,
    sequential_alarm,
    spending,
)
from tests.harness.audit.simulator import CLEAN, DEAD_GAME, ITEMS, NEW_ABORTS, QUANTISATION, Defect, simulate

QUARTERS = (0.25, 0.5, 0.75, 1.0)
RULES = AuditRules(margin=3.0, margin_played=5.0, margin_game=10.0, alpha=0.05, seed=1)


def _blocks(scores: ScoreArray) -> list[list[str]]:
    places = [
        (4 * place // len(game.items), item) for game in scores.games for place, item in enumerate(game.items)
    ]
    return [[item for at, item in places if at == block] for block in range(4)]


def looked(scores: ScoreArray, *, draws: int = 999) -> InterimResult:
    """Returns the analysis that ends the audit of two methods."""
    spent, blocks = spending(QUARTERS, 0.05), _blocks(scores)
    for number in range(1, 5):
        look = interim_analysis(
            first_items(scores, blocks, number),
            "m0",
            "m1",
            number=number,
            spent=spent,
            rules=RULES,
            open_difference=1,
            open_equivalence=1,
            e_value=1.0,
            draws=draws,
        )
        if look.last:
            return look
    raise AssertionError("the last look is the last")


def test_levels_are_those_of_the_tables() -> None:
    """O'Brien and Fleming's constant for four looks is 2.024 at .05; what is spent on differences adds up to
    .045; "equivalent" is not said before a third of the items."""
    spent = spending(QUARTERS, 0.05)
    assert spent.repeated[-1] / 2 == pytest.approx(0.02147, abs=2e-5)  # 1 - Phi(2.0243)
    assert [level > 0 for level in spent.equivalence] == [False, True, True, True]
    assert sum(spent.difference) == pytest.approx(0.045)
    assert list(spent.difference) == sorted(spent.difference)
    assert spending((1.0,), 0.05).repeated[0] == pytest.approx(0.05, abs=1e-4)


def test_unequal_looks_keep_alpha() -> None:
    """Whatever the shares: a path of independent steps passes the repeated bounds, and those of equivalence,
    in 5 % of 40,000 draws."""
    shares = (0.1, 0.35, 0.4, 1.0)
    bound = -np.array([stats.norm.ppf(level / 2) for level in spending(shares, 0.05).repeated])
    steps = np.random.default_rng(1).normal(size=(40_000, 4)) * np.sqrt(np.diff(shares, prepend=0.0))
    z = steps.cumsum(axis=1) / np.sqrt(shares)
    assert (np.abs(z) >= bound).any(axis=1).mean() == pytest.approx(0.05, abs=0.004)
    one_sided = -stats.norm.ppf(spending(shares, 0.05).equivalence)
    assert (z >= one_sided).any(axis=1).mean() == pytest.approx(0.05, abs=0.004)


def test_one_model_twice_is_rarely_stopped_as_different() -> None:
    """At most 3 of 20 audits with four looks each end DIFFERENT; with three repeats at temperature 0 at least
    16 end EQUIVALENT, and on average before three quarters of the items."""
    rng = np.random.default_rng(2)
    ends = [looked(simulate("strong", [CLEAN, CLEAN], rng, repeats=3, greedy=True)) for _ in range(20)]
    verdicts = [look.verdict for look in ends]
    assert verdicts.count("DIFFERENT") <= 3
    assert verdicts.count("EQUIVALENT") >= 16
    assert np.mean([look.share for look in ends]) <= 0.75


@pytest.mark.parametrize(("defect", "share"), [(QUANTISATION, 0.8), (NEW_ABORTS, 0.9)])
def test_planted_defects_stop_the_play(defect: Defect, share: float) -> None:
    """Coarse weights and 5 % new aborts: at least 10 of 12 audits end DIFFERENT, having played less than
    all."""
    rng = np.random.default_rng(3)
    ends = [looked(simulate("strong", [CLEAN, defect], rng, repeats=1, greedy=True)) for _ in range(12)]
    assert sum(look.verdict == "DIFFERENT" for look in ends) >= 10
    assert np.mean([look.share for look in ends]) <= share


def test_repeated_intervals_hold_at_every_look() -> None:
    """In at least 16 of 20 audits of one model twice every analysis has an interval that contains 0."""
    rng, spent, held = np.random.default_rng(4), spending(QUARTERS, 0.05), 0
    for _ in range(20):
        scores = simulate("mid", [CLEAN, CLEAN], rng, repeats=1, greedy=False)
        looks = [
            interim_analysis(
                first_items(scores, _blocks(scores), number), "m0", "m1", number=number, spent=spent, rules=RULES,
                open_difference=1, open_equivalence=1, e_value=1.0, draws=99,
            )
            for number in range(1, 5)
        ]  # fmt: skip
        held += all(look.low <= 0 <= look.high for look in looks)
    assert held >= 16


def test_the_tripwire_is_quiet_without_a_difference() -> None:
    """Read after every item, it reaches 20 in at most 5 % of 600 null plays, heavy tails or rare losses
    alike."""
    rng, loud = np.random.default_rng(5), 0
    for play in range(600):
        wire = SequentialMonitor([40, 80, 30])
        tails = (
            rng.standard_t(2, size=150) * 20
            if play % 2
            else rng.choice([0.0, 100.0, -100.0], size=150, p=[0.9, 0.05, 0.05])
        )
        for item, difference in enumerate(tails.tolist()):
            wire.add(0 if item < 40 else 1 if item < 120 else 2, difference)
        loud += wire.highest >= 20
    assert loud / 600 <= 0.05


def test_the_tripwire_hears_a_dead_game_soon() -> None:
    """A game that can no longer be played raises it to 200 before half of the items were played once, in at
    least 16 of 20 audits."""
    rng, soon = np.random.default_rng(6), 0
    for _ in range(20):
        scores = simulate("strong", [CLEAN, DEAD_GAME], rng, repeats=1, greedy=True)
        wire = SequentialMonitor(ITEMS)
        order = rng.permutation(np.repeat(np.arange(7), ITEMS))[: sum(ITEMS) // 2]
        plays = [iter((game.points[1, :, 0] - game.points[0, :, 0]).tolist()) for game in scores.games]
        for game in order.tolist():
            wire.add(game, next(plays[game]))
        soon += wire.highest >= 200
    assert soon >= 16


def test_an_alarm_is_told_with_its_evidence() -> None:
    """The monitor says DIFFERENT; its interval is wider than that of the last analysis, and the sentence has
    its e-value."""
    scores = simulate("strong", [CLEAN, DEAD_GAME], np.random.default_rng(7), repeats=1, greedy=True)
    spent = spending(QUARTERS, 0.05)
    alarm = sequential_alarm(
        first_items(scores, _blocks(scores), 1),
        "m0",
        "m1",
        number=1,
        spent=spent,
        share=0.25,
        e_value=512.3,
        open_difference=1,
    )
    whole = sequential_alarm(
        scores, "m0", "m1", number=1, spent=spent, share=1.0, e_value=512.3, open_difference=1
    )
    assert (alarm.kind, alarm.verdict, alarm.last) == ("tripwire", "DIFFERENT", True)
    assert alarm.high - alarm.low > 2 * (whole.high - whole.low)
    assert "(e-value 512; a value of 200 stops the method)" in sentence(
        alarm, method="b", reference="a", margin=3.0
    )


def test_many_methods_share_the_levels() -> None:
    """With four methods open the levels of an analysis are a quarter, and the monitor stops at four times the
    e-value."""
    scores, spent = (
        simulate("weak", [CLEAN, CLEAN], np.random.default_rng(8), repeats=1, greedy=True),
        spending(QUARTERS, 0.05),
    )
    one, four = (
        interim_analysis(
            scores, "m0", "m1", number=4, spent=spent, rules=RULES, open_difference=n, open_equivalence=n, e_value=1.0, draws=99
        )
        for n in (1, 4)
    )  # fmt: skip
    assert one.level_difference == pytest.approx(4 * four.level_difference)
    assert one.level_equivalence == pytest.approx(4 * four.level_equivalence)
    assert four.e_stop == pytest.approx(4 * one.e_stop) == pytest.approx(800)
