"""The dialect of OpenAI's chat completions, which most servers speak.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError it means. Source: the API reference of
/v1/chat/completions; where providers differ is in providers.py. Plain completions (completions.py) are read by the same functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from backends.dialects import sse
from backends.dialects.error_answers import error_from_response, start
from backends.dialects.providers import GENERIC, Provider, found, merge, provider, worded
from backends.dialects.responses import HttpResponse, count_in, mapping_in, text_in
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
_TOLD = ("id", "model", "system_fingerprint", "provider")


class ReplyParts(NamedTuple):
    """What one choice says: of a whole answer, or of a piece of a stream."""

    text: str | None
    thoughts: str | None


Speech = Callable[[Mapping[str, object], Provider], ReplyParts]


def path(method: AccessMethod) -> str:
    """After the base URL."""
    return "/chat/completions"


def headers(row: Provider, key: str | None) -> dict[str, str]:
    """How the key travels."""
    if key is None:
        return {}
    return {row.key_header: f"Bearer {key}" if row.key_header == "Authorization" else key}


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """What makes the JSON body that asks for one reply. What the sweep leaves to the provider is left out."""
    same = common(method)
    tokens_max = tokens_name(method)

    def body(prompt: Prompt) -> dict[str, object]:
        made: dict[str, object] = {
            "model": method.served_name,
            "messages": [{"role": role, "content": text} for role, text in prompt.messages],
            tokens_max: method.sampling.tokens_max or prompt.reply_format.tokens_max,
            **same,
        }
        if method.constrain:
            merge(made, constraint(method, prompt.reply_format))
        return made

    return body


def common(method: AccessMethod) -> dict[str, object]:
    """The part of every body that no prompt changes."""
    row = provider(method.provider)
    body = worded(method, NAMES)
    if method.stream:
        body |= {"stream": True, **({"stream_options": {"include_usage": True}} if row.asks_usage else {})}
    if row.router:  # pinned: whoever else answered would be another access method
        routing: dict[str, object] = {"allow_fallbacks": method.allow_fallbacks, "require_parameters": True}
        body["provider"] = {**({"order": list(method.upstreams)} if method.upstreams else {}), **routing}
    return body


def tokens_name(method: AccessMethod) -> str:
    return provider(method.provider).names.get("tokens_max", "max_tokens")


def constraint(method: AccessMethod, reply_format: ReplyFormat) -> dict[str, object]:
    """How the server is told to keep replies to the form."""
    match provider(method.provider).constrain:
        case "regex":
            return {"regex": reply_format.regex}
        case "response_format":
            return {"response_format": {"type": "regex", "pattern": reply_format.regex}}
        case _:
            return {"structured_outputs": {"regex": reply_format.regex}}


def read_answer(answer: HttpResponse, wall_s: float, row: Provider = GENERIC) -> Completion:
    """The completion in this answer.

    wall_s  now, in seconds since 1970: a Retry-After may be a date
    raises  the CallError that the answer means"""
    return read_whole(answer, wall_s, row, of_message)


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = GENERIC) -> Completion:
    """The completion that these events spell, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also where it ends before it says that it is done"""
    return read_pieces(streamed, wall_s, row, of_delta)


def read_whole(answer: HttpResponse, wall_s: float, row: Provider, speech: Speech) -> Completion:
    """As read_answer; speech finds the words in a choice."""
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
            f"the answer holds no choices: {start(answer)}", status=200, request_id=text_in(body.get("id"))
        )
    spoken = speech(choice, row)
    if spoken.text is None and spoken.thoughts is None and not said_nothing(choice):
        raise Garbled(
            f"the answer holds no reply: {start(answer)}", status=200, request_id=text_in(body.get("id"))
        )
    return _completion(
        answer, body, row, text=spoken.text or "", thoughts=spoken.thoughts, finish_reason=_finish(choice)
    )


def read_pieces(streamed: sse.EventStream, wall_s: float, row: Provider, speech: Speech) -> Completion:
    """As read_stream; speech finds the words in a choice."""
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    told: dict[str, object] = {}
    finish_reason, done = None, False
    for event in streamed.events():
        if event.data == sse.ENDED:
            done = True
            break
        chunk = event.json()
        if chunk.get("error"):
            raise error_from_response(
                HttpResponse(status=200, headers=streamed.answer.headers, body=event.data), wall_s, row
            )
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if choice is None or "model" not in told:  # the first pieces and the last
            told |= {name: chunk[name] for name in _TOLD if chunk.get(name)}
        if (usage := _usage(chunk, row)) is not None:
            told["usage"] = usage
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason") is not None:
            finish_reason = _finish(choice)
        text, thought = speech(choice, row)
        if text or thought:
            times_s.append(event.at_s)
            texts.append(text or "")
            thoughts.append(thought or "")
    if not done and finish_reason is None:
        raise Garbled(
            "the stream broke off before the reply was done", status=200, request_id=text_in(told.get("id"))
        )
    completion = _completion(
        streamed.answer,
        told,
        row,
        text="".join(texts),
        thoughts="".join(thoughts) or None,
        finish_reason=finish_reason,
    )
    return completion._replace(pace=sse.pace(times_s))


def of_message(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    return _spoken(choice.get("message"), row)


def of_delta(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    return _spoken(choice.get("delta"), row)


def said_nothing(choice: Mapping[str, object]) -> bool:
    """Whether the reply is null on purpose: an empty reply, which the game judges."""
    return mapping_in(choice.get("message")).get("content", "") is None


def _spoken(message: object, row: Provider) -> ReplyParts:
    """Content is a text, or a list of parts (Mistral); a model that refuses says so beside an empty content."""
    if not isinstance(message, dict):
        return ReplyParts(text=None, thoughts=None)
    thoughts = None
    for name in row.reasoning:
        if thought := message.get(name):
            thoughts = text_in(thought)
    content = message.get("content")
    if isinstance(content, str) and content:
        return ReplyParts(content, thoughts)
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        said = [text for part in parts if part.get("type") == "text" and (text := text_in(part.get("text")))]
        thought = [
            text for part in parts if part.get("type") == "thinking" for text in _texts(part.get("thinking"))
        ]
        return ReplyParts(text="".join(said), thoughts="".join(thought) or thoughts)
    return ReplyParts(text_in(message.get("refusal")) or text_in(content), thoughts)


def _usage(body: Mapping[str, object], row: Provider) -> object:
    usage = body.get("usage")
    return usage if usage is not None or row.usage is None else found(row.usage, body)


def _finish(choice: Mapping[str, object]) -> str | None:
    """raises  ContentRefused, Unavailable where the reply's end was not the model's"""
    reason = text_in(choice.get("finish_reason"))
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
    usage = mapping_in(_usage(body, row))
    details = usage.get("completion_tokens_details")
    reasoning_tokens = None if details is None else count_in(mapping_in(details).get("reasoning_tokens"))
    completion_tokens = count_in(usage.get("completion_tokens"))
    if row.thoughts_apart and completion_tokens is not None:
        completion_tokens += reasoning_tokens or 0
    prompt_tokens, cached_tokens = count_in(usage.get("prompt_tokens")), count_in(found(row.cached, usage))
    served_model, request_id = (
        text_in(body.get("model")),
        text_in(body.get("id")) or answer.headers.get("x-request-id"),
    )
    upstream, system_fingerprint = text_in(body.get("provider")), text_in(body.get("system_fingerprint"))
    return Completion(  # by position, as it is made for every call
        text, finish_reason, prompt_tokens, completion_tokens, served_model, request_id, 200,
        thoughts, reasoning_tokens, cached_tokens, upstream, system_fingerprint, _cost(usage.get("cost")),
    )  # fmt: skip


def read_models(answer: HttpResponse, row: Provider = GENERIC) -> tuple[str, ...] | None:
    """The names the server says it serves; None if it does not say.

    raises  AccountRefused and its kin where the answer means them"""
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
        [text for part in parts if isinstance(part, dict) and (text := text_in(part.get("text")))]
        if isinstance(parts, list)
        else []
    )


def _cost(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < 1e9 else None
