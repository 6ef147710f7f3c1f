"""The server's side of OpenAI's and Anthropic's dialects: reads requests; writes replies, streams, errors and
quota headers as bytes.

Pure; enforces no quota and draws no fault.

Sources: the API references of OpenAI's /v1/chat/completions and of Anthropic's /v1/messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import orjson

from backends.emulator.quota import QuotaState
from backends.emulator.toy_model import Token
from harness.core.vocabulary import Message, Role

Stop = Literal["ended", "stopped", "cut"]  # by itself, at a stop sequence, at max_tokens
TEMPERATURE_DEFAULT = 1.0  # of both APIs


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request for a chat reply. None: the request does not set it."""

    model: str
    messages: tuple[Message, ...]
    temperature: float
    top_p: float
    seed: int | None
    tokens_max: int | None
    stop: tuple[str, ...]
    stream: bool
    usage_in_stream: bool
    logprobs: int | None
    effort: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """One reply.

    completion_tokens   with those of the thoughts
    tokens              as drawn, where the toy model generated the text
    thoughts            stated apart from the text, in OpenAI's dialect
    upstream            the provider behind a router that answered; None: none is named"""

    text: str
    ended: Stop
    prompt_tokens: int
    completion_tokens: int
    fingerprint: str
    tokens: tuple[Token, ...] = ()
    thoughts: str = ""
    thought_tokens: int = 0
    upstream: str | None = None


class BadRequest(Exception):
    """A request that the provider refuses with 400; the message is the provider's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFormat:
    """One dialect, seen from the server.

    answer, events   (id, second since 1970, request, reply) -> bytes
    error            (status, code, message) -> bytes
    headers          (states of the quotas, wall_s) -> header lines"""

    read: Callable[[Mapping[str, Any]], ChatRequest]
    answer: Callable[[str, int, ChatRequest, ChatReply], bytes]
    events: Callable[[str, int, ChatRequest, ChatReply], Sequence[bytes]]
    error: Callable[[int, str, str], bytes]
    headers: Callable[[Mapping[str, QuotaState], float], str]
    key_header: str


# --- requests -------------------------------------------------------------------------------------------


def _read_openai(body: Mapping[str, Any]) -> ChatRequest:
    options = body.get("stream_options") or {}
    stop = body.get("stop") or ()
    return checked_request(
        body,
        system=None,
        tokens_max=body.get("max_completion_tokens", body.get("max_tokens")),
        stop=(stop,) if isinstance(stop, str) else stop,
        usage_in_stream=bool(options.get("include_usage")),
        logprobs=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
    )


def _read_anthropic(body: Mapping[str, Any]) -> ChatRequest:
    if body.get("max_tokens") is None:
        raise BadRequest("max_tokens: Field required")
    return checked_request(
        body,
        system=body.get("system"),
        tokens_max=body["max_tokens"],
        stop=body.get("stop_sequences") or (),
        usage_in_stream=True,
        logprobs=None,
    )


def checked_request(
    body: Mapping[str, Any],
    *,
    system: object,
    tokens_max: Any,
    stop: Any,
    usage_in_stream: bool,
    logprobs: int | None,
) -> ChatRequest:
    """Returns a request made of these fields, which have the names of OpenAI's dialect.

    body    gives model, messages, temperature, top_p, seed and stream; the other fields are arguments
    raises  BadRequest"""
    try:
        messages = [Message("system", _text_of(system))] if system else []
        messages += [Message(cast(Role, one["role"]), _text_of(one["content"])) for one in body["messages"]]
        temperature, top_p, seed = body.get("temperature"), body.get("top_p"), body.get("seed")
        request = ChatRequest(
            model=str(body["model"]),
            messages=tuple(messages),
            temperature=TEMPERATURE_DEFAULT if temperature is None else float(temperature),
            top_p=1.0 if top_p is None else float(top_p),
            seed=None if seed is None else int(seed),
            tokens_max=None if tokens_max is None else int(tokens_max),
            stop=tuple(str(one) for one in stop if one),
            stream=bool(body.get("stream")),
            usage_in_stream=usage_in_stream,
            logprobs=logprobs,
            effort=body.get("reasoning_effort"),
        )
    except KeyError as error:
        raise BadRequest(f"{error.args[0]}: Field required") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"a field has the wrong type: {error}") from error
    if not request.messages:
        raise BadRequest("messages: at least one message is required")
    if request.tokens_max is not None and request.tokens_max < 1:
        raise BadRequest("max_tokens must be at least 1")
    if not 0 <= request.temperature <= 2:
        raise BadRequest("temperature must be between 0 and 2")
    return request


def _text_of(content: object) -> str:
    """Returns a message's text: its content, or the text parts of it."""
    if content is None or isinstance(content, str):
        return content or ""
    assert isinstance(content, list)
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


