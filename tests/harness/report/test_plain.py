"""The first screen: it needs no statistics, and no sentence on it goes beyond the evidence."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from harness.analysis.store_audit import ModelAudit, PlanQuote
from harness.audit.replies.reply_audit import compare_replies
from harness.audit.scores.score_audit import audit
from harness.report import plain
from harness.report.audit_tables import print_audit
from tests.harness.audit.automaton import FOUR_BIT, TRUE, ask
from tests.harness.audit.free_text import REFERENCE, write
from tests.harness.audit.simulator import CLEAN, NEW_ABORTS, simulate

JARGON = re.compile(
    r"\bp\b|p-value|interval|rho|Holm|joint|hypothes|signific|confiden|sigma|variance", re.IGNORECASE
)
PLAN = PlanQuote(plan_hash="0123456789abcdef", made_at=0.0, before_calls=True, plans=1, overruled=())


@pytest.fixture(scope="module")
def part() -> ModelAudit:
    """Method m1 is the model; m2 loses games by form and answers otherwise; m3 is the reference again."""
    scores = simulate(
        "strong", [CLEAN, CLEAN, NEW_ABORTS, CLEAN], np.random.default_rng(11), repeats=3, greedy=True
    )
    replies = compare_replies(
        ask([TRUE, TRUE, FOUR_BIT, TRUE], prompts=60, repeats=5, seed=3), "m0", again="m3", seed=1, draws=199
    )
    return ModelAudit(
        model="m", plan=PLAN, scores=audit(scores, "m0", again="m3", seed=1, draws=999), replies=replies
    )


def printed(part: ModelAudit) -> str:
    console = Console(file=StringIO(), width=300)
    print_audit([part], console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_it_needs_no_statistics(part: ModelAudit) -> None:
    """No statistical term before the evidence; both verdicts, a range, the noise and the plan are there."""
    first, evidence = printed(part).split("Evidence: ", 1)
    assert not JARGON.search(first), JARGON.search(first)
    assert re.search(r"m1 +EQUIVALENT +EQUIVALENT +[+-]", first)
    assert re.search(r"m2 +DIFFERENT +DIFFERENT +[+-]", first)
    assert "most likely between" in first
    assert "Noise: the reference was played twice. Its two runs differ by" in first
    assert "Audit plan 01234567 was stored before the first call" in first
    assert "p = " in evidence or "p < " in evidence
    assert "plan 01234567" in evidence


def test_it_says_how_much_more_it_takes(part: ModelAudit) -> None:
    """Few items and an honest "not enough": the number of repeats or items that would settle it."""
    few = simulate(
        "strong",
        [CLEAN, CLEAN],
        np.random.default_rng(2),
        repeats=1,
        greedy=False,
        items=(4, 5, 18, 6, 3, 3, 3),
    )
    open_ended = replace(part, scores=audit(few, "m0", seed=1, draws=399), replies=None)
    (summary,) = plain.summarise_methods(open_ended)
    assert (summary.scores, summary.replies) == ("INCONCLUSIVE", None)
    assert re.fullmatch(
        r"To decide about the scores, play (each item \d+ times|about [\d,]+ items)\.",
        summary.to_settle or "",
    )
    assert plain.noise(open_ended) is None


def test_the_first_words_and_the_evidence_name_one_range(part: ModelAudit) -> None:
    """An INCONCLUSIVE verdict names one interval, of points or of the episodes played."""
    few = simulate(
        "strong",
        [CLEAN, CLEAN],
        np.random.default_rng(2),
        repeats=1,
        greedy=False,
        items=(4, 5, 18, 6, 3, 3, 3),
    )
    found = audit(few, "m0", seed=1, draws=399)
    (one,) = found.comparisons
    low, high = re.findall(r"[+-][0-9.]+", one.sentence.split(" points")[0])
    (summary,) = plain.summarise_methods(replace(part, scores=found, replies=None))
    assert (
        f"score between {abs(float(low))} points fewer and {abs(float(high))} points more" in summary.sentence
    )
    settled = replace(one.points, open_low=-1.0, open_high=1.0)
    only_played = replace(found, comparisons=(replace(one, points=settled),))
    (summary,) = plain.summarise_methods(replace(part, scores=only_played, replies=None))
    assert f"complete between {-one.played.open_low:.1f} episodes fewer" in summary.sentence


def test_what_is_not_to_be_believed_says_so_first(part: ModelAudit) -> None:
    """A reference that differs from itself is an alarm, and counts as a difference; a margin given later is
    said."""
    broken = replace(part, scores=replace(part.scores, calibrated=False))
    assert "CALIBRATION FAILED" in printed(broken).split("equal replies")[0]
    assert broken.differs
    overruled = replace(part, plan=replace(PLAN, overruled=("margin 9 instead of 3",)))
    assert plain.plan(overruled).endswith("This command uses margin 9 instead of 3.")
    unplanned = PlanQuote(plan_hash=None, made_at=None, before_calls=False, plans=0, overruled=())
    assert plain.plan(replace(part, plan=unplanned)).startswith("No audit plan was stored")


def test_the_first_sentences_are_these(part: ModelAudit) -> None:
    """Word for word: the question, an EQUIVALENT and a DIFFERENT method, and the noise."""
    assert plain.opening(part) == (
        "Is m the same model through every access method? The reference is m0. 420 items were compared, each "
        "played 3 times."
    )
    same, worse = plain.summarise_methods(part)
    assert same.sentence == (
        "m1: its score differs from the reference's by less than 3 points of 100. Its replies are as similar to "
        "the reference's replies as two replies of the reference are."
    )
    assert same.to_settle is None
    game = max(part.scores.comparisons[1].games, key=lambda game: abs(game.difference))
    points = part.scores.comparisons[1].points
    assert worse.sentence.startswith(
        f"m2: it scores {-points.difference:.1f} points fewer than the reference (most likely between "
    )
    assert (
        f"The largest difference is in {game.game}: the method keeps the format but plays worse ({-game.difference:.1f} "
        in worse.sentence
    )
    assert re.search(r"Two replies of the reference are equal in \d+ % of pairs\.$", worse.sentence)
    assert (plain.noise(part) or "").endswith(" % of its replies to the same prompt are equal.")


def test_few_pairs_are_said_as_counts_and_replies_that_hardly_repeat_get_their_advice(
    part: ModelAudit,
) -> None:
    """24 pairs are no percentage; 19 prompts whose replies never repeat are settled by temperature 0."""
    few = compare_replies(ask([TRUE, TRUE], prompts=6, repeats=2, seed=3), "m0", seed=1, draws=99)
    (summary, *_) = plain.summarise_methods(replace(part, replies=few))
    assert re.fullmatch(r"\d+ of 24 pairs", summary.equal)
    free = compare_replies(
        write((REFERENCE, REFERENCE), prompts=19, repeats=3, seed=1), "m0", seed=1, draws=99
    )
    (summary, *_) = plain.summarise_methods(replace(part, replies=free))
    assert summary.equal == "0 % of pairs"
    assert "seldom equal" in summary.sentence
    assert summary.to_settle == "To decide about the replies, play at temperature 0."
