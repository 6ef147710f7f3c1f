"""The sentences of the first screen, word for word, for findings whose figures are set by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.store_audit import ModelAudit, PlanQuote
from harness.audit.replies.classifier import ClassifierTest
from harness.audit.replies.reply_audit import ReplyFindings, compare_replies
from harness.audit.scores.findings import Comparison, Missing, SetAside
from harness.audit.scores.sample_size import SampleSizePlan
from harness.audit.scores.score_audit import audit
from harness.audit.weights.weight_audit import WeightsFinding, WeightsFindings
from harness.report import plain
from tests.harness.audit.automaton import TRUE, ask
from tests.harness.audit.simulator import CLEAN, NEW_ABORTS, simulate

PLAN = PlanQuote(plan_hash="0123456789abcdef", made_at=0.0, before_calls=True, plans=1, overruled=())
NEED_REPEATS = SampleSizePlan(
    repeats=7,
    items=None,
    factor=1.0,
    episodes=0,
    margins_smallest=(),
    calls=None,
    cost_usd=None,
)
FAILURES = Missing(
    failed_reference=0,
    failed_method=9,
    p_uneven=0.0,
    worst=-9.0,
    best=9.0,
    low=-9.0,
    high=9.0,
    verdict_worst="DIFFERENT",
    verdict_best="DIFFERENT",
)
SCORED = WeightsFinding(
    method="m1",
    kind="greedy",
    items=10,
    replies=2_000,
    tokens=9,
    margin=0.0,
    reference_margin=0.0,
    excess=0.0,
    low=None,
    high=None,
    tested=None,
    tested_low=None,
    tested_high=None,
    unlike=0.0,
    reference_unlike=0.0,
    unlike_high=None,
    p=None,
    p_holm=None,
    first_turn=None,
    first_token=None,
    joined=0,
    retokenised=0,
    verdict="CONSISTENT",
    reason=None,
    sentence="Its tokens are likely ones.",
)
WEIGHTS = WeightsFindings(
    reference="m0",
    rescored_at=0.0,
    alpha=0.05,
    margin_unlike=0.01,
    methods=(SCORED, replace(SCORED, method="m2", verdict="DEVIATES", sentence="Its tokens are not.")),
    again=None,
    calibrated=True,
)


@pytest.fixture(scope="module")
def part() -> ModelAudit:
    """Methods m1 and m2 beside the reference m0, which was played twice; the figures are set by each test."""
    scores = simulate(
        "strong",
        [CLEAN, CLEAN, NEW_ABORTS, CLEAN],
        np.random.default_rng(1),
        repeats=2,
        greedy=False,
        items=(4, 5, 8, 6, 3, 3, 3),
    )
    replies = compare_replies(
        ask([TRUE, TRUE, TRUE, TRUE], prompts=8, repeats=2, seed=3), "m0", again="m3", seed=1, draws=99
    )
    return ModelAudit(
        model="m", plan=PLAN, scores=audit(scores, "m0", again="m3", seed=1, draws=199), replies=replies
    )


def compared(part: ModelAudit, **changes: object) -> ModelAudit:
    """Returns the audit with its first method alone, and with these findings of it."""
    one = replace(part.scores.comparisons[0], **changes)  # type: ignore[arg-type]
    return replace(part, scores=replace(part.scores, comparisons=(one,)))


def replied(part: ModelAudit, **changes: object) -> ModelAudit:
    """Returns the audit with its first method alone, and with these findings on its replies."""
    assert part.replies is not None
    match = replace(part.replies.across[0], **changes)  # type: ignore[arg-type]
    return replace(compared(part), replies=replace(part.replies, across=(match,)))


def found(part: ModelAudit) -> plain.MethodSummary:
    (summary,) = plain.summarise_methods(part)
    return summary


def on_scores(part: ModelAudit) -> str:
    """The sentence on the scores of the only method, without its name."""
    without = " Its replies were not compared, because it has no prompt in common with the reference."
    sentence = found(replace(part, replies=None)).sentence
    assert sentence.endswith(f".{without}")
    return sentence.removeprefix("m1: ").removesuffix(f".{without}")


def points(one: Comparison, difference: float, low: float, high: float) -> Comparison:
    ranged = replace(one.points, difference=difference, low=low, high=high, open_low=low, open_high=high)
    return replace(one, points=ranged)


def test_the_question_names_how_often_each_item_was_played(part: ModelAudit) -> None:
    """Once, or so many times; without a comparison no item was compared."""
    once = replace(part, scores=replace(part.scores, repeats=1, comparisons=()))
    assert plain.opening(once).endswith("The reference is m0. 0 items were compared, each played once.")
    twice = compared(part, items=32)
    assert plain.opening(twice).endswith("32 items were compared, each played 2 times.")


def test_the_heads_of_the_table_have_the_level_and_weights_where_they_were_scored(part: ModelAudit) -> None:
    """At alpha .01 the range is one of 99 %; the column of weights is there after a rescore."""
    assert plain.difference_head(0.01) == "difference [99 %]"
    usual = ("method", "scores", "replies", "difference [95 %]", "equal replies")
    assert plain.columns(part) == usual
    assert plain.columns(replace(part, weights=WEIGHTS)) == (*usual[:3], "weights", *usual[3:])


def test_each_method_has_its_own_verdict_on_weights(part: ModelAudit) -> None:
    """Also a method that is set aside; None before a rescore, and for a method that was not scored."""
    aside = SetAside(
        method="m4",
        verdict="INCONCLUSIVE",
        label="INCONCLUSIVE (left out)",
        reason="left out",
        low=None,
        high=None,
        sentence="m4: the command leaves it out.",
    )
    part = replace(part, scores=replace(part.scores, set_aside=(aside,)))
    assert [one.weights for one in plain.summarise_methods(part)] == [None, None, None]
    scored = replace(part, weights=WEIGHTS)
    assert [one.weights for one in plain.summarise_methods(scored)] == ["CONSISTENT", "DEVIATES", None]
    last = [*plain.summarise_methods(scored)][-1]
    assert (last.difference, last.equal, last.to_settle) == ("-", "-", None)
    assert last.sentence == "m4: the command leaves it out."
    assert [one.weights_label for one in plain.summarise_methods(scored)] == [
        "CONSISTENT", "DEVIATES", "left out",
    ]  # fmt: skip
    unfinished = replace(
        scored, scores=replace(part.scores, set_aside=(replace(aside, reason="unfinished"),))
    )
    last = [*plain.summarise_methods(unfinished)][-1]
    assert last.weights_label == "not scored"
    assert last.sentence.endswith("because it has no prompt in common with the reference.")


def test_a_method_that_scored_is_not_called_unscored(part: ModelAudit) -> None:
    """Its own weights judge it, so it has no verdict, where the audit has another reference."""
    by_first = replace(part, weights=replace(WEIGHTS, reference="m1", methods=WEIGHTS.methods[1:]))
    assert [(one.weights, one.weights_label) for one in plain.summarise_methods(by_first)] == [
        (None, "its own weights"),
        ("DEVIATES", "DEVIATES"),
    ]


def test_the_weights_have_one_line_a_method() -> None:
    """With the replies whose tokens are others; a failed calibration comes first, the second run last."""
    assert [*plain.weights_lines(None)] == []
    assert [*plain.weights_lines(WEIGHTS)] == [
        "m1: CONSISTENT with the reference weights. Its tokens are likely ones.",
        "m2: DEVIATES with the reference weights. Its tokens are not.",
    ]
    joined = replace(SCORED, joined=1_200, retokenised=1_300)
    second = replace(SCORED, sentence="Its second run is like the first.")
    broken = replace(WEIGHTS, methods=(joined,), again=second, calibrated=False)
    assert [*plain.weights_lines(broken)] == [
        "CALIBRATION OF WEIGHTS FAILED: the two runs of m0 differ when its own weights judge them, so the "
        "verdicts on weights are not valid.",
        "m1: CONSISTENT with the reference weights. Its tokens are likely ones. The first tokens of 1,200 of "
        "2,000 replies change when prompt and reply are joined to one text. For 1,300 of 2,000 replies, "
        "the server of the reference counts another number of tokens than the provider: the server splits the text "
        "into other tokens than those that were written.",
        "Its second run is like the first.",
    ]


def test_the_alarm_names_what_differs(part: ModelAudit) -> None:
    """The scores or the replies of the reference's two runs; no alarm where both are alike."""
    assert part.replies is not None
    alike = replace(
        part, scores=replace(part.scores, calibrated=True), replies=replace(part.replies, calibrated=True)
    )
    assert plain.alarm(alike) is None
    assert plain.alarm(replace(alike, weights=WEIGHTS)) is None
    assert plain.alarm(replace(alike, weights=replace(WEIGHTS, calibrated=False))) == (
        "CALIBRATION OF WEIGHTS FAILED: the two runs of m0 differ when its own weights judge them, so the "
        "verdicts on weights are not valid."
    )
    for scores, replies, what in ((False, True, "scores"), (True, False, "replies")):
        broken = replace(
            part,
            scores=replace(part.scores, calibrated=scores),
            replies=replace(part.replies, calibrated=replies),
        )
        assert plain.alarm(broken) == (
            f"CALIBRATION FAILED: the reference's {what} differ between its two runs, so the verdicts below are "
            "not valid."
        )


