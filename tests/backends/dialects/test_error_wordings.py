"""More wordings and envelopes of errors and answers, beside those of tests/data/odd_answers.json: in our own
words, after public reports of gateways and servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from backends.dialects import DIALECTS
from backends.dialects.providers import PROVIDERS
from backends.dialects.responses import Arrivals, HttpResponse
from harness.core.errors import CallError, TransientCallError, UnknownEnd
from harness.core.vocabulary import Completion

NOW_S = 1_796_000_000.0  # 2026-11-30 00:53:20 UTC
OPENAI = "openai-compatible"


def read(
    status: int,
    body: object,
    *,
    provider: str = OPENAI,
    dialect: str = "openai_chat",
    headers: dict[str, str] | None = None,
) -> Completion | CallError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = HttpResponse(status, headers or {}, data, Arrivals([len(data)], [0.1]))
    try:
        return DIALECTS[dialect].read_answer(answer, NOW_S, PROVIDERS[provider], ())
    except CallError as error:
        return error


def error(message: str, **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


# (status, body, the class of the error)
ERRORS: list[tuple[int, object, str]] = [
    # Too fast, in words that are also those of a prompt that is too long, and under other statuses.
    (400, {"message": "Too many tokens, please wait before trying again."}, "RateLimited"),
    (400, {"__type": "ThrottlingException", "message": "Too many tokens."}, "RateLimited"),
    (503, error("ThrottlingException: Too many tokens, please wait before trying again."), "RateLimited"),
    (200, error("Throttling error: Too many tokens, please wait.", code=None), "RateLimited"),
    (400, error("Too many requests, slow down"), "RateLimited"),
    (400, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Exceeded output tokens per minute"}, "RateLimited"),
    (403, error("RPM limit exceeded. Please complete identity verification to lift it."), "RateLimited"),
    # Every prompt that is too long, in more words.
    (400, error("Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens)."), "ContextExceeded"),
    (400, error("The decoder prompt (length 5000) is longer than the maximum model length of 4096."), "ContextExceeded"),
    (400, {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]"}, "ContextExceeded"),
    (400, error("Invalid request: Your request exceeded model token limit: 8192"), "ContextExceeded"),
    (413, error("Request body too large for small model. Max size: 8000 tokens.", code="tokens_limit_reached"),
     "ContextExceeded"),
    (400, error("Prompt 超长", code="1261"), "ContextExceeded"),
    (400, error("prompt tokens (5000) exceed context size (4096)", type="context_exceeded"), "ContextExceeded"),
    (500, error("input is too large to process. increase the physical batch size"), "ContextExceeded"),
    # Money, keys and days, in more envelopes and under more statuses.
    (200, {"id": "x", "choices": None, "usage": {"total_tokens": 0},
           "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "AccountRefused"),
    (200, {"base_resp": {"status_code": 1004, "status_msg": "login fail: carry the API secret key"}},
     "AccountRefused"),
    (200, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None}, "RateLimited"),
    (200, {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}, "choices": None},
     "ContentRefused"),
    (500, {"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}},
     "AccountRefused"),
    (429, error("insufficient balance (1008)", http_code="429", type="insufficient_balance_error"),
     "AccountRefused"),
    (200, {"error_code": 110, "error_msg": "Access token invalid or no longer valid"}, "AccountRefused"),
    (200, {"error_code": 17, "error_msg": "Open api daily request limit reached"}, "AccountRefused"),
    (429, {"success": False, "result": None, "errors": [
        {"code": 3036, "message": "You have used up your daily free allocation of 10,000 neurons"}]},
     "AccountRefused"),
    (400, error("Organization has been restricted. Please reach out to support.", code="organization_restricted"),
     "AccountRefused"),
    (429, error("Your account has reached the set inference limit, and the service has been paused.",
                code="SetLimitExceeded"), "AccountRefused"),
    (400, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}, "AccountRefused"),
    (200, {"Response": {"Error": {"Code": "AuthFailure.SecretIdNotFound", "Message": "no such SecretId"},
                        "RequestId": "r"}}, "AccountRefused"),
    (400, {"errorMessage": "Invalid API Key", "errorCode": "401"}, "AccountRefused"),
    (200, {"statusCode": 401, "body": "Missing Authentication Token"}, "AccountRefused"),
    (429, error("ThrottlingException: Too many tokens per day, please wait before trying again."),
     "AccountRefused"),
    # Models.
    (400, {"error": "No models loaded. Please load a model in the developer page."}, "ModelUnknown"),
    (400, error("Invocation of model ID a.b with on-demand throughput isn't supported."), "ModelUnknown"),
    (400, error("The requested model 'x' is not supported by any provider you have enabled.",
                code="model_not_supported"), "ModelUnknown"),
    (400, error("You passed in model=x. There are no healthy deployments for this model"), "ModelUnknown"),
    (429, error("No deployments available for selected model, Try again in 5 seconds"), "RateLimited"),
    (400, error("Unknown model: x", code="unknown_model"), "ModelUnknown"),
    (400, error("model x is not a valid model for this endpoint"), "ModelUnknown"),
    # Busy, crashed, gone: another try.
    (400, {"error": "The model has crashed without additional information. (Exit code: 11)"}, "Unavailable"),
    (400, {"error": "Model unloaded."}, "Unavailable"),
    (200, {"success": False, "result": None, "errors": [{"code": 3040, "message": "Capacity temporarily exceeded"}]},
     "Unavailable"),
    (200, {"event": "error", "status": 500, "message": "Internal"}, "Unavailable"),
    (200, {"Message": "Service unavailable"}, "Unavailable"),
    # Filters and guardrails of gateways.
    (446, error("The guardrail checks defined in the config failed.", type="hooks_failed"), "ContentRefused"),
    (400, error("{'error': 'Violated guardrail policy', 'guardrail': 'pii'}"), "ContentRefused"),
    (400, error("Violated moderation policy"), "ContentRefused"),
    (400, error("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301"), "ContentRefused"),
    (400, error("The prompt was flagged by the moderation endpoint."), "ContentRefused"),
    (400, error("Your request was rejected as a result of our safety system.", code="moderation_blocked"),
     "ContentRefused"),
    # One request's own fault stays that.
    (400, error("temperature must be between 0 and 2", type="invalid_request_error"), "Rejected"),
    (422, {"detail": [{"loc": ["body", "stop"], "msg": "too many items", "type": "value_error"}]}, "Rejected"),
    (400, error("max_tokens must be at most 4096 for this model"), "Rejected"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS, ids=lambda value: str(value)[:60])
def test_more_errors_are_read_as_what_they_mean(status: int, body: object, expected: str) -> None:
    """The class of the error, whole and as an event of a stream."""
    assert type(read(status, body)).__name__ == expected
    if status == 200:
        event = b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(body).encode()
        assert type(read(status, event)).__name__ == expected


@pytest.mark.parametrize(
    ("body", "headers", "pause_s"),
    [
        (error("Slow down.", retry_after=12.5), {}, 12.5),
        (error("Slow down.", metadata={"retry_after_seconds": 31}), {}, 31.0),
        ({"message": "Slow down.", "retry_after_ms": 1500}, {}, 1.5),
        (error("Slow down.", retryAfter="20s"), {}, 20.0),
        (error("Limit type: requests. Limit resets at: 2026-11-30 00:54:20 UTC"), {}, 60.0),
        (error("Rate limited; try again at 2026-11-30T00:58:20Z."), {}, 300.0),
        (
            error("Rate limit of 50 per 86400s exceeded. Please wait 43200 seconds before retrying."),
            {},
            43200.0,
        ),
        (error("Slow down."), {"ratelimit-remaining": "0", "ratelimit-reset": "30"}, 30.0),
        (error("Slow down."), {"x-ratelimit-reset-after": "4.5"}, 4.5),
        (error("Slow down."), {"retry-after": "10", "retry-after-ms": "nan"}, 10.0),
        (error("Slow down."), {"retry-after": "-1"}, 0.0),
        (error("Slow down."), {"llm_provider-retry-after-ms": "250"}, 0.25),
        (error("Slow down. Used 40 of 40.", retry_after=None), {}, None),
    ],
    ids=str,
)
def test_more_places_of_a_pause(body: object, headers: dict[str, str], pause_s: float | None) -> None:
    """Fields of the error, moments in words, the headers of IETF drafts."""
    found = read(429, body, headers=headers)
    assert isinstance(found, TransientCallError), found
    assert found.retry_after_s == (None if pause_s is None else pytest.approx(pause_s))


GOOD: dict[str, Any] = {"index": 0, "finish_reason": "stop"}


def chat(message: object, **choice: object) -> dict[str, object]:
    return {"model": "m", "choices": [{**GOOD, "message": message, **choice}]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chat({"content": [{"type": "refusal", "refusal": "I cannot help"}]}), "I cannot help"),
        (chat({"content": [{"type": "text", "text": {"value": "CLUE: x", "annotations": []}}]}), "CLUE: x"),
        (chat({"content": "CLUE: x", "reasoning_details": [{"text": "hm"}]}), "CLUE: x"),
        (chat({"content": "CLUE: x"}) | {"base_resp": {"status_code": 0, "status_msg": ""}}, "CLUE: x"),
        (chat({"content": "CLUE: x"}) | {"error": None, "detail": None, "code": 0}, "CLUE: x"),
        (chat({"content": "CLUE: x"}) | {"success": True, "errors": []}, "CLUE: x"),
        (
            chat({"content": "rate limit exceeded, insufficient balance"}),
            "rate limit exceeded, insufficient balance",
        ),
    ],
    ids=str,
)
def test_more_good_answers(body: object, text: str) -> None:
    """Parts and fields that gateways add; a reply may speak of limits."""
    found = read(200, body)
    assert isinstance(found, Completion), found
    assert found.text == text


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai_chat", {"success": True, "errors": [], "result": {"response": "CLUE: x"}}),
        ("openai_chat", {"data": {"choices": [{**GOOD, "message": {"content": "CLUE: x"}}]}}),
        ("openai_chat", {"object": "response", "status": "completed",
                         "output": [{"type": "message", "content": [{"type": "output_text", "text": "CLUE: x"}]}]}),
        ("openai_chat", [{"generated_text": "CLUE: x"}]),
        ("openai_chat", {"message": {"content": [{"type": "text", "text": "CLUE: x"}]}, "finish_reason": "COMPLETE"}),
        ("openai_chat", chat({"content": None, "text": "CLUE: x"})),
        ("anthropic_messages", {"type": "message", "role": "assistant", "content": "CLUE: x", "stop_reason": "end_turn"}),
        ("anthropic_messages", {"choices": [{**GOOD, "message": {"content": "CLUE: x"}}]}),
        ("gemini", {"choices": [{**GOOD, "message": {"content": "CLUE: x"}}]}),
    ],
    ids=str,
)  # fmt: skip
def test_text_in_another_envelope_is_asked_for_once(dialect: str, body: object) -> None:
    """The answer of another API: nothing is tried again, as it would cost and end alike."""
    assert isinstance(read(200, body, dialect=dialect), UnknownEnd)


def test_an_answer_that_is_nested_deeply_is_an_error() -> None:
    """No depth of objects exhausts the stack."""
    for name in ("message", "error", "result", "Response"):
        body = b'{"%s":' % name.encode() * 900 + b"1" + b"}" * 900
        assert isinstance(read(200, body), CallError)


def stream(*choices: Mapping[str, object], usage: object = None) -> bytes:
    events: list[dict[str, Any]] = [{"model": "m", "choices": [{"index": 0, **choice}]} for choice in choices]
    events += [{"model": "m", "choices": [], "usage": usage}] if usage else []
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


END: dict[str, object] = {"delta": {}, "finish_reason": "stop"}


def test_an_end_that_a_gateway_made_up_is_no_reply() -> None:
    """LiteLLM ends the stream of an upstream that sent nothing with finish_reason "stop". A model's own empty
    reply has a place for a text, or counted tokens."""
    assert type(read(200, stream(END, {"delta": {}}))).__name__ == "Garbled"
    for body in (
        stream({"delta": {"role": "assistant"}}, END),
        stream({"delta": {"content": ""}}, END),
        stream({"delta": {"reasoning_content": "hm"}}, END),
        stream(END, usage={"prompt_tokens": 11, "completion_tokens": 1}),
    ):
        found = read(200, body)
        assert isinstance(found, Completion), found
        assert found.text == ""
