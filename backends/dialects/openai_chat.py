"""The dialect of OpenAI's chat completions, which most servers speak.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means. Source: the API reference of
/v1/chat/completions; providers.py says where providers differ. completions.py reads answers with the same
functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects.choices import NO_PARTS, ReplyParts, read_choices
from backends.dialects.chunks import misplaced_text, unknown_place
from backends.dialects.error_responses import error_from_response
from backends.dialects.grammar import gbnf
from backends.dialects.providers import GENERIC, Provider, merge, provider, sampling_fields
from backends.dialects.responses import HttpResponse, text_or_none
from harness.core.errors import AccountRefused, Garbled
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
    "logprobs": "top_logprobs",
}
MODELS_PATH = "/models"
# A message, or a delta of one, that has none of them has no place for a reply.
_MESSAGE_FIELDS = frozenset(("role", "content", "refusal", "tool_calls", "function_call"))


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
    body = sampling_fields(method, NAMES)
    if NAMES["logprobs"] in body:
        body["logprobs"] = True
    return body | served_fields(method)


def served_fields(method: AccessMethod) -> dict[str, object]:
    """Returns the fields that say how a reply is served: streamed or whole, and by which upstream."""
    row, body = provider(method.provider), dict[str, object]()
    if method.stream:
        body |= {"stream": True, **({"stream_options": {"include_usage": True}} if row.asks_usage else {})}
    if method.ignore_eos and row.ignore_eos:
        body["ignore_eos"] = True
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


def read_answer(
    answer: HttpResponse, wall_s: float, row: Provider = GENERIC, good_ends: tuple[str, ...] = ()
) -> Completion:
    """Returns the completion in this answer, whole or streamed.

    wall_s     now, in seconds since 1970: a pause may be stated as a date
    good_ends  finish reasons that the sweep declares good; "": the server states none
    raises     the CallError that the answer means; UnknownEnd if nothing says that the reply is complete"""
    return read_choices(answer, wall_s, row, good_ends, chat_parts)


def chat_parts(choice: Mapping[str, object], row: Provider) -> ReplyParts:
    """Returns the parts of a streamed or a whole message; an object without either has none."""
    message = choice.get("delta")
    if message is None:
        message = choice.get("message")
    if message is None:
        return NO_PARTS
    if not isinstance(message, dict):
        raise Garbled(f"the message of the answer is not an object but {type(message).__name__}", status=200)
    content = message.get("content")
    thoughts = None
    for name in row.reasoning:
        if thought := message.get(name):
            thoughts = text_or_none(thought)
    if isinstance(content, str) and content:
        return ReplyParts(content, thoughts)
    if isinstance(content, list):
        return _content_parts(content, thoughts)
    if content is not None and not isinstance(content, str):
        kind = type(content).__name__
        raise Garbled(f"the reply is neither a text nor a list of parts but {kind}", status=200)
    if not message.keys() & _MESSAGE_FIELDS and thoughts is None:
        return NO_PARTS
    return ReplyParts(text_or_none(message.get("refusal")) or "", thoughts)


def _content_parts(parts: list[object], thoughts: str | None) -> ReplyParts:
    """Reads content that is a list of parts (Mistral); a part of an unknown type must not have a text."""
    texts: list[str] = []
    thinking: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, dict):
            raise Garbled("a part of the reply is not an object", status=200)
        elif kind in ("text", "output_text", "refusal", None):
            texts += _texts(part.get("text", part.get("refusal")))
        elif kind in ("thinking", "reasoning", "reasoning_content"):
            thinking += _texts(part.get("thinking", part.get("text", part.get("reasoning"))))
        elif (place := misplaced_text(part)) is not None:
            raise unknown_place(f"a content part of type {kind!r}: {place}", Completion(text="".join(texts)))
    return ReplyParts("".join(texts), "".join(thinking) or thoughts)


def _texts(value: object) -> list[str]:
    """Returns the texts of a part as a list, which is empty if the part has none.

    raises  Garbled if the part is neither a text nor a list of texts"""
    if value is None or isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict) and isinstance(value.get("value"), str):
        return [value["value"]]
    if isinstance(value, list):
        return [
            text for part in value for text in _texts(part.get("text") if isinstance(part, dict) else part)
        ]
    raise Garbled(f"the text of a part is not a text but {type(value).__name__}", status=200)


def read_models(answer: HttpResponse, row: Provider = GENERIC) -> tuple[str, ...] | None:
    """Returns the names of the models that the server lists; None if it lists none.

    raises  AccountRefused if the server refuses the key"""
    if not answer.succeeded:
        error = error_from_response(answer, 0.0, row)
        if isinstance(error, AccountRefused):
            raise error
        return None
    body = answer.json()
    entries = body.get("data") if isinstance(body, dict) else body  # Together sends the bare list
    if not isinstance(entries, list):
        return None
    return tuple(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry)
