"""The sentences of a reply audit: one for each verdict, for one repeat, and for the reference against itself.

Knows figures that are already computed. Keeps: these are the only sentences that an audit writes about
replies."""

from __future__ import annotations

from dataclasses import dataclass

from harness.audit.verdicts import Verdict, format_p


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as often replies part across methods as within a method, with its 1 - alpha interval."""

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
