"""The prompts of a load test."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from harness.core.errors import SpecError
from harness.core.vocabulary import Message
from harness.loadtest.prompts import read_prompts, repeat_shuffled


def test_lines_are_prompts(tmp_path: Path) -> None:
    """A line is plain text, JSON with messages or JSON with a prompt; blank lines are skipped."""
    file = tmp_path / "prompts.txt"
    file.write_text(
        'Say it.\n\n{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}\n{"prompt": "p"}\n'
    )
    told = read_prompts(file, tokens_max=7)
    assert [one.messages for one in told] == [
        (Message("user", "Say it."),),
        (Message("system", "s"), Message("user", "u")),
        (Message("user", "p"),),
    ]
    assert {one.reply_format.tokens_max for one in told} == {7}


@pytest.mark.parametrize("line", ['{"prompts": 1}', '{"messages": [1]}', "{not json", '{"messages": []}'])
def test_a_line_that_is_none_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(f"good\n{line}\n")
    with pytest.raises(SpecError, match=r"prompts\.txt:2"):
        read_prompts(file, tokens_max=7)
    file.write_text("\n")
    with pytest.raises(SpecError, match="contains no prompt"):
        read_prompts(file, tokens_max=7)


def test_traffic_does_not_end(tmp_path: Path) -> None:
    """Every prompt comes once before any comes again, in an order that the seed decides."""
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(map(str, range(20))))
    told = read_prompts(file, tokens_max=7)
    taken = list(islice(repeat_shuffled(told, seed=3), 40))
    assert sorted(one.episode for one in taken[:20]) == sorted(one.episode for one in told)
    assert taken[:20] == taken[20:] == list(islice(repeat_shuffled(told, seed=3), 20))
    assert taken[:20] != told
