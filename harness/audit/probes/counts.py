"""Answers from counts of tokens: usage, maximum, cap, context, hidden prompt, chat template. Pure.

Knows rows of probes; compares counts with counts and with the limits that were asked for.
Thresholds marked "emulated" are from `python -m bench.probes`: 20 emulated providers for each planted
defect."""

from __future__ import annotations

from collections.abc import Sequence

from harness.audit.probes.asks import LENGTHS, LONG_TOKENS, SHORT_TOKENS
from harness.audit.probes.rows import Reading, answered, untested
from harness.core.finish_reasons import is_cut
from harness.core.records import ProbeRecord

PROPORTIONAL = 0.8
"""Growth of a count over the growth of the text below which a prompt is cut. Emulated: 1.0 where nothing is
cut, .32 where 500 of 1,258 tokens are kept. A fifth is left to tokenizers that join repeated words."""
SAME_TOKENIZER = 0.9
"""Slope against the reference's counts below which a cut prompt explains the counts. Emulated: 1.0 for a
whole prompt, .39 for one cut to 500 tokens; a tenth is left to rounded counts."""


def usage(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that every answer reports its tokens."""
    replies = [row for row in rows if row.reply is not None]
    if not replies:
        return untested(rows, "length")
    uncounted = sum(row.prompt_tokens is None or row.completion_tokens is None for row in replies)
    if uncounted:
        words = f"{uncounted} of {len(replies)} answers do not report their tokens"
        return "broken", words, {"uncounted": uncounted}
    empty = sum(bool(row.reply) and not row.completion_tokens for row in replies)
    if empty:
        return (
            "broken",
            f"{empty} of {len(replies)} replies have text, but 0 tokens are reported",
            {"empty": empty},
        )
    return "kept", f"all {len(replies)} answers report their tokens", {}


def max_tokens(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that no reply is longer than its maximum, by its count and by its text."""
    short = answered(rows, "short")
    if not short:
        return untested(rows, "short")
    over = [row.completion_tokens for row in short if (row.completion_tokens or 0) > row.tokens_max]
    if over:
        most = max(count or 0 for count in over)
        words = f"the maximum was {SHORT_TOKENS} tokens, but a reply has {most}"
        return "broken", words, {"asked": SHORT_TOKENS, "given": most}
    lengths = {row.name: len(row.reply or "") for row in answered(rows, "greedy")}
    longer = [
        row
        for row in short
        if row.name in lengths
        and len(row.reply or "") >= lengths[row.name] > 0
        and row.finish_reason != "stop"
    ]
    if longer:
        given = len(longer[0].reply or "")
        words = (
            f"the maximum was {SHORT_TOKENS} tokens, but a reply has {given} characters, "
            f"more than {SHORT_TOKENS} tokens can contain"
        )
        return "broken", words, {"given": given}
    return "kept", f"no reply is longer than the maximum of {SHORT_TOKENS} tokens", {}


def output_cap(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that long replies are not cut before their maximum."""
    long = [row for row in answered(rows, "long") if row.completion_tokens is not None]
    if not long:
        return untested(rows, "long")
    counts = [row.completion_tokens or 0 for row in long]
    cut = [count for row, count in zip(long, counts, strict=True) if is_cut(row.finish_reason)]
    early = [count for count in cut if count < LONG_TOKENS]
    if early:
        words = f"{LONG_TOKENS} tokens were allowed, but replies were cut at {max(early)}"
        return "broken", words, {"cap": max(early)}
    if len(counts) > 1 and len(set(counts)) == 1 and counts[0] < LONG_TOKENS:
        words = f"every long reply has {counts[0]} tokens and reports that it ended by itself"
        return "unclear", words, {"cap": counts[0]}
    return "kept", f"replies of up to {max(counts)} tokens are complete", {"longest": max(counts)}


def context(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks that the beginning of a long prompt is read: its tokens are counted, and it changes the
    reply."""
    counts = _prompt_tokens(rows)
    if not all(str(words) in counts for words in LENGTHS):
        return untested(rows, "length")
    replies = {row.name: row.reply for row in answered(rows, "beginning")}
    near = {replies.get("near 0"), replies.get("near 1")}
    far = {replies.get("far 0"), replies.get("far 1")}
    ignored = None not in near | far and len(near) == 2 and len(far) == 1
    ten, hundred, thousand = (counts[str(words)] for words in LENGTHS[1:])
    if thousand - hundred < PROPORTIONAL * 10 * (hundred - ten):
        effect = (
            "its beginning has no effect on the reply" if ignored else "its beginning still changes the reply"
        )
        words = f"the prompt was made ten times as long, but counts as only {thousand} tokens; {effect}"
        return "broken", words, {"tokens": thousand}
    if ignored:
        words = (
            f"{thousand} tokens are counted, but the beginning of a long prompt has no effect on the reply"
        )
        return "unclear", words, {"tokens": thousand}
    if len(far) == 2 and None not in far:
        words = f"the beginning of a prompt of a thousand tokens still changes the reply; {thousand} tokens were counted"
        return "kept", words, {}
    return (
        "unclear",
        "token counts grow with the prompt, but the replies do not show whether its beginning is read",
        {},
    )


def own_tokenizer(rows: Sequence[ProbeRecord]) -> Reading:
    """Checks the reported tokens of prompts against the count of the weights' own tokenizer, with its chat
    template."""
    both = [
        (row.prompt_tokens, row.own_prompt_tokens)
        for row in answered(rows, "length")
        if row.prompt_tokens is not None and row.own_prompt_tokens is not None
    ]
    if not both:
        return "untested", "needs the weights on this machine, because their tokenizer counts the prompts", {}
    more = [reported - own for reported, own in both]
    ratio = sum(reported for reported, _ in both) / sum(own for _, own in both)
    figures = {"prompts": len(both), "least": min(more), "most": max(more), "ratio": ratio}
    if not any(more):
        return "kept", f"{len(both)} prompts have as many tokens as our own tokenizer counts", figures
    if len(set(more)) == 1:
        words = f"every prompt has {abs(more[0])} tokens {'more' if more[0] > 0 else 'fewer'} than those"
    else:
        words = f"prompts have {ratio:.2f} times the tokens"
    return "broken", f"by the provider's count, {words} that our own tokenizer counts", figures


def prompt_and_template(
    own: Sequence[ProbeRecord], reference: Sequence[ProbeRecord]
) -> tuple[Reading, Reading]:
    """Checks for a hidden prompt and for another chat template, by the tokens of identical conversations.

    source   tokens here = alpha + tokens at the reference + gamma x messages, in whole tokens: alpha is a
             prompt, gamma a template"""
    here, there = _prompt_tokens(own), _prompt_tokens(reference)
    if not here:
        return untested(own, "length"), untested(own, "length")
    if not set(here) <= set(there):
        before = here.get("1", 0) - 2  # the word and its full stop
        words = (
            f"a message of one word has {here.get('1', 0)} tokens; without the reference's count "
            "this shows little"
        )
        return ("untested", words, {"before": before}), ("untested", "needs a reference", {})
    more = [here[str(words)] - there[str(words)] for words in LENGTHS]
    messages = here["three messages"] - there["three messages"]
    figures = {"one word": more[0], "a thousand": more[-1], "three messages": messages}
    if len(set(more)) > 1:
        unclear: Reading = ("unclear", _other_counts(here, there), figures)
        return unclear, unclear
    each = (messages - (here["one of them"] - there["one of them"])) / 2
    return _prompt(more[0] - each, figures), _template(each, figures)


def _other_counts(here: dict[str, int], there: dict[str, int]) -> str:
    slope = (here["1000"] - here["1"]) / max(1, there["1000"] - there["1"])
    cut = here["1000"] - here["100"] < PROPORTIONAL * 10 * (here["100"] - here["10"])
    if slope < SAME_TOKENIZER and cut:
        return 'long prompts are cut; the line "context" says more'
    return f"the same text has {slope:.2f} times the reference's tokens: another tokenizer, or rounded counts"


def _prompt(extra: float, figures: dict[str, int]) -> Reading:
    if extra > 0:
        words = (
            f"every conversation has {extra:g} tokens more than at the reference: the method adds a "
            "prompt or a special token"
        )
        return "broken", words, figures
    if extra < 0:
        words = (
            f"every conversation has {-extra:g} tokens fewer than at the reference; perhaps the reference "
            "adds a prompt"
        )
        return "broken", words, figures
    return "kept", "conversations have as many tokens as at the reference", figures


def _template(each: float, figures: dict[str, int]) -> Reading:
    if not each:
        return "kept", "messages have as many tokens as at the reference", figures
    more = "more" if each > 0 else "fewer"
    words = f"every message has {abs(each):g} tokens {more} than at the reference: another chat template"
    return "broken", words, figures


def _prompt_tokens(rows: Sequence[ProbeRecord]) -> dict[str, int]:
    return {row.name: row.prompt_tokens for row in answered(rows, "length") if row.prompt_tokens is not None}
