"""Signs in replies that an access method is set up wrongly, and the key of the sweep file that mends each.
Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.vocabulary import Completion

THOUGHTS_END = "</think>"
TOOL_REASONS = ("tool_calls", "tool_call", "tool_use", "function_call", "function_calls")  # finish reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCounts:
    """The good replies of one access method.

    with_thoughts   contain THOUGHTS_END: thoughts that nothing separated from the reply
    only_thoughts   are empty although the model thought
    tool_calls      are empty because the model called a tool"""

    replies: int
    with_thoughts: int
    only_thoughts: int
    tool_calls: int


def counts_of(completion: Completion) -> ReplyCounts:
    """Returns the counts of one reply."""
    empty = not completion.text.strip()
    called = (completion.finish_reason or "").lower() in TOOL_REASONS
    return ReplyCounts(
        replies=1,
        with_thoughts=int(THOUGHTS_END in completion.text),
        only_thoughts=int(empty and bool(completion.reasoning) and not called),
        tool_calls=int(empty and called),
    )


def reply_problems(counts: ReplyCounts) -> tuple[str, ...]:
    """Returns a sentence with its remedy for each problem."""
    problems = []
    if counts.with_thoughts:
        problems.append(
            f"{counts.with_thoughts:,} of {counts.replies:,} replies contain {THOUGHTS_END}, so the model's "
            "thoughts are part of them; set thinks_aloud = true"
        )
    if counts.only_thoughts:
        problems.append(
            f"{counts.only_thoughts:,} of {counts.replies:,} replies have thoughts but no text; raise tokens_max, or "
            "lower reasoning_effort"
        )
    if counts.tool_calls:
        problems.append(
            f"{counts.tool_calls:,} of {counts.replies:,} replies are tool calls instead of text; switch off the tool "
            "parser of the server (engine.flags)"
        )
    return tuple(problems)
