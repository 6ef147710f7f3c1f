"""The dialect, on requests and answers in the wording of OpenAI's reference and of vLLM's server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from backends.dialects import DIALECTS
from backends.dialects.openai_chat import read_answer, read_models
from backends.dialects.prompt_logprobs import read_scores
from backends.dialects.responses import HttpResponse
from harness.core.errors import (
    AccountRefused,
    CallError,
    ContextExceeded,
    Garbled,
    ModelUnknown,
    RateLimited,
    Rejected,
    TimedOut,
    TransientCallError,
    Unavailable,
)
from harness.core.vocabulary import Message, Prompt, ReplyFormat, Sampling
from tests.world import method

request_body = DIALECTS["openai_chat"].request_body
PROMPT = Prompt(
    messages=(Message("system", "Be brief."), Message("user", "Hi")),
    reply_format=ReplyFormat(regex="[a-z]+", tokens_max=7),
    episode="e",
    item="i",
    seat="s",
    turn=0,
)

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "toy-1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": " hello "}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def answer(status: int, body: object, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=raw
    )


def test_the_body_has_what_the_sweep_sets_and_nothing_else() -> None:
    """Unset parameters are left out; the reply format is sent only by a method with `constrain`."""
    asked = method()
    assert request_body(asked, PROMPT) == {
        "model": "toy",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 7,
        "temperature": 0.0,
    }
    asked = replace(asked, sampling=Sampling(temperature=None, top_p=0.9, seed=3), constrain=True)
    body = request_body(asked, PROMPT)
    assert (body["top_p"], body["seed"], body["structured_outputs"]) == (0.9, 3, {"regex": "[a-z]+"})
    assert "temperature" not in body


def test_a_completion_is_read_unchanged() -> None:
    """The reply is not stripped; counts, names and the finish_reason are read."""
    got = read_answer(answer(200, COMPLETION), 0.0)
    assert (got.text, got.finish_reason, got.prompt_tokens, got.completion_tokens) == (
        " hello ",
        "stop",
        9,
        2,
    )
    assert (got.served_model, got.request_id, got.http_status) == ("toy-1", "chatcmpl-1", 200)


def test_a_reply_without_text_is_empty() -> None:
    """A refusal with content null is an empty reply, which the game judges."""
    refused = json.loads(json.dumps(COMPLETION))
    refused["choices"][0]["message"]["content"] = None
    assert read_answer(answer(200, refused), 0.0).text == ""


def test_invalid_usage_is_unknown_usage() -> None:
    """An invalid usage field never becomes a number."""
    for usage in (None, "many", {"prompt_tokens": "9", "completion_tokens": -1}, {"prompt_tokens": True}):
        got = read_answer(answer(200, {**COMPLETION, "usage": usage}), 0.0)
        assert (got.prompt_tokens, got.completion_tokens) == (None, None)


def test_half_a_surrogate_pair_is_mended() -> None:
    r"""A reply cut inside an emoji (\ud83d alone) can be stored and sent on: the half becomes U+FFFD."""
    body = json.dumps(COMPLETION).replace(" hello ", "hi \\ud83d").encode()
    assert read_answer(answer(200, body), 0.0).text == "hi �"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            401,
            {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}},
            AccountRefused,
        ),
        (402, {"error": {"message": "Insufficient credits", "code": 402}}, AccountRefused),
        (403, {"error": {"message": "Country not supported"}}, AccountRefused),
        (
            429,
            {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
            AccountRefused,
        ),
        (
            404,
            {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}},
            ModelUnknown,
        ),
        (400, {"error": {"message": "no such model", "code": "model_not_found"}}, ModelUnknown),
        (
            400,
            {"error": {"message": "This model's maximum context length is 4096 tokens.", "code": 400}},
            ContextExceeded,
        ),
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, ContextExceeded),
        (400, {"error": {"message": "temperature must be at most 2"}}, Rejected),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, Rejected),
        (413, b"<html>Request Entity Too Large</html>", Rejected),
        (429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, RateLimited),
        (408, b"", TimedOut),
        (504, b"<html>", TimedOut),
        (409, {}, Unavailable),
        (425, {}, Unavailable),
        (500, {"error": "oops"}, Unavailable),
        (502, b"<html><h1>Bad Gateway</h1></html>", Unavailable),
        (503, {"error": {"message": "overloaded"}}, Unavailable),
        (529, {"error": {"message": "overloaded"}}, Unavailable),
        (200, {"error": {"message": "upstream failed", "code": 502}}, Unavailable),
        (200, b"<html>hello</html>", Garbled),
        (200, b'{"choices": [{"mess', Garbled),
        (200, b"", Garbled),
        (200, [], Garbled),
        (200, {"choices": []}, Garbled),
        (200, {"choices": [{"message": {"content": 5}}]}, Garbled),
    ],
)
def test_errors_are_classified(status: int, body: object, expected: type[CallError]) -> None:
    """The class of an error says who must act; the provider's message is kept."""
    with pytest.raises(expected) as caught:
        read_answer(answer(status, body), 0.0)
    assert type(caught.value) is expected
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
def test_the_pause_a_provider_asks_for(headers: dict[str, str], expected_s: float | None) -> None:
    """Milliseconds come before seconds, seconds before dates; invalid values are ignored."""
    with pytest.raises(TransientCallError) as caught:
        read_answer(answer(429, {}, **headers), 10.0)
    assert caught.value.retry_after_s == expected_s


def test_the_listed_models_are_read() -> None:
    """A list of names, None if the server lists none, an error if it refuses the key."""
    assert read_models(answer(200, {"object": "list", "data": [{"id": "a"}, {"id": "b"}]})) == ("a", "b")
    assert read_models(answer(404, {})) is None
    assert read_models(answer(200, {"models": 3})) is None
    with pytest.raises(AccountRefused):
        read_models(answer(401, {"error": {"message": "bad key"}}))


def test_what_ended_the_connection_is_the_cause_of_half_an_answer() -> None:
    """Half a list of models, or of scores, is not an answer in another format."""
    lost = Unavailable("the connection was lost")
    for read in (read_models, lambda half: read_scores(half, [1], start=0)):
        with pytest.raises(Unavailable, match="the connection was lost"):
            read(HttpResponse(200, {}, b'{"data": [', broken=lost))
        with pytest.raises(Garbled, match="not JSON"):
            read(HttpResponse(200, {}, b'{"data": ['))