def test_the_plan_is_quoted(part: ModelAudit) -> None:
    """With its time, its number where there were several, and what the command changes."""
    assert (
        plain.plan(part)
        == "Audit plan 01234567 was stored before the first call, on 1970-01-01 00:00:00 UTC."
    )
    later = replace(PLAN, made_at=86_400.0, before_calls=False, plans=2, overruled=("alpha .1", "margin 9"))
    assert plain.plan(replace(part, plan=later)) == (
        "Audit plan 01234567 was stored, on 1970-01-02 00:00:00 UTC. It is the last of 2 plans, because games, "
        "items or methods were added. This command uses alpha .1; margin 9."
    )
    none = "No audit plan was stored before the first call, so the margins were chosen after the data."
    assert plain.plan(replace(part, plan=replace(PLAN, plan_hash=None))) == none
    assert plain.plan(replace(part, plan=replace(PLAN, made_at=None))) == none


def test_the_noise_is_the_distance_of_the_two_runs(part: ModelAudit) -> None:
    """In points, and as the share of equal replies where there are replies of both runs."""
    again, replies = part.scores.again, part.replies
    assert again is not None
    assert replies is not None
    assert replies.again is not None
    part = replace(part, scores=replace(part.scores, again=points(again, -1.25, -3.0, 1.0)))
    words = "Noise: the reference was played twice. Its two runs differ by 1.2 points"

    def with_replies(replies: ReplyFindings | None) -> str | None:
        return plain.noise(replace(part, replies=replies))

    half = replace(replies, again=replace(replies.again, share=0.6))
    assert with_replies(half) == f"{words}, and 60 % of its replies to the same prompt are equal."
    assert with_replies(replace(replies, again=None)) == f"{words}."
    assert with_replies(None) == f"{words}."


