"""Log-probabilities of tokens: what is asked for, and what is read in both forms, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from backends.dialects import DIALECTS
from backends.dialects.logprobs import read_logprobs
from backends.dialects.providers import GENERIC
from backends.dialects.responses import Arrivals, HttpResponse
from harness.core.vocabulary import ChatTemplate, Completion, Message, Prompt, ReplyFormat, TokenLogprob
from tests.world import method

PROMPT = Prompt(
    messages=(Message("user", "Hi"),),
    reply_format=ReplyFormat(regex="[a-z]+", tokens_max=7),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)
HELLO = TokenLogprob("Hello", -0.25, (("Hello", -0.25), ("Hi", -1.5)))
THERE = TokenLogprob(" there", -0.5, (("!", -0.4), (" there", -0.5)))
# The forms that vLLM and llama.cpp send.
CHAT = [
    {
        "token": token.text,
        "logprob": token.logprob,
        "bytes": list(token.text.encode()),
        "top_logprobs": [{"token": text, "logprob": value, "bytes": None} for text, value in token.top],
    }
    for token in (HELLO, THERE)
]
PLAIN: dict[str, list[object]] = {
    "text_offset": [0, 5],
    "tokens": [HELLO.text, THERE.text],
    "token_logprobs": [HELLO.logprob, THERE.logprob],
    "top_logprobs": [dict(HELLO.top), dict(THERE.top)],
}


def read(dialect: str, objects: Sequence[Mapping[str, object]], *, stream: bool) -> Completion:
    """Returns the completion in these objects."""
    raw = (
        b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in objects) + b"data: [DONE]\n\n"
        if stream
        else json.dumps(objects[0]).encode()
    )
    kind = "text/event-stream" if stream else "application/json"
    arrivals = Arrivals([len(raw)], [1.0]) if stream else None
    response = HttpResponse(status=200, headers={"content-type": kind}, body=raw, arrivals=arrivals)
    return DIALECTS[dialect].read_answer(response, 0.0, GENERIC, ())


def test_whole_answers_of_both_dialects() -> None:
    """The tokens come with the reply, in order, each with the most likely ones."""
    choice = {"index": 0, "finish_reason": "stop"}
    chat = {
        **choice,
        "message": {"role": "assistant", "content": "Hello there"},
        "logprobs": {"content": CHAT},
    }
    plain = {**choice, "text": "Hello there", "logprobs": PLAIN}
    odd = {**choice, "text": "Hello there", "logprobs": {"content": CHAT}}
    for dialect, one in (("openai_chat", chat), ("completions", plain), ("completions", odd)):
        completion = read(dialect, [{"choices": [one]}], stream=False)
        assert completion.text == "Hello there"
        assert completion.logprobs == (HELLO, THERE)


def test_an_answer_without_them_has_none() -> None:
    """vLLM writes null where none were asked for."""
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "logprobs": None}
    assert read("openai_chat", [{"choices": [choice]}], stream=False).logprobs is None


@pytest.mark.parametrize(
    "part",
    [
        {"content": [{"token": "a"}, {"token": 3, "logprob": -1}, {"token": "b", "logprob": "x"}, 7]},
        {"content": [{"token": "a", "logprob": True}, {"token": "a", "logprob": float("-inf")}]},
        {"content": [{"token": "a", "logprob": value} for value in (float("nan"), 5.0, 10**400, -(10**400))]},
        {"tokens": ["a"], "token_logprobs": [None], "top_logprobs": [None]},
        {"tokens": "a", "token_logprobs": [-1.0]},
        {"content": {}},
        [],
    ],
)
def test_what_is_malformed_is_left_out(part: object) -> None:
    """A reply stands without its log-probabilities."""
    assert read_logprobs([part]) is None


def test_malformed_alternatives_leave_the_token() -> None:
    """A token keeps those of its alternatives that are valid."""
    entry = {"token": "a", "logprob": -1, "top_logprobs": [{"token": "b", "logprob": -2}, {"token": "c"}, 5]}
    assert read_logprobs([{"content": [entry]}]) == (TokenLogprob("a", -1.0, (("b", -2.0),)),)


def test_they_are_asked_for_in_each_dialects_words() -> None:
    """Chat completions take a flag and a number, plain completions a number; unset, neither is sent."""
    asked = replace(method(), sampling=replace(method().sampling, logprobs=5))
    chat = DIALECTS["openai_chat"].request_body(asked, PROMPT)
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 5)
    plain = replace(asked, template=ChatTemplate(text="{{ messages[0].content }}"), dialect="completions")
    body = DIALECTS["completions"].request_body(plain, PROMPT)
    assert body["logprobs"] == 5
    assert "top_logprobs" not in body
    assert "logprobs" not in DIALECTS["openai_chat"].request_body(method(), PROMPT)


def test_streams_of_both_dialects() -> None:
    """Each event has the tokens of its chunk."""
    chat = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None}]},
        {"choices": [{"index": 0, "delta": {"content": "Hello"}, "logprobs": {"content": CHAT[:1]}}]},
        {"choices": [{"index": 0, "delta": {"content": " there"}, "logprobs": {"content": CHAT[1:]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    halves = [{name: values[place : place + 1] for name, values in PLAIN.items()} for place in (0, 1)]
    plain = [
        {"choices": [{"index": 0, "text": "Hello", "logprobs": halves[0]}]},
        {"choices": [{"index": 0, "text": " there", "logprobs": halves[1], "finish_reason": "stop"}]},
    ]
    for dialect, objects in (("openai_chat", chat), ("completions", plain)):
        completion = read(dialect, objects, stream=True)
        assert completion.text == "Hello there"
        assert completion.logprobs == (HELLO, THERE)
