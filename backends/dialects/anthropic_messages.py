"""The dialect of Anthropic's Messages.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means. This API refuses empty
messages: they are left out. All system messages become its `system`. Source: the API reference of
/v1/messages, version 2023-06-01, and its pages on streaming and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects import sse
from backends.dialects.error_responses import error_from_response, start
from backends.dialects.openai_chat import read_models as read_models
from backends.dialects.providers import PROVIDERS, Provider, merge, sampling_fields
from backends.dialects.responses import HttpResponse, count_or_none, mapping_or_empty, text_or_none
from harness.core.errors import ContentRefused, Garbled
from harness.core.vocabulary import AccessMethod, Completion, Prompt

VERSION = "2023-06-01"
NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
}
MODELS_PATH = "/models?limit=1000"
_ROW = PROVIDERS["anthropic"]


def path(method: AccessMethod) -> str:
    """Returns the path behind the base URL."""
    return "/messages"


def headers(row: Provider, key: str | None) -> dict[str, str]:
    """Returns the headers that carry the key and the version of the API."""
    return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """Returns the function that makes the JSON body of one request."""
    shared = sampling_fields(method, NAMES)
    if method.sampling.reasoning_effort is not None:
        merge(shared, {"thinking": {"type": "adaptive"}})
    if method.stream:
        shared["stream"] = True

    def body(prompt: Prompt) -> dict[str, object]:
        system = "\n\n".join(
            message.text for message in prompt.messages if message.role == "system" and message.text
        )
        return {
            "model": method.served_name,
            "messages": [
                {"role": message.role, "content": message.text}
                for message in prompt.messages
                if message.role != "system" and message.text.strip()
            ],
            "max_tokens": method.sampling.tokens_max or prompt.reply_format.tokens_max,
            **({"system": system} if system else {}),
            **shared,
        }

    return body


def read_answer(answer: HttpResponse, wall_s: float, row: Provider = _ROW) -> Completion:
    """Returns the completion in this answer.

    wall_s  now, in seconds since 1970: a Retry-After may be a date
    raises  the CallError that the answer means"""
    if answer.status != 200:
        raise error_from_response(answer, wall_s, row)
    body = answer.json()
    if not isinstance(body, dict):
        raise Garbled("the answer is JSON but no object", status=200)
    if body.get("type") == "error":
        raise error_from_response(answer, wall_s, row)
    content = body.get("content")
    if not isinstance(content, list):
        raise Garbled(
            f"the answer holds no content: {start(answer)}",
            status=200,
            request_id=text_or_none(body.get("id")),
        )
    blocks = [block for block in content if isinstance(block, dict)]
    texts = [
        text for block in blocks if block.get("type") == "text" and (text := text_or_none(block.get("text")))
    ]
    thoughts = [
        text
        for block in blocks
        if block.get("type") == "thinking" and (text := text_or_none(block.get("thinking")))
    ]
    return _completion(body, texts, thoughts, text_or_none(body.get("stop_reason")), body.get("usage"))


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = _ROW) -> Completion:
    """Returns the completion that these events contain, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also if the stream ends before message_stop"""
    message: dict[str, object] = {}
    usage: dict[str, object] = {}
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    stop_reason, done = None, False
    for event in streamed.events():
        body = event.json()
        delta = body.get("delta")
        match body.get("type"):
            case "error":
                raise error_from_response(
                    HttpResponse(status=200, headers=streamed.answer.headers, body=event.data), wall_s, row
                )
            case "message_start" if isinstance(start_message := body.get("message"), dict):
                message = start_message
                usage |= mapping_or_empty(start_message.get("usage"))
            case "content_block_delta" if isinstance(delta, dict):
                text, thought = text_or_none(delta.get("text")), text_or_none(delta.get("thinking"))
                if text or thought:
                    times_s.append(event.at_s)
                    texts.append(text or "")
                    thoughts.append(thought or "")
            case "message_delta":
                stop_reason = text_or_none(mapping_or_empty(delta).get("stop_reason")) or stop_reason
                usage |= {
                    name: count
                    for name, count in mapping_or_empty(body.get("usage")).items()
                    if count is not None
                }
            case "message_stop":
                done = True
    if not done:
        raise Garbled(
            "the stream broke off before the reply was done",
            status=200,
            request_id=text_or_none(message.get("id")),
        )
    return _completion(message, texts, thoughts, stop_reason, usage)._replace(pace=sse.pace(times_s))


def _completion(
    body: Mapping[str, object], texts: list[str], thoughts: list[str], stop_reason: str | None, usage: object
) -> Completion:
    """Adds the cached tokens, which its input_tokens leave out; its output_tokens include thoughts."""
    if stop_reason == "refusal":
        raise ContentRefused("the provider's safeguards cut the reply (stop_reason refusal)", status=200)
    counts = mapping_or_empty(usage)
    parts = [
        count_or_none(counts.get(name))
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    ]
    return Completion(
        text="".join(texts),
        finish_reason=stop_reason,
        prompt_tokens=None if parts[0] is None else sum(part or 0 for part in parts),
        completion_tokens=count_or_none(counts.get("output_tokens")),
        served_model=text_or_none(body.get("model")),
        request_id=text_or_none(body.get("id")),
        http_status=200,
        reasoning="".join(thoughts) or None,
        cached_tokens=parts[2],
    )