def test_failed_episodes_leave_no_verdict_on_scores(part: ModelAudit) -> None:
    """A verdict that rests on them is not put in words, and playing them again would settle it. Failures that
    change no verdict are not spoken of here."""
    assert on_scores(compared(part, missing=FAILURES, label="INCONCLUSIVE (missing data)", plan=None)) == (
        "its scores are not compared, because too many episodes failed for technical reasons"
    )
    missing = compared(part, missing=FAILURES, label="INCONCLUSIVE (missing data)", plan=NEED_REPEATS)
    settle = found(replace(missing, replies=None)).to_settle
    assert settle == "To decide about the scores, play the failed episodes again."
    harmless = compared(
        part, missing=FAILURES, verdict="EQUIVALENT", label="EQUIVALENT", plan=None, interim=None
    )
    assert on_scores(harmless) == (
        f"its score differs from the reference's by less than {part.scores.margin:g} points of 100"
    )
    assert found(replace(harmless, replies=None)).to_settle is None


def test_a_difference_names_its_range_and_the_game_with_the_largest_part(part: ModelAudit) -> None:
    """The game's part is one of format if that is as large as the one of play."""
    one = points(part.scores.comparisons[0], -4.26, -6.0, -0.04)
    first, second, *others = one.games
    flat = [replace(game, difference=0.0) for game in others]
    words = "it scores 4.3 points fewer than the reference (most likely between 6.0 points fewer and 0 points more). "
    for form, play, end in (
        (-10.0, 0.5, "60 % (reference: 75 %) of this method's episodes keep the format"),
        (-10.0, 10.0, "60 % (reference: 75 %) of this method's episodes keep the format"),
        (0.0, 0.5, "the method keeps the format but plays better (20.5 points fewer)"),
        (0.1, -8.0, "the method keeps the format but plays worse (20.5 points fewer)"),
    ):
        worst = replace(
            second,
            game="wordle",
            difference=-20.5,
            form=form,
            play=play,
            played_reference=75.0,
            played_method=60.0,
        )
        games = (replace(first, difference=20.0), worst, *flat)
        sentence = on_scores(
            compared(part, points=one.points, games=games, verdict="DIFFERENT", missing=None)
        )
        assert sentence == f"{words}The largest difference is in wordle: {end}"


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (0.05, "0.1 points more"),
        (-0.5, "0.5 points fewer"),
        (0.5, "0.5 points more"),
        (0.04, "0 points more"),
    ],
)
def test_amounts_have_a_direction_unless_they_round_to_zero(
    part: ModelAudit, difference: float, words: str
) -> None:
    """A twentieth of a point is shown as a tenth."""
    one = points(part.scores.comparisons[0], difference, -6.0, 6.0)
    sentence = on_scores(compared(part, points=one.points, verdict="DIFFERENT", missing=None))
    assert sentence.startswith(f"it scores {words} than the reference")


