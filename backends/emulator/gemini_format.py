"""The server's side of Gemini's dialect; the model and the form of the answer stand in the path.

Pure. Streams are server-sent events, as with `alt=sse`; there are no headers about quotas, as Google sends
none. Source: the REST reference of models.generateContent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from backends.emulator.formats import (
    FORMATS,
    BadRequest,
    ChatReply,
    ChatRequest,
    Stop,
    WireFormat,
    checked_request,
    pieces,
    server_sent_event,
)
from backends.emulator.quota import QuotaState

_PATH = re.compile(r"/v1(?:beta)?/models/([^/]+):(generateContent|streamGenerateContent)")
_ENDS: dict[Stop, str] = {"ended": "STOP", "stopped": "STOP", "cut": "MAX_TOKENS"}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def find_format(path: str) -> WireFormat | None:
    """Returns the dialect that is spoken at this path; None if there is none."""
    return FORMATS.get(path) or _format_of(path)


@lru_cache(64)
def _format_of(path: str) -> WireFormat | None:
    named = _PATH.fullmatch(path)
    if named is None:
        return None
    model, stream = named[1], named[2] == "streamGenerateContent"
    return WireFormat(
        read=lambda body: _read(body, model=model, stream=stream),
        answer=_answer,
        events=_events,
        error=_error,
        headers=_no_headers,
        key_header="x-goog-api-key",
    )


def _read(body: Mapping[str, Any], *, model: str, stream: bool) -> ChatRequest:
    settings = body.get("generationConfig") or {}
    system = body.get("systemInstruction") or {}
    contents = body.get("contents")
    if not isinstance(settings, dict) or not isinstance(system, dict) or not isinstance(contents, list):
        raise BadRequest("contents, generationConfig or systemInstruction has the wrong type")
    return checked_request(
        {
            "model": model,
            "stream": stream,
            "messages": [
                {
                    "role": "assistant" if content.get("role") == "model" else "user",
                    "content": content.get("parts"),
                }
                for content in contents
                if isinstance(content, dict)
            ],
            "temperature": settings.get("temperature"),
            "top_p": settings.get("topP"),
            "seed": settings.get("seed"),
        },
        system=system.get("parts"),
        tokens_max=settings.get("maxOutputTokens"),
        stop=settings.get("stopSequences") or (),
        usage_in_stream=True,
        logprobs=None,
    )


def _chunk(
    name: str, request: ChatRequest, reply: ChatReply, text: str, end: str | None
) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    usage = {"promptTokenCount": reply.prompt_tokens}
    if end is not None:
        candidate["finishReason"] = end
        usage["candidatesTokenCount"] = reply.completion_tokens
        usage["totalTokenCount"] = reply.prompt_tokens + reply.completion_tokens
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": request.model,
        "responseId": name,
    }


def _answer(name: str, second: int, request: ChatRequest, reply: ChatReply) -> bytes:
    return orjson.dumps(_chunk(name, request, reply, reply.text, _ENDS[reply.ended]))


def _events(name: str, second: int, request: ChatRequest, reply: ChatReply) -> Sequence[bytes]:
    texts = pieces(reply.text) or [""]
    ends = [None] * (len(texts) - 1) + [_ENDS[reply.ended]]
    return [
        server_sent_event(_chunk(name, request, reply, text, end))
        for text, end in zip(texts, ends, strict=True)
    ]


def _error(status: int, code: str, message: str) -> bytes:
    return orjson.dumps(
        {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}
    )


def _no_headers(states: Mapping[str, QuotaState], wall_s: float) -> str:
    return ""
