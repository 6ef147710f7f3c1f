"""Signs in replies that an access method is set up wrongly."""

from __future__ import annotations

import pytest

from harness.core.reply_problems import ReplyCounts, counts_of, reply_problems
from harness.core.vocabulary import Completion


@pytest.mark.parametrize(
    ("completion", "remedy"),
    [
        (Completion(text="<think>hm</think>CLUE: x", finish_reason="stop"), "set thinks_aloud = true"),
        (Completion(text="", reasoning="hm", finish_reason="length"), "raise tokens_max"),
        (Completion(text=" ", finish_reason="tool_calls"), "switch off the tool parser"),
        (Completion(text="", reasoning="hm", finish_reason="TOOL_USE"), "switch off the tool parser"),
        (Completion(text="", finish_reason="stop"), None),
        (Completion(text="CLUE: x", reasoning="hm", finish_reason="stop"), None),
    ],
)
def test_a_problem_is_named_with_its_remedy(completion: Completion, remedy: str | None) -> None:
    """Thoughts in a reply, nothing but thoughts, a tool call; an empty reply alone says nothing."""
    problems = reply_problems(counts_of(completion))
    assert len(problems) == (remedy is not None)
    assert remedy is None or (remedy in problems[0] and problems[0].startswith("1 of 1 replies"))


def test_counts_have_their_sentence_each() -> None:
    """Several problems, several sentences."""
    counts = ReplyCounts(replies=2_000, with_thoughts=1_200, only_thoughts=3, tool_calls=1)
    assert [problem.split(" replies")[0] for problem in reply_problems(counts)] == [
        "1,200 of 2,000",
        "3 of 2,000",
        "1 of 2,000",
    ]
