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
from harness.report.audit_page import audit_page
from harness.report.audit_tables import print_audit
from tests.harness.audit.automaton import FOUR_BIT, TRUE, ask
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
    assert "m1   scores: EQUIVALENT   replies: EQUIVALENT" in first
    assert "m2   scores: DIFFERENT   replies: DIFFERENT" in first
    assert "most likely between" in first
    assert "Noise: m0 was played twice and differs from itself by" in first
    assert "Plan 01234567, written before the first call" in first
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
    assert re.search(r"(repeats of each item|items) would settle it\.", summary.sentences[0])
    assert plain.noise(open_ended) is None


def test_the_first_words_and_the_evidence_name_one_range(part: ModelAudit) -> None:
    """What an INCONCLUSIVE verdict leaves open is one interval, be it of points or of the episodes played."""
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
    low, high = re.findall(r"[+-][0-9.]+", one.sentence.split(" off ")[0])
    (summary,) = plain.summarise_methods(replace(part, scores=found, replies=None))
    assert (
        f"score between {abs(float(low))} points fewer and {abs(float(high))} points more"
        in summary.sentences[0]
    )
    settled = replace(one.points, open_low=-1.0, open_high=1.0)
    only_played = replace(found, comparisons=(replace(one, points=settled),))
    (summary,) = plain.summarise_methods(replace(part, scores=only_played, replies=None))
    assert "of its episodes" in summary.sentences[0]
    assert f"{-one.played.open_low:.1f} % more" in summary.sentences[0]


def test_what_is_not_to_be_believed_says_so_first(part: ModelAudit) -> None:
    """A reference that differs from itself is an alarm, and counts as a difference; a margin given later is
    said."""
    broken = replace(part, scores=replace(part.scores, calibrated=False))
    assert "CALIBRATION FAILED" in printed(broken).split("scores:")[0]
    assert broken.differs
    overruled = replace(part, plan=replace(PLAN, overruled=("margin 9 instead of 3",)))
    assert "Overridden by this command: margin 9 instead of 3." in plain.plan(overruled)
    unplanned = PlanQuote(plan_hash=None, made_at=None, before_calls=False, plans=0, overruled=())
    assert plain.plan(replace(part, plan=unplanned)).startswith("No plan was stored")


def test_the_page_is_one_file_that_runs_nothing(part: ModelAudit) -> None:
    """No script, no address but its own images, hostile names as text; every figure of the audit is in it."""
    first = part.scores.comparisons[0]
    hostile = replace(
        part,
        scores=replace(
            part.scores, comparisons=(replace(first, method="<img src=x>"), *part.scores.comparisons[1:])
        ),
    )
    page = audit_page([hostile], store="s.duckdb", made_at=0.0)
    assert "<script" not in page
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert "<img src=x>" not in page
    assert set(re.findall(r'(?:src|href)="([^:"]*):', page)) == {"data"}
    assert page.count("data:image/svg+xml;base64,") == 1 + 1 + 2 + 3 + 1 + 1
    assert "unsafe" not in page
