"""The dialect of Anthropic's Messages.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means. This API refuses empty
messages: they are left out. All system messages become its `system`. Source: the API reference of
/v1/messages, version 2023-06-01, and its pages on streaming and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat

from backends.dialects import sse
from backends.dialects.chunks import Chunks, completed, misplaced_text, read_chunks, unknown_place
from backends.dialects.error_responses import error_from_value, is_bare_error, stated_error
from backends.dialects.openai_chat import read_models as read_models
from backends.dialects.providers import PROVIDERS, Provider, merge, sampling_fields
from backends.dialects.responses import HttpResponse, count_or_none, mapping_or_empty, text_or_none
from harness.core.errors import Garbled
from harness.core.finish_reasons import stated_finish
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


def read_answer(
    answer: HttpResponse, wall_s: float, row: Provider = _ROW, good_ends: tuple[str, ...] = ()
) -> Completion:
    """Returns the completion in this answer, whole or streamed; see openai_chat.read_answer."""
    chunks = read_chunks(answer, wall_s, row)
    reply = _Reply(answer, wall_s, row)
    for body, at_s in zip(chunks.objects, chunks.times_s or repeat(0.0), strict=False):
        reply.add(body, at_s)
    chunks = chunks._replace(done=reply.done)
    completion = completed(reply.completion(chunks), chunks, good_ends)
    return completion._replace(pace=sse.pace(reply.times_s)) if chunks.times_s else completion


class _Reply:
    """The reply that one message, or the events of one message, spell."""

    def __init__(self, answer: HttpResponse, wall_s: float, row: Provider) -> None:
        self._answer = answer
        self._wall_s = wall_s
        self._row = row
        self._message: Mapping[str, object] | None = None
        self._usage: dict[str, int] = {}
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._stop_reason: str | None = None
        self.times_s: list[float] = []
        self.done = False  # the message is whole, or message_stop came

    def add(self, body: Mapping[str, object], at_s: float) -> None:
        """Takes one object, in the order of the answer.

        raises  the CallError that it states; UnknownEnd if it has text in an unknown place"""
        match body.get("type"):
            case "content_block_delta":
                self._add_block(body.get("delta"), at_s)
            case "message_start":
                self._add_message(mapping_or_empty(body.get("message")), at_s)
            case "content_block_start":
                self._add_block(body.get("content_block"), at_s)
            case "message_delta":
                self._add_end(mapping_or_empty(body.get("delta")), body.get("usage"))
            case "message":
                self._add_message(body, at_s)
                self._add_end(body, body.get("usage"))
                self.done = True
            case "message_stop":
                self.done = True
            case "ping" | "content_block_stop":
                pass
            case _:
                self._check_stray(body)

    def _add_message(self, message: Mapping[str, object], at_s: float) -> None:
        content = message.get("content")
        if isinstance(content, str) and content:
            found = Completion(text=content, http_status=self._answer.status)
            raise unknown_place("content, which is a text and not a list of blocks", found)
        if not isinstance(content, list):
            raise Garbled(
                f"the answer contains no content: {self._answer.start()}",
                status=self._answer.status,
                request_id=text_or_none(message.get("id")),
            )
        self._message = message
        self._count(message.get("usage"))
        for block in content:
            self._add_block(block, at_s)

    def _add_block(self, block: object, at_s: float) -> None:
        """Takes a block of content, the start of one, or a delta of one."""
        if not isinstance(block, dict):
            raise Garbled("a block of the answer is not an object", status=self._answer.status)
        text = thought = None
        match block.get("type"):
            case "text" | "text_delta":
                text = block.get("text")
            case "thinking" | "thinking_delta":
                thought = block.get("thinking")
            case kind if (place := misplaced_text(block)) is not None:
                found = Completion(text="".join(self._texts), http_status=self._answer.status)
                raise unknown_place(f"a block of type {kind!r}: {place}", found)
        if not isinstance(text, str | None) or not isinstance(thought, str | None):
            raise Garbled("the text of a block is not a text", status=self._answer.status)
        if text or thought:
            self.times_s.append(at_s)
            self._texts.append(text or "")
            self._thoughts.append(thought or "")

    def _add_end(self, delta: Mapping[str, object], usage: object) -> None:
        self._stop_reason = stated_finish(delta.get("stop_reason")) or self._stop_reason
        self._count(usage)

    def _count(self, usage: object) -> None:
        """Keeps the largest of each count: message_start states a first part of them."""
        for name, value in mapping_or_empty(usage).items():
            if (count := count_or_none(value)) is not None:
                self._usage[name] = max(count, self._usage.get(name, 0))

    def _check_stray(self, body: Mapping[str, object]) -> None:
        """Raises the error that an object of no known type states; UnknownEnd if it has text."""
        error = stated_error(body)
        if error is None and is_bare_error(body):
            error = body
        if error is not None:
            raise error_from_value(error, self._answer, self._wall_s, self._row)
        if (place := misplaced_text(body)) is not None:
            raise unknown_place(place, Completion(text="".join(self._texts), http_status=self._answer.status))

    def completion(self, chunks: Chunks) -> Completion:
        """Returns what the objects contain; its end is not judged.

        Adds the cached tokens, which its input_tokens leave out; its output_tokens include thoughts.
        raises  Garbled if there is no message"""
        message, usage = self._message, self._usage
        if message is None:
            raise chunks.broken or Garbled(
                f"the answer contains no message: {self._answer.start()}", status=self._answer.status
            )
        cached_tokens = usage.get("cache_read_input_tokens")
        prompt_tokens = usage.get("input_tokens")
        if prompt_tokens is not None:
            prompt_tokens += usage.get("cache_creation_input_tokens", 0) + (cached_tokens or 0)
        return Completion(
            text="".join(self._texts),
            finish_reason=self._stop_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=usage.get("output_tokens"),
            served_model=text_or_none(message.get("model")),
            request_id=text_or_none(message.get("id")),
            http_status=self._answer.status,
            reasoning="".join(self._thoughts) or None,
            cached_tokens=cached_tokens,
        )
