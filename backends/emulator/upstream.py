"""A real server that answers in place of bots: writes its request, reads its reply. Pure.

The request is in OpenAI's chat dialect and never streamed, whatever the client's dialect; the client's
Authorization is passed on. The reply goes to the client in the client's dialect with the server's own counts.
All defects can be planted in a real model except those of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from backends.emulator.formats import ChatReply, Stop
from harness.core.vocabulary import Message

PATH = "/chat/completions"
_REWRITTEN = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "stream",
    }
)
_DROPPED = frozenset(
    {
        "stream_options",
        "stop_sequences",
        "system",
        "logprobs",
        "top_logprobs",
        "n",
        "contents",
        "generationConfig",
        "systemInstruction",
    }
)
_ENDS: Mapping[object, Stop] = {"stop": "ended", "length": "cut"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One request with the defects applied. None: not sent."""

    model: str
    messages: tuple[Message, ...]
    temperature: float
    top_p: float | None
    seed: int | None
    tokens_max: int
    stop: tuple[str, ...]


def body_for(request: UpstreamRequest, client_body: Mapping[str, Any], *, other_template: bool) -> bytes:
    """Returns the body for the server behind; fields that the emulator does not know are passed on
    unchanged."""
    extra = {
        name: value for name, value in client_body.items() if name not in _REWRITTEN and name not in _DROPPED
    }
    messages = _as_one(request.messages) if other_template else request.messages
    known = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.text} for message in messages],
        "max_tokens": request.tokens_max,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
    }
    return orjson.dumps({**extra, **{name: value for name, value in known.items() if value is not None}})


def _as_one(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Returns the conversation as one text, as a server without the chat template presents it to the
    model."""
    lines = [f"<|{message.role}|>\n{message.text}" for message in messages]
    return (Message("user", "\n".join([*lines, "<|assistant|>\n"])),)


def reply_in(body: bytes) -> ChatReply:
    """Reads the reply from the body of the server's answer.

    raises  ValueError if there is none"""
    answer = orjson.loads(body)
    try:
        choice, usage = answer["choices"][0], answer["usage"]
        return ChatReply(
            text=choice["message"]["content"] or "",
            ended=_ENDS.get(choice.get("finish_reason"), "ended"),
            prompt_tokens=int(usage["prompt_tokens"]),
            completion_tokens=int(usage["completion_tokens"]),
            fingerprint=str(answer.get("system_fingerprint") or "fp_behind"),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the server behind returned no reply ({error!r})") from error
