"""A real server in place of bots: what it is asked, and what is made of its answer. Pure.

The server is asked in OpenAI's chat dialect, never streamed, whatever the client speaks; the client's Authorization goes along. What it
answers is told on in the client's dialect with the server's own counts. Defects of the weights cannot be planted in a model that
is real; all others can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from backends.emulator.formats import ChatReply, Stop
from harness.core.vocabulary import Message

PATH = "/chat/completions"
_OURS = frozenset(
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
_NOT_THEIRS = frozenset({"stream_options", "stop_sequences", "system", "logprobs", "top_logprobs", "n"})
_ENDS: Mapping[object, Stop] = {"stop": "ended", "length": "cut"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One request with the defects in it. None: not said."""

    model: str
    messages: tuple[Message, ...]
    temperature: float
    top_p: float | None
    seed: int | None
    tokens_max: int
    stop: tuple[str, ...]


def body_for(wanted: UpstreamRequest, as_asked: Mapping[str, Any], *, other_template: bool) -> bytes:
    """What the server behind is sent; fields that we do not know go along as they are."""
    extra = {name: value for name, value in as_asked.items() if name not in _OURS and name not in _NOT_THEIRS}
    messages = _as_one(wanted.messages) if other_template else wanted.messages
    known = {
        "model": wanted.model,
        "messages": [{"role": message.role, "content": message.text} for message in messages],
        "max_tokens": wanted.tokens_max,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "seed": wanted.seed,
        "stop": list(wanted.stop) or None,
    }
    return orjson.dumps({**extra, **{name: value for name, value in known.items() if value is not None}})


def _as_one(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation as a model sees it whose server does not know its chat template: all one text."""
    lines = [f"<|{message.role}|>\n{message.text}" for message in messages]
    return (Message("user", "\n".join([*lines, "<|assistant|>\n"])),)


def said_in(body: bytes) -> ChatReply:
    """The reply in the server's answer.

    raises  ValueError if it holds none"""
    found = orjson.loads(body)
    try:
        choice, usage = found["choices"][0], found["usage"]
        return ChatReply(
            text=choice["message"]["content"] or "",
            ended=_ENDS.get(choice.get("finish_reason"), "ended"),
            prompt_tokens=int(usage["prompt_tokens"]),
            completion_tokens=int(usage["completion_tokens"]),
            fingerprint=str(found.get("system_fingerprint") or "fp_behind"),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the server behind gave no reply: {error!r}") from error
