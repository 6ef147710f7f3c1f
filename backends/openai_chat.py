"""The dialect of OpenAI's chat completions, which most servers speak.

Pure: Prompt -> body, Answer -> Completion or the CallError it means. Source: the API reference of /v1/chat/completions; for
`structured_outputs`, vLLM's documentation of its OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backends import sse
from backends.answers import Answer
from harness.core.errors import (
    AccountRefused,
    CallError,
    ContextExceeded,
    Garbled,
    ModelUnknown,
    RateLimited,
    Rejected,
    TimedOut,
    Unavailable,
)
from harness.core.vocabulary import AccessMethod, Completion, Prompt

PATH = "/chat/completions"
MODELS_PATH = "/models"

_TOLD = ("id", "model", "usage", "system_fingerprint", "provider")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits")
_TOO_LONG = ("context_length_exceeded", "maximum context length", "context window", "string_above_max_length")


def key_headers(key: str) -> dict[str, str]:
    """How the key travels."""
    return {"Authorization": f"Bearer {key}"}


def request_body(method: AccessMethod, prompt: Prompt) -> dict[str, object]:
    """The JSON body that asks for one reply. What the sweep leaves to the provider is left out."""
    sampling = method.sampling
    body: dict[str, object] = {
        "model": method.served_name,
        "messages": [{"role": message.role, "content": message.text} for message in prompt.messages],
        "max_tokens": prompt.form.tokens_max,
    }
    wishes = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
    body.update({name: value for name, value in wishes.items() if value is not None})
    if method.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if method.constrain:
        body["structured_outputs"] = {"regex": prompt.form.regex}
    return body


def read_answer(answer: Answer, wall_s: float) -> Completion:
    """The completion in this answer.

    wall_s  now, in seconds since 1970: a Retry-After may be a date
    raises  the CallError that the answer means"""
    if answer.status != 200:
        raise _refusal(answer, wall_s)
    body = answer.json()
    if not isinstance(body, dict):
        raise Garbled("the answer is JSON but no object", status=answer.status)
    if body.get("error"):
        raise _refusal(answer, wall_s)
    request_id = _text(body.get("id")) or answer.headers.get("x-request-id")
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise Garbled(f"the answer holds no choices[0].message.content: {_start(answer)}", status=200, request_id=request_id) from error
    if text is None:
        text = ""  # a refusal, or a reply that was all reasoning: an empty reply, which breaks the form
    if not isinstance(text, str):
        raise Garbled("the reply is no text", status=200, request_id=request_id)
    return _completion(answer, body, text=text, reasoning=_thoughts(choice["message"]), finish_reason=_text(choice.get("finish_reason")))


def read_stream(streamed: sse.Streamed, wall_s: float) -> Completion:
    """The completion that these events spell, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also where it ends before it says that it is done"""
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    told: dict[str, object] = {}
    finish_reason, done = None, False
    for event in streamed.events():
        if event.data == b"[DONE]":
            done = True
            break
        chunk = event.json()
        if chunk.get("error"):
            raise _refusal(Answer(status=200, headers=streamed.answer.headers, body=event.data), wall_s)
        told |= {name: chunk[name] for name in _TOLD if chunk.get(name) is not None}
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            continue
        finish_reason = _text(choice.get("finish_reason")) or finish_reason
        delta = choice.get("delta")
        if isinstance(delta, dict):
            text, thought = delta.get("content"), _thoughts(delta)
            if text or thought:
                times_s.append(event.at_s)
            if isinstance(text, str):
                texts.append(text)
            if thought:
                thoughts.append(thought)
    if not done and finish_reason is None:
        raise Garbled("the stream broke off before the reply was done", status=200, request_id=_text(told.get("id")))
    completion = _completion(
        streamed.answer, told, text="".join(texts), reasoning="".join(thoughts) or None, finish_reason=finish_reason
    )
    return replace(completion, pace=sse.pace(times_s))


def _completion(
    answer: Answer, body: Mapping[str, object], *, text: str, reasoning: str | None, finish_reason: str | None
) -> Completion:
    usage = _mapping(body.get("usage"))
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        served_model=_text(body.get("model")),
        request_id=_text(body.get("id")) or answer.headers.get("x-request-id"),
        http_status=200,
        reasoning=reasoning,
        reasoning_tokens=_count(_mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")),
        cached_tokens=_count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
        upstream=_text(body.get("provider")),
        system_fingerprint=_text(body.get("system_fingerprint")),
    )


def _thoughts(message: Mapping[str, object]) -> str | None:
    """What a reasoning model thought, under either of the names that servers use."""
    return _text(message.get("reasoning_content")) or _text(message.get("reasoning"))


def read_models(answer: Answer) -> tuple[str, ...] | None:
    """The names the server says it serves; None if it does not say.

    raises  AccountRefused and its kin where the answer means them"""
    if answer.status in (401, 402, 403):
        raise _refusal(answer, 0.0)
    if answer.status != 200:
        return None
    body = answer.json()
    entries = body.get("data") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        return None
    return tuple(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry)


def _refusal(answer: Answer, wall_s: float) -> CallError:
    """The class says who must act; see harness/core/errors.py."""
    said, code = _error_words(answer)
    status, request_id = answer.status, answer.headers.get("x-request-id")
    message = f"HTTP {status}: {said}"
    words = f"{code} {said}".lower()
    if any(sign in words for sign in _NO_CREDIT) or status in (401, 402, 403):
        return AccountRefused(message, status=status, request_id=request_id)
    if any(sign in words for sign in _TOO_LONG):
        return ContextExceeded(message, status=status, request_id=request_id)
    if status == 404 or code == "model_not_found":
        return ModelUnknown(message, status=status, request_id=request_id)
    pause_s = answer.retry_after_s(wall_s)
    if status == 429 or code == "rate_limit_exceeded":
        return RateLimited(message, status=status, request_id=request_id, retry_after_s=pause_s)
    if status in (408, 504):
        return TimedOut(message, status=status, request_id=request_id, retry_after_s=pause_s)
    if status in (200, 409, 425) or status >= 500:
        return Unavailable(message, status=status, request_id=request_id, retry_after_s=pause_s)
    return Rejected(message, status=status, request_id=request_id)


def _error_words(answer: Answer) -> tuple[str, str]:
    """The provider's message and code, from the shapes that servers of this dialect use."""
    try:
        body = answer.json()
    except Garbled:
        return _start(answer), ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or _start(answer)
        return _one_line(str(message)), str(error.get("code") or error.get("type") or "")
    return _one_line(str(error)), ""


def _one_line(text: str) -> str:
    """A provider's words stay within the line that quotes them."""
    return " ".join(text[:2000].split())


def _start(answer: Answer) -> str:
    return _one_line(answer.body[:200].decode("utf-8", "replace")) or "(empty body)"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