# --- OpenAI chat completions ----------------------------------------------------------------------------

_OPENAI_ENDS: dict[Stop, str] = {"ended": "stop", "stopped": "stop", "cut": "length"}


def _openai_answer(name: str, second: int, request: ChatRequest, reply: ChatReply) -> bytes:
    choice: dict[str, object] = {
        "index": 0,
        "message": {"role": "assistant", "content": reply.text, **_openai_thoughts(reply.thoughts)},
        "finish_reason": _OPENAI_ENDS[reply.ended],
        "logprobs": _openai_logprobs(request, reply.tokens),
    }
    return orjson.dumps(
        {
            "id": f"chatcmpl-{name}",
            "object": "chat.completion",
            "created": second,
            "model": request.model,
            "system_fingerprint": reply.fingerprint,
            "choices": [choice],
            "usage": _openai_usage(reply),
            **_upstream(reply),
        }
    )


def _openai_thoughts(text: str) -> dict[str, str]:
    """Returns the field that contains the thoughts. It has the name that vLLM and DeepSeek use."""
    return {"reasoning_content": text} if text else {}


def _upstream(reply: ChatReply) -> dict[str, str]:
    """Returns the field that names the provider behind a router, as OpenRouter does."""
    return {"provider": reply.upstream} if reply.upstream is not None else {}


def _openai_usage(reply: ChatReply) -> dict[str, object]:
    details = {"completion_tokens_details": {"reasoning_tokens": reply.thought_tokens}}
    return {
        **(details if reply.thought_tokens else {}),
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _openai_logprobs(request: ChatRequest, tokens: Sequence[Token]) -> dict[str, object] | None:
    if request.logprobs is None or not tokens:
        return None

    def entry(text: str, logprob: float) -> dict[str, object]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "surrogatepass"))}

    return {
        "content": [
            {
                **entry(token.text, token.logprob()),
                "top_logprobs": [entry(*one) for one in token.logprobs()[: request.logprobs]],
            }
            for token in tokens
        ]
    }


def _openai_events(name: str, second: int, request: ChatRequest, reply: ChatReply) -> Sequence[bytes]:
    head = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion.chunk",
        "created": second,
        "model": request.model,
        "system_fingerprint": reply.fingerprint,
        **_upstream(reply),
    }

    def chunk(delta: Mapping[str, str], end: str | None = None, tokens: Sequence[Token] = ()) -> bytes:
        choice: dict[str, object] = {"index": 0, "delta": delta, "finish_reason": end}
        if tokens:
            choice["logprobs"] = _openai_logprobs(request, tokens)
        return server_sent_event({**head, "choices": [choice]})

    deltas = [chunk(_openai_thoughts(piece)) for piece in pieces(reply.thoughts)]
    tokens = reply.tokens if request.logprobs is not None else ()
    for place, piece in enumerate(pieces(reply.text)):
        deltas.append(chunk({"content": piece}, tokens=tokens[place : place + 1]))
    end = chunk({}, _OPENAI_ENDS[reply.ended])
    if request.usage_in_stream:
        end += server_sent_event({**head, "choices": [], "usage": _openai_usage(reply)})
    return in_pieces(chunk({"role": "assistant", "content": ""}), deltas, end + b"data: [DONE]\n\n")


