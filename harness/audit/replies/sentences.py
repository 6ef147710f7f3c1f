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
        return f"rho {self.rho:.2f} [{self.low:.2f}, {self.high:.2f}]"


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
    figures = f"{ratio}, p {format_p(p)}" if ratio else f"p {format_p(p)}"
    if verdict == "EQUIVALENT":
        detectable = f"; a difference is detectable (p {format_p(p)})" if p <= alpha else ""
        return (
            f"Replies to identical prompts are as similar across methods as within one ({ratio}){detectable}."
        )
    if verdict == "DIFFERENT":
        return f"Replies to identical prompts differ ({figures})."
    needed = (
        "two repeats of each method"
        if prompts_to_settle is None
        else f"about {prompts_to_settle:,} prompts with as many repeats as now"
    )
    return (
        f"Too few prompts to tell whether replies differ ({figures}). "
        f"To confirm a ratio below {margin:g}: {needed}."
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
    auc = f"AUC {test.auc:.3f}, at most {test.auc_high:.3f}" if test else ""
    if verdict == "DIFFERENT":
        return (
            f"Replies to identical prompts differ ({f'classifier {auc}, ' if test else ''}p {format_p(p)})."
        )
    if verdict == "EQUIVALENT" and test and test.share_high is not None:
        detectable = f"; a difference is detectable (p {format_p(p)})" if p <= alpha else ""
        return (
            "Replies to identical prompts hardly repeat; a classifier can tell apart fewer than 10 of 100 of "
            f"them ({auc}, margin {AUC_MARGIN:g}), and at most {100 * max(test.share_high, 0.0):.0f} of 100 "
            f"are unlike the reference's replies to the same prompt{detectable}."
        )
    equal = f"{100 * self_match:.0f} % of pairs within a method are equal"
    begin = f"Replies to identical prompts hardly repeat ({equal})"
    advice = "Play at temperature 0, where replies repeat, to settle it"
    if test is None:
        return f"{begin}, and there are too few prompts to tell them apart (p {format_p(p)}). {advice}."
    if test.share_high is None:
        return (
            f"{begin}, and replies to different prompts are too similar to notice 10 of 100 wrong ones "
            f"(p {format_p(p)}). {advice}."
        )
    needed = (
        f", or about {prompts_to_settle:,} prompts with as many repeats as now" if prompts_to_settle else ""
    )
    return (
        f"{begin}, and these prompts do not show that fewer than 10 of 100 can be told apart ({auc}, margin "
        f"{AUC_MARGIN:g}; at most {100 * test.share_high:.0f} of 100 unlike the reference's; "
        f"p {format_p(p)})."
        f" {advice}{needed}."
    )


def not_compared(reference: str, share: float, prompts: int) -> str:
    """Returns the sentence for one repeat, where the reference's agreement with itself is not known."""
    return (
        "Replies to identical prompts were not compared: each method gave one reply to a prompt, so its "
        f"agreement with itself is not known ({100 * share:.0f} % of {prompts} replies equal those of "
        f"{reference})."
    )


def reference_again(ratio: Ratio | None, *, p: float | None) -> str:
    """Returns the sentence of the reference's A/A replicate; p is None with one repeat."""
    if p is None:
        return "The reference's replies were not compared with its second run: one reply to each prompt."
    figures = f"{ratio}, p {format_p(p)}" if ratio else f"p {format_p(p)}"
    return f"The reference's replies compared with its second run: {figures}."
