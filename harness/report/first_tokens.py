"""The sentence about log-probabilities of first tokens."""

from __future__ import annotations

from harness.audit.replies.first_token import FirstTokens


def first_tokens_sentence(found: FirstTokens, *, against: str) -> str:
    """Returns the finding in words.

    against   the name of the method or of the days that the values are compared with"""
    p = (
        "no prompt has three replies or more, so there is no p-value"
        if found.p is None
        else f"p = {found.p:.4f} in a permutation test within prompts"
    )
    return (
        f"The mean log-probability of the first token is {found.mean:.4f} for {found.method}, and "
        f"{found.reference:.4f} for {against}. The mean absolute difference within prompts is {found.spread:.4f} "
        f"({found.prompts:,} prompts, {p}). No verdict rests on this: providers compute log-probabilities in different ways."
    )