def test_an_open_verdict_names_the_endpoint_that_is_open(part: ModelAudit) -> None:
    """Points where their range reaches the margin; the episodes played where points are within it."""
    one = part.scores.comparisons[0]
    played = replace(one.played, open_low=-12.5, open_high=3.25)

    def sentence(low: float, high: float) -> str:
        ranged = replace(one.points, open_low=low, open_high=high, margin=3.0)
        changed = compared(part, points=ranged, played=played, verdict="INCONCLUSIVE", missing=None)
        return on_scores(changed).split(" than the reference")[0]

    episodes = "of 100 episodes, it may complete between 12.5 episodes fewer and 3.2 episodes more"
    assert sentence(-2.0, 2.9) == episodes
    assert sentence(-2.0, 3.0) == "it may score between 2.0 points fewer and 3.0 points more"
    assert sentence(-3.5, 1.0) == "it may score between 3.5 points fewer and 1.0 points more"


def test_replies_have_a_sentence_for_each_verdict(part: ModelAudit) -> None:
    """Equal pairs are counts below 100 pairs, and shares from there on."""
    assert part.replies is not None
    (own,) = (one for one in part.replies.within if one.method == "m0")
    part = replace(part, replies=replace(part.replies, within=(replace(own, share=0.6),)))

    def sentence(part: ModelAudit) -> str:
        return found(part).sentence.split(" points of 100. ")[1]

    part = compared(part, verdict="EQUIVALENT", label="EQUIVALENT", missing=None, plan=None)
    different = {"verdict": "DIFFERENT", "pairs_equal": 12, "share": 0.125}
    words = (
        "Its replies differ from the reference's. A reply of this method and one of the reference to the same "
        "prompt are equal in {}. Two replies of the reference are equal in 60 % of pairs."
    )
    assert sentence(replied(part, pairs=99, **different)) == words.format("12 of 99 pairs")
    assert sentence(replied(part, pairs=100, **different)) == words.format("12 % of pairs")
    assert sentence(replied(part, verdict="EQUIVALENT", classifier=None)) == (
        "Its replies are as similar to the reference's replies as two replies of the reference are."
    )
    tested = ClassifierTest(
        prompts=99,
        auc=0.5,
        auc_high=0.52,
        share=0.0,
        share_high=0.04,
        separation=0.9,
        p_auc=0.01,
        p_share=0.01,
    )
    assert sentence(replied(part, verdict="EQUIVALENT", classifier=tested)) == (
        "A classifier can tell fewer than 10 of 100 of its replies apart from the reference's replies."
    )
    recognised = replied(part, pairs=99, classifier=tested, **different)
    assert sentence(recognised) == words.format("12 of 99 pairs")
    once = "Its replies were not compared, because each prompt has only one reply."
    single = replied(part, verdict=None)
    assert sentence(single) == once
    assert found(single).to_settle == (
        "To decide about the replies, play each method with two repeats or more."
    )
    equivalent = replied(part, verdict="EQUIVALENT")
    assert equivalent.replies is not None
    assert sentence(replace(equivalent, replies=replace(equivalent.replies, within=()))) == once
    unknown = replace(equivalent.replies, within=(replace(own, share=None),))
    assert sentence(replace(equivalent, replies=unknown)) == once