def _openai_error(status: int, code: str, message: str) -> bytes:
    kind = (
        "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    )
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _openai_headers(states: Mapping[str, QuotaState], wall_s: float) -> str:
    """Writes resets as durations, as OpenAI does."""
    return "".join(
        f"x-ratelimit-limit-{kind}: {_whole(quota.limit)}\r\nx-ratelimit-remaining-{kind}: {_whole(quota.remaining)}\r\n"
        f"x-ratelimit-reset-{kind}: {int(quota.reset_s * 1000 + 0.999)}ms\r\n"
        for kind, quota in states.items()
    )


def _whole(count: float) -> int:
    return int(count + 1e-6)


# --- Anthropic messages ---------------------------------------------------------------------------------

_ANTHROPIC_ENDS: dict[Stop, str] = {"ended": "end_turn", "stopped": "stop_sequence", "cut": "max_tokens"}
_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def _anthropic_answer(name: str, second: int, request: ChatRequest, reply: ChatReply) -> bytes:
    return orjson.dumps(
        _anthropic_message(
            name, request, reply, [{"type": "text", "text": reply.text}], _ANTHROPIC_ENDS[reply.ended]
        )
    )


def _anthropic_message(
    name: str, request: ChatRequest, reply: ChatReply, content: object, end: str | None
) -> dict[str, object]:
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": end,
        "stop_sequence": None,
        "usage": {
            "input_tokens": reply.prompt_tokens,
            "output_tokens": reply.completion_tokens if end else 1,
        },
    }


def _anthropic_events(name: str, second: int, request: ChatRequest, reply: ChatReply) -> Sequence[bytes]:
    def event(kind: str, **fields: object) -> bytes:
        return b"event: " + kind.encode() + b"\n" + server_sent_event({"type": kind, **fields})

    opening = event("message_start", message=_anthropic_message(name, request, reply, [], None))
    opening += event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    deltas = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        for piece in pieces(reply.text)
    ]
    stopped = {"stop_reason": _ANTHROPIC_ENDS[reply.ended], "stop_sequence": None}
    end = event("content_block_stop", index=0)
    end += event("message_delta", delta=stopped, usage={"output_tokens": reply.completion_tokens})
    return in_pieces(opening, deltas, end + event("message_stop"))


def _anthropic_error(status: int, code: str, message: str) -> bytes:
    return orjson.dumps(
        {"type": "error", "error": {"type": _ANTHROPIC_ERRORS.get(status, "api_error"), "message": message}}
    )


def _anthropic_headers(states: Mapping[str, QuotaState], wall_s: float) -> str:
    """Writes resets as moments in whole seconds, as Anthropic does."""
    return "".join(
        f"anthropic-ratelimit-{kind}-limit: {_whole(quota.limit)}\r\nanthropic-ratelimit-{kind}-remaining: {_whole(quota.remaining)}\r\n"
        f"anthropic-ratelimit-{kind}-reset: {datetime.fromtimestamp(int(wall_s + quota.reset_s + 0.999), UTC):%Y-%m-%dT%H:%M:%SZ}\r\n"
        for kind, quota in states.items()
    )


# --- both -----------------------------------------------------------------------------------------------


def server_sent_event(value: object) -> bytes:
    """Returns an event with this value as JSON."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def in_pieces(opening: bytes, deltas: Sequence[bytes], end: bytes) -> list[bytes]:
    """Returns the pieces of a stream that are sent one after another: one piece for each token. An event
    without a token is part of the first or of the last piece, as at real servers."""
    if not deltas:
        return [opening + end]
    parts = list(deltas)
    parts[0] = opening + parts[0]
    parts[-1] += end
    return parts


def pieces(text: str) -> list[str]:
    """Returns the text as the tokens in which it is streamed."""
    return [text[place : place + 4] for place in range(0, len(text), 4)]


_OPENAI = WireFormat(
    read=_read_openai,
    answer=_openai_answer,
    events=_openai_events,
    error=_openai_error,
    headers=_openai_headers,
    key_header="authorization",
)
FORMATS: dict[str, WireFormat] = {
    "/v1/chat/completions": _OPENAI,
    "/openai/v1/chat/completions": _OPENAI,  # the path of Groq, and of its SDK
    "/v1/messages": WireFormat(
        read=_read_anthropic,
        answer=_anthropic_answer,
        events=_anthropic_events,
        error=_anthropic_error,
        headers=_anthropic_headers,
        key_header="x-api-key",
    ),
}
