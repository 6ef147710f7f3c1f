"""The dialect of OpenAI's chat completions, which most servers speak.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means. Source: the API reference of
/v1/chat/completions; providers.py says where providers differ. completions.py reads answers with the same
functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from backends.dialects import sse
from backends.dialects.error_responses import error_from_response, start
from backends.dialects.grammar import gbnf
from backends.dialects.providers import GENERIC, Provider, merge, provider, sampling_fields, value_at
from backends.dialects.responses import HttpResponse, count_or_none, mapping_or_empty, text_or_none
from harness.core.errors import ContentRefused, Garbled, Unavailable
from harness.core.vocabulary import AccessMethod, Completion, Prompt, ReplyFormat

NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "reasoning_effort": "reasoning_effort",
}
MODELS_PATH = "/models"
_METADATA = ("id", "model", "system_fingerprint", "provider")


class ReplyParts(NamedTuple):
    """Text and thoughts of one choice: of a whole answer, or of one event of a stream."""

    text: str | None
    thoughts: str | None


PartsReader = Callable[[Mapping[str, object], Provider], ReplyParts]


def path(method: AccessMethod) -> str:
    """Returns the path behind the base URL."""
    return "/chat/completions"


def headers(row: Provider, key: str | None) -> dict[str, str]:
    """Returns the header that carries the key."""
    if key is None:
        return {}
    return {row.key_header: f"Bearer {key}" if row.key_header == "Authorization" else key}


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """Returns the function that makes the JSON body of one request; unset parameters are left out."""
    shared = shared_fields(method)
    tokens_max = tokens_max_name(method)

    def body(prompt: Prompt) -> dict[str, object]:
        fields: dict[str, object] = {
            "model": method.served_name,
            "messages": [{"role": role, "content": text} for role, text in prompt.messages],
            tokens_max: method.sampling.tokens_max or prompt.reply_format.tokens_max,
            **shared,
        }
        if method.constrain:
            merge(fields, constraint(method, prompt.reply_format))
        return fields

    return body


def shared_fields(method: AccessMethod) -> dict[str, object]:
    """Returns the part of every body that does not depend on the prompt."""
    row = provider(method.provider)
    body = sampling_fields(method, NAMES)
    if method.stream:
        body |= {"stream": True, **({"stream_options": {"include_usage": True}} if row.asks_usage else {})}
    if row.router:  # pinned: another upstream would be another access method
        routing: dict[str, object] = {"allow_fallbacks": method.allow_fallbacks, "require_parameters": True}
        body["provider"] = {**({"order": list(method.upstreams)} if method.upstreams else {}), **routing}
    return body


def tokens_max_name(method: AccessMethod) -> str:
    return provider(method.provider).names.get("tokens_max", "max_tokens")


def constraint(method: AccessMethod, reply_format: ReplyFormat) -> dict[str, object]:
    """Returns the fields that make the server enforce the reply format."""
    match provider(method.provider).constrain:
        case "regex":
            return {"regex": reply_format.regex}
        case "grammar":
            return {"grammar": gbnf(reply_format.regex)}
        case "response_format":
            return {"response_format": {"type": "regex", "pattern": reply_format.regex}}
        case _:
            return {"structured_outputs": {"regex": reply_format.regex}}


def read_answer(answer: HttpResponse, wall_s: float, row: Provider = GENERIC) -> Completion:
    """Returns the completion in this answer.

    wall_s  now, in seconds since 1970: a Retry-After may be a date
    raises  the CallError that the answer means"""
    return read_whole(answer, wall_s, row, message_parts)


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = GENERIC) -> Completion:
    """Returns the completion that these events contain, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also if the stream ends without a finish_reason or
            [DONE]"""
    return read_pieces(streamed, wall_s, row, delta_parts)


def read_whole(answer: HttpResponse, wall_s: float, row: Provider, read_parts: PartsReader) -> Completion:
    """Returns the completion, as read_answer; read_parts finds text and thoughts in a choice."""
    if answer.status != 200:
        raise error_from_response(answer, wall_s, row)
    body = answer.json()
    if not isinstance(body, dict):
        raise Garbled("the answer is JSON but no object", status=answer.status)
    if body.get("error"):
        raise error_from_response(answer, wall_s, row)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise Garbled(
            f"the answer holds no choices: {start(answer)}",
            status=200,
            request_id=text_or_none(body.get("id")),
        )
    parts = read_parts(choice, row)
    if parts.text is None and parts.thoughts is None and not has_null_content(choice):
        raise Garbled(
            f"the answer holds no reply: {start(answer)}", status=200, request_id=text_or_none(body.get("id"))
        )
    return _completion(
        answer, body, row, text=parts.text or "", thoughts=parts.thoughts, finish_reason=_finish(choice)
    )


def read_pieces(
    streamed: sse.EventStream, wall_s: float, row: Provider, read_parts: PartsReader
) -> Completion:
    """Returns the completion, as read_stream; read_parts finds text and thoughts in a choice."""
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    metadata: dict[str, object] = {}
    finish_reason, done = None, False
    for event in streamed.events():
        if event.data == sse.DONE_MARKER:
            done = True
            break
        chunk = event.json()
        if chunk.get("error"):
            raise error_from_response(
                HttpResponse(status=200, headers=streamed.answer.headers, body=event.data), wall_s, row
            )
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if choice is None or "model" not in metadata:  # the first pieces and the last
            metadata |= {name: chunk[name] for name in _METADATA if chunk.get(name)}
        if (usage := _usage(chunk, row)) is not None:
            metadata["usage"] = usage
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason") is not None:
            finish_reason = _finish(choice)
        text, thought = read_parts(choice, row)
        if text or thought:
            times_s.append(event.at_s)
            texts.append(text or "")
            thoughts.append(thought or "")
    if not done and finish_reason is None:
        raise Garbled(
            "the stream broke off before the reply was done",
            status=200,
            request_id=text_or_none(metadata.get("id")),
        )
    completion = _completion(
        streamed.answer,
        metadata,
        row,
        text="".join(texts),
        thoughts="".join(thoughts) or None,
        finish_reason=finish_reason,
    )
    return completion._replace(pace=sse.pace(times_s))


def message_parts(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    return _parts_of(choice.get("message"), row)


def delta_parts(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    return _parts_of(choice.get("delta"), row)


def has_null_content(choice: Mapping[str, object]) -> bool:
    """Says whether the reply is null on purpose: an empty reply, which the game judges."""
    return mapping_or_empty(choice.get("message")).get("content", "") is None


def _parts_of(message: object, row: Provider) -> ReplyParts:
    """Reads content that is a text or a list of parts (Mistral); a refusal stands beside an empty content."""
    if not isinstance(message, dict):
        return ReplyParts(text=None, thoughts=None)
    thoughts = None
    for name in row.reasoning:
        if thought := message.get(name):
            thoughts = text_or_none(thought)
    content = message.get("content")
    if isinstance(content, str) and content:
        return ReplyParts(content, thoughts)
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        texts = [
            text for part in parts if part.get("type") == "text" and (text := text_or_none(part.get("text")))
        ]
        thinking = [
            text for part in parts if part.get("type") == "thinking" for text in _texts(part.get("thinking"))
        ]
        return ReplyParts(text="".join(texts), thoughts="".join(thinking) or thoughts)
    return ReplyParts(text_or_none(message.get("refusal")) or text_or_none(content), thoughts)


def _usage(body: Mapping[str, object], row: Provider) -> object:
    usage = body.get("usage")
    return usage if usage is not None or row.usage is None else value_at(row.usage, body)


def _finish(choice: Mapping[str, object]) -> str | None:
    """Returns the finish_reason; raises ContentRefused or Unavailable if the provider cut the reply."""
    reason = text_or_none(choice.get("finish_reason"))
    if reason == "content_filter":
        raise ContentRefused("the provider's filter cut the reply (finish_reason content_filter)", status=200)
    if reason in ("error", "insufficient_system_resource"):
        raise Unavailable(f"the provider gave the reply up (finish_reason {reason})", status=200)
    return reason


def _completion(
    answer: HttpResponse,
    body: Mapping[str, object],
    row: Provider,
    *,
    text: str,
    thoughts: str | None,
    finish_reason: str | None,
) -> Completion:
    usage = mapping_or_empty(_usage(body, row))
    details = usage.get("completion_tokens_details")
    reasoning_tokens = (
        None if details is None else count_or_none(mapping_or_empty(details).get("reasoning_tokens"))
    )
    completion_tokens = count_or_none(usage.get("completion_tokens"))
    if row.excludes_reasoning and completion_tokens is not None:
        completion_tokens += reasoning_tokens or 0
    prompt_tokens, cached_tokens = (
        count_or_none(usage.get("prompt_tokens")),
        count_or_none(value_at(row.cached, usage)),
    )
    served_model, request_id = (
        text_or_none(body.get("model")),
        text_or_none(body.get("id")) or answer.headers.get("x-request-id"),
    )
    upstream, system_fingerprint = (
        text_or_none(body.get("provider")),
        text_or_none(body.get("system_fingerprint")),
    )
    return Completion(  # by position, as it is made for every call
        text, finish_reason, prompt_tokens, completion_tokens, served_model, request_id, 200,
        thoughts, reasoning_tokens, cached_tokens, upstream, system_fingerprint, _cost(usage.get("cost")),
    )  # fmt: skip


def read_models(answer: HttpResponse, row: Provider = GENERIC) -> tuple[str, ...] | None:
    """Returns the names of the models that the server lists; None if it lists none.

    raises  the CallError that a refusal means, such as AccountRefused"""
    if answer.status in (401, 402, 403):
        raise error_from_response(answer, 0.0, row)
    if answer.status != 200:
        return None
    body = answer.json()
    entries = body.get("data") if isinstance(body, dict) else body  # Together sends the bare list
    if not isinstance(entries, list):
        return None
    return tuple(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry)


def _texts(parts: object) -> list[str]:
    return (
        [text for part in parts if isinstance(part, dict) and (text := text_or_none(part.get("text")))]
        if isinstance(parts, list)
        else []
    )


def _cost(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < 1e9 else None
