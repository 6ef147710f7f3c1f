"""Recorded traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import SpecError
from harness.loadtest.prompts import TokenScale, token_scale
from harness.loadtest.trace import read_trace, trace_moments, trace_prompts


def test_a_trace_gives_moments_and_prompts(tmp_path: Path) -> None:
    """Lines in any order are sorted by arrival; a length without a text becomes so many words; limits of
    replies are kept."""
    file = tmp_path / "trace.jsonl"
    file.write_text(
        '{"arrival_s": 12, "prompt_tokens": 110, "output_tokens": 7}\n\n{"arrival_s": 10, "prompt": "hello"}\n'
        '{"arrival_s": 14, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    )
    recorded = read_trace(file)
    assert list(trace_moments(recorded, 2.0)) == [0.0, 1.0, 2.0]
    scale = TokenScale(overhead=10.0, a_word=2.0)
    hello, words, chat = trace_prompts(recorded, scale=scale, tokens_max=64, seed=1)
    assert (hello.messages[0].text, hello.reply_format.tokens_max) == ("hello", 64)
    assert (len(words.messages[0].text.split()), words.reply_format.tokens_max) == (50, 7)
    assert [message.role for message in chat.messages] == ["user", "assistant"]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"arrival_s": 1}',
        '{"prompt": "x"}',
        '{"arrival_s": "x", "prompt": "x"}',
        '{"arrival_s": NaN, "prompt": "x"}',
        '{"arrival_s": 1e999, "prompt": "x"}',
        '{"arrival_s": 1, "prompt_tokens": -5}',
        '{"arrival_s": 1, "prompt_tokens": 1000000000000}',
        '{"arrival_s": 1, "prompt": "x", "output_tokens": 1e999}',
        '{"arrival_s": 1, "messages": ["x"]}',
        '{"arrival_s": 1, "prompt": "\\ud800"}',
        '{"arrival_s": 1, "prompt": ' + "[" * 100_000,
        '{"arrival_s": 1, "messages": [{"role": "robot", "content": "x"}]}',
        '{"arrival_s": 1, "messages": [{"role": "user", "content": null}]}',
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    """The message has the file and the number of the line."""
    file = tmp_path / "trace.jsonl"
    file.write_text(f'{{"arrival_s": 1, "prompt": "x"}}\n{line}\n')
    with pytest.raises(SpecError, match=r"trace.jsonl:2: not a recorded request"):
        read_trace(file)


def test_a_line_ends_at_its_end_only(tmp_path: Path) -> None:
    """JSON and people may write other separators within a text."""
    file = tmp_path / "trace.jsonl"
    file.write_text('{"arrival_s": 1, "prompt": "a\u2028b\x85c"}\r\n', "utf-8")
    (one,) = read_trace(file)
    assert one.messages is not None
    assert one.messages[0].text == "a\u2028b\x85c"


def test_the_servers_count_gives_the_scale() -> None:
    """Two counts give overhead and tokens a word; without counts a word is a token."""
    scale = token_scale([62, 312])
    assert (scale.overhead, scale.a_word) == pytest.approx((12.0, 1.25))
    assert scale.words(512) == 400
    assert token_scale([None, None]) == TokenScale()