def test_open_replies_have_a_sentence_and_their_advice(part: ModelAudit) -> None:
    """Temperature 0 only where replies hardly repeat; a number of prompts where one is known."""
    assert part.replies is not None
    divergence = part.replies.across[0].divergence
    assert divergence is not None
    part = compared(part, verdict="EQUIVALENT", label="EQUIVALENT", missing=None, plan=None)
    few = "There are too few prompts to decide whether its replies differ from the reference's."
    seldom = (
        "Replies to the same prompt are seldom equal, and there are too few prompts to notice if a few replies "
        "come from another model."
    )
    often, hardly = (replace(divergence, self_match=share) for share in (0.9, 0.0))
    for known, prompts, sentence, advice in (
        (often, 1_500, few, "use about 1,500 prompts"),
        (hardly, 1_500, seldom, "play at temperature 0 or use about 1,500 prompts"),
        (hardly, None, seldom, "play at temperature 0"),
        (often, None, few, "play each method with two repeats or more"),
        (None, None, few, "play each method with two repeats or more"),
    ):
        summary = found(replied(part, verdict="INCONCLUSIVE", divergence=known, prompts_to_settle=prompts))
        assert summary.sentence.endswith(f" points of 100. {sentence}")
        assert summary.to_settle == f"To decide about the replies, {advice}."


def test_open_scores_have_their_advice(part: ModelAudit) -> None:
    """Repeats where they suffice, else items; both parts, of scores and of replies, in one line."""
    open_ended = compared(part, missing=None, plan=NEED_REPEATS)
    settled = replied(part, verdict="EQUIVALENT").replies
    assert found(replace(open_ended, replies=settled)).to_settle == (
        "To decide about the scores, play each item 7 times."
    )
    items = compared(part, missing=None, plan=replace(NEED_REPEATS, repeats=None, items=1_234))
    assert found(replace(items, replies=replied(part, verdict=None).replies)).to_settle == (
        "To decide about the scores, play about 1,234 items. To decide about the replies, play each method with "
        "two repeats or more."
    )
