"""The dialect of Anthropic's Messages.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError it means. An empty message, which this API refuses, is left out; system
messages, wherever they stand, become its `system`. Source: the API reference of /v1/messages, version 2023-06-01, and its pages on
streaming and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects import sse
from backends.dialects.error_answers import error_from_response, start
from backends.dialects.providers import PROVIDERS, Provider, merge, worded
from backends.dialects.responses import HttpResponse, count_in, mapping_in, text_in
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
    """After the base URL."""
    return "/messages"


def headers(row: Provider, key: str | None) -> dict[str, str]:
    """How the key travels, and which version of the API is meant."""
    return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """What makes the JSON body that asks for one reply."""
    same = worded(method, NAMES)
    if method.sampling.reasoning_effort is not None:
        merge(same, {"thinking": {"type": "adaptive"}})
    if method.stream:
        same["stream"] = True

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
            **same,
        }

    return body


def read_answer(answer: HttpResponse, wall_s: float, row: Provider = _ROW) -> Completion:
    """The completion in this answer.

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
            f"the answer holds no content: {start(answer)}", status=200, request_id=text_in(body.get("id"))
        )
    blocks = [block for block in content if isinstance(block, dict)]
    texts = [text for block in blocks if block.get("type") == "text" and (text := text_in(block.get("text")))]
    thoughts = [
        text
        for block in blocks
        if block.get("type") == "thinking" and (text := text_in(block.get("thinking")))
    ]
    return _completion(body, texts, thoughts, text_in(body.get("stop_reason")), body.get("usage"))


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = _ROW) -> Completion:
    """The completion that these events spell, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also where it ends before message_stop"""
    message: dict[str, object] = {}
    usage: dict[str, object] = {}
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    stop_reason, done = None, False
    for event in streamed.events():
        said = event.json()
        delta = said.get("delta")
        match said.get("type"):
            case "error":
                raise error_from_response(
                    HttpResponse(status=200, headers=streamed.answer.headers, body=event.data), wall_s, row
                )
            case "message_start" if isinstance(begun := said.get("message"), dict):
                message = begun
                usage |= mapping_in(begun.get("usage"))
            case "content_block_delta" if isinstance(delta, dict):
                text, thought = text_in(delta.get("text")), text_in(delta.get("thinking"))
                if text or thought:
                    times_s.append(event.at_s)
                    texts.append(text or "")
                    thoughts.append(thought or "")
            case "message_delta":
                stop_reason = text_in(mapping_in(delta).get("stop_reason")) or stop_reason
                usage |= {
                    name: count for name, count in mapping_in(said.get("usage")).items() if count is not None
                }
            case "message_stop":
                done = True
    if not done:
        raise Garbled(
            "the stream broke off before the reply was done",
            status=200,
            request_id=text_in(message.get("id")),
        )
    return _completion(message, texts, thoughts, stop_reason, usage)._replace(pace=sse.pace(times_s))


def _completion(
    body: Mapping[str, object], texts: list[str], thoughts: list[str], stop_reason: str | None, usage: object
) -> Completion:
    """Its input_tokens leave cached ones out, ours do not; its output_tokens count thoughts, as ours do."""
    if stop_reason == "refusal":
        raise ContentRefused("the provider's safeguards cut the reply (stop_reason refusal)", status=200)
    counts = mapping_in(usage)
    parts = [
        count_in(counts.get(name))
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    ]
    return Completion(
        text="".join(texts),
        finish_reason=stop_reason,
        prompt_tokens=None if parts[0] is None else sum(part or 0 for part in parts),
        completion_tokens=count_in(counts.get("output_tokens")),
        served_model=text_in(body.get("model")),
        request_id=text_in(body.get("id")),
        http_status=200,
        reasoning="".join(thoughts) or None,
        cached_tokens=parts[2],
    )
