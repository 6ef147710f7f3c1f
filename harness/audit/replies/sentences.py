"""The sentences of a reply audit: one for each verdict, for one repeat, and for the reference against itself.

Knows figures that are already computed. Keeps: these are the only sentences that an audit writes about
replies."""

from __future__ import annotations

from dataclasses import dataclass

from harness.audit.replies.classifier import AUC_MARGIN, ClassifierTest
from harness.audit.verdicts import Verdict, format_p


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of how often replies diverge across methods and within a method, with its 1 - alpha
    interval."""

    rho: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"two replies of different methods diverge {self.rho:.2f} times as often as two replies of one method "
            f"[{self.low:.2f}, {self.high:.2f}]"
        )


def verdict_sentence(
    verdict: Verdict,
    ratio: Ratio | None,
    *,
    p: float,
    alpha: float,
    margin: float,
    prompts_to_settle: int | None,
) -> str:
    """Returns the sentence of one method's verdict.

    ratio              None where no prompt has two replies of each method
    p                  of "no difference", after Holm
    margin             of rho
    prompts_to_settle  None unless the verdict is INCONCLUSIVE and the number is known"""
    figures = f"p {format_p(p)}; {ratio}" if ratio else f"p {format_p(p)}"
    if verdict == "EQUIVALENT":
        return (
            "Replies to identical prompts are as similar across methods as within one method "
            f"({ratio}).{_detectable(p, alpha)}"
        )
    if verdict == "DIFFERENT":
        return f"Replies to identical prompts differ ({figures})."
    needed = (
        "play each method with two repeats"
        if prompts_to_settle is None
        else f"use about {prompts_to_settle:,} prompts with as many repeats as now"
    )
    return (
        f"There are too few prompts to decide whether replies differ ({figures}). "
        f"For the verdict EQUIVALENT, {needed}. The margin of this verdict: two replies of different methods "
        f"diverge less than {margin:g} times as often as two replies of one method."
    )


def hardly_repeating(
    verdict: Verdict,
    test: ClassifierTest | None,
    *,
    self_match: float,
    p: float,
    alpha: float,
    prompts_to_settle: int | None,
) -> str:
    """Returns the sentence of one method's verdict where replies hardly repeat and a classifier decides.

    test               None with too few items for it
    self_match         share of pairs of replies of one method that are equal
    p                  of "no difference", after Holm
    prompts_to_settle  None unless the verdict is INCONCLUSIVE and the number is known"""
    auc = f"AUC {test.auc:.3f}, upper bound {test.auc_high:.3f}" if test else ""
    if verdict == "DIFFERENT":
        return (
            f"Replies to identical prompts differ ({f'classifier: {auc}; ' if test else ''}p {format_p(p)})."
        )
    if verdict == "EQUIVALENT" and test and test.share_high is not None:
        return (
            "Replies to identical prompts are seldom equal, so a classifier compares them. It can tell "
            "fewer than 10 of 100 replies of this method apart from the reference's replies "
            f"({auc}, margin {AUC_MARGIN:g}). At most {100 * max(test.share_high, 0.0):.0f} of 100 replies of "
            f"this method are unlike the reference's replies to the same prompt.{_detectable(p, alpha)}"
        )
    equal = f"{100 * self_match:.0f} % of pairs of replies of one method are equal"
    begin = f"Replies to identical prompts are seldom equal ({equal})."
    advice = "For a decision, play at temperature 0, where replies repeat"
    if test is None:
        return f"{begin} There are too few prompts for a comparison (p {format_p(p)}). {advice}."
    if test.share_high is None:
        return (
            f"{begin} Replies are so similar from prompt to prompt that 10 of 100 replies from another "
            f"model would not be noticed (p {format_p(p)}). {advice}."
        )
    needed = (
        f", or use about {prompts_to_settle:,} prompts with as many repeats as now"
        if prompts_to_settle
        else ""
    )
    return (
        f"{begin} There are too few prompts to decide whether a classifier can tell 10 or more of 100 "
        f"replies of this method apart from the reference's replies ({auc}, margin {AUC_MARGIN:g}; "
        f"p {format_p(p)}). At most {100 * test.share_high:.0f} of 100 replies of this method are unlike the "
        f"reference's replies to the same prompt. {advice}{needed}."
    )


def _detectable(p: float, alpha: float) -> str:
    if p > alpha:
        return ""
    return f" There is a difference (p {format_p(p)}), but it is smaller than the margin."


def not_compared(reference: str, share: float, prompts: int) -> str:
    """Returns the sentence for one repeat, where the reference's agreement with itself is not known."""
    return (
        "Replies to identical prompts were not compared: each method gave only one reply to a prompt, so it "
        "is not known how often two replies of one method are equal "
        f"({100 * share:.0f} % of {prompts} replies equal those of {reference})."
    )


def reference_again(ratio: Ratio | None, *, p: float | None) -> str:
    """Returns the sentence of the reference's A/A replicate; p is None with one repeat."""
    if p is None:
        return (
            "The reference's replies were not compared with its second run: each prompt has only one reply."
        )
    figures = f"p {format_p(p)}; {ratio}" if ratio else f"p {format_p(p)}"
    return f"The test for a difference between the replies of the reference's two runs gives {figures}."
