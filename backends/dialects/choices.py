"""Reads answers that have a list of choices: OpenAI's chat and plain completions, whole or streamed. Pure.

Source: the API reference of /v1/chat/completions and /v1/completions, and what servers and gateways make of
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backends.dialects import sse
from backends.dialects.chunks import Chunks, completed, misplaced_text, read_chunks, unknown_place
from backends.dialects.error_responses import BASE_RESP, error_from_value, is_bare_error, stated_error
from backends.dialects.logprobs import read_logprobs
from backends.dialects.providers import Provider, value_at
from backends.dialects.responses import HttpResponse, count_or_none, mapping_or_empty, text_or_none
from harness.core.errors import Garbled, UnknownEnd
from harness.core.finish_reasons import stated_finish
from harness.core.vocabulary import Completion

_METADATA = ("id", "model", "system_fingerprint", "provider")


class ReplyParts(NamedTuple):
    """Text and thoughts of one choice, whole or in an event of a stream. text: None if it has no place for
    one."""

    text: str | None
    thoughts: str | None


NO_PARTS = ReplyParts(None, None)
PartsReader = Callable[[Mapping[str, object], Provider], ReplyParts]


def read_choices(
    answer: HttpResponse, wall_s: float, row: Provider, good_ends: tuple[str, ...], read_parts: PartsReader
) -> Completion:
    """Returns the completion in this answer.

    wall_s      now, in seconds since 1970: a pause may be stated as a date
    good_ends   finish reasons that the sweep declares good; "": the server states none
    read_parts  finds text and thoughts in a choice
    raises      the CallError that the answer means; UnknownEnd if nothing says that the reply is complete"""
    chunks = read_chunks(answer, wall_s, row)
    reply = _Reply(answer, wall_s, row, read_parts)
    if not chunks.times_s:
        for body in chunks.objects:
            reply.add(body, 0.0)
        return completed(reply.completion(chunks), chunks, good_ends)
    for body, at_s in zip(chunks.objects, chunks.times_s, strict=True):
        reply.add(body, at_s)
    completion = completed(reply.completion(chunks), chunks, good_ends)
    return completion._replace(pace=sse.pace(reply.times_s))


class _Reply:
    """Puts a reply together from the JSON objects of one answer. `add` runs for every event of a stream, so
    it is tuned."""

    _finish_reason: str | None = None
    _index: int | None = None
    _has_reply = False  # there was a place for a text, be it empty
    _model: object = None
    _text_after_end = False

    def __init__(self, answer: HttpResponse, wall_s: float, row: Provider, read_parts: PartsReader) -> None:
        self._answer = answer
        self._wall_s = wall_s
        self._row = row
        self._read_parts = read_parts
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._heads: list[Mapping[str, object]] = []  # objects that may state what _METADATA names
        self._usages: list[object] = []
        self._logprobs: list[object] = []
        self.times_s: list[float] = []

    def add(self, body: Mapping[str, object], at_s: float) -> None:
        """Takes one object, in the order of the answer.

        raises  the CallError that it states; UnknownEnd if it has text in an unknown place"""
        choices: Any = body.get("choices")
        choice = choices[0] if type(choices) is list and choices else None
        if choice is None or "error" in body or BASE_RESP in body:
            self._check_stray(body, choices)
        if choice is None or not self._model:  # the first objects and the last
            self._heads.append(body)
            self._model = self._model or body.get("model")
        if (usage := body.get("usage")) is not None:
            self._usages.append(usage)
        if "x_groq" in body:
            self._usages.append(mapping_or_empty(body["x_groq"]).get("usage"))
        if choice is None:
            return
        if type(choice) is not dict:
            raise self._malformed()
        if choice.get("error"):
            raise error_from_value({"error": choice["error"]}, self._answer, self._wall_s, self._row)
        if (logprobs := choice.get("logprobs")) is not None:
            self._logprobs.append(logprobs)
        text, thoughts = self._read_parts(choice, self._row)
        if text is not None:
            self._has_reply = True
        if text or thoughts:
            if not ("message" in choice and self._repeats(choice, text)):
                self._text_after_end = self._finish_reason is not None
                self.times_s.append(at_s)
                self._texts.append(text or "")
                if thoughts:
                    self._thoughts.append(thoughts)
        elif (place := misplaced_text(choice)) is not None:
            raise self._unknown_place(f"choices[0].{place}")
        if len(choices) > 1 or (index := choice.get("index")) != self._index:
            if len(choices) == 1 and self._index is None and type(index) is int:
                self._index = index
            else:
                self._check_index(choices)
        if (reason := choice.get("finish_reason")) is not None:
            self._finish_reason = _finish(reason) or self._finish_reason

    def _repeats(self, choice: Mapping[str, object], text: str | None) -> bool:
        """Says whether a stream ends with the whole message that its events spelled, as some gateways' do.

        raises  UnknownEnd if the whole message is another one"""
        if not self._texts or choice.get("delta") is not None:
            return False
        if text != "".join(self._texts):
            raise self._unknown_place(
                "a message at the end of the stream, whose text differs from the text of the chunks"
            )
        return True

    def _malformed(self) -> Garbled:
        return Garbled(f"the choices of the answer are malformed: {self._answer.start()}", status=200)

    def _check_index(self, choices: list[object]) -> None:
        """Raises UnknownEnd if a second choice has text: one reply is asked for, and it has the first
        index."""
        for position, choice in enumerate(choices):
            index = choice.get("index") if isinstance(choice, dict) else None
            if type(index) is not int:
                index = self._index if position == 0 else None
            elif self._index is None:
                self._index = index
            if index != self._index and isinstance(choice, dict) and (place := misplaced_text(choice)):
                raise self._unknown_place(f"a choice with index {index}: {place}")

    def _check_stray(self, body: Mapping[str, object], choices: object) -> None:
        """Raises the error that an object states, or UnknownEnd if it has text but no choice."""
        error = stated_error(body)
        if error is None and choices is None and "usage" not in body and is_bare_error(body):
            error = body
        if error is not None:
            raise error_from_value(error, self._answer, self._wall_s, self._row)
        if not isinstance(choices, list | None):
            raise self._malformed()
        if choices is None and (place := misplaced_text(body)) is not None:
            raise self._unknown_place(place)

    def _unknown_place(self, place: str) -> UnknownEnd:
        return unknown_place(place, Completion(text="".join(self._texts), http_status=self._answer.status))

    def completion(self, chunks: Chunks) -> Completion:
        """Returns what the objects contain; its end is not judged.

        raises  Garbled if there is no place for a reply in them"""
        answer, metadata, row = self._answer, self._metadata(), self._row
        usage = _largest(self._usages)
        prompt_tokens, completion_tokens = _counts(usage)
        # A gateway writes a finish reason even if its upstream sent nothing. Its answer then has neither a
        # place for a text nor token counts.
        if not self._has_reply and (self._finish_reason is None or completion_tokens is None):
            raise chunks.broken or Garbled(
                f"the answer contains no reply: {answer.start()}",
                status=answer.status,
                request_id=text_or_none(metadata.get("id")),
            )
        details = usage.get("completion_tokens_details")
        reasoning_tokens = (
            None if details is None else count_or_none(mapping_or_empty(details).get("reasoning_tokens"))
        )
        if row.excludes_reasoning and completion_tokens is not None:
            completion_tokens += reasoning_tokens or 0
        cached_tokens = count_or_none(value_at(row.cached, usage))
        # A server that states a finish reason in every event states an end only with [DONE].
        finish_reason = self._finish_reason if chunks.done or not self._text_after_end else None
        request_id = text_or_none(metadata.get("id")) or answer.headers.get("x-request-id")
        upstream, fingerprint = metadata.get("provider"), metadata.get("system_fingerprint")
        completion = Completion(  # by position, as it is made for every call
            "".join(self._texts), finish_reason, prompt_tokens, completion_tokens,
            text_or_none(metadata.get("model")) or None, request_id, answer.status,
            "".join(self._thoughts) or None, reasoning_tokens, cached_tokens,
            text_or_none(upstream) or None, text_or_none(fingerprint) or None, _cost(usage.get("cost")),
        )  # fmt: skip
        if not self._logprobs:
            return completion
        return completion._replace(logprobs=read_logprobs(self._logprobs))

    def _metadata(self) -> Mapping[str, object]:
        """Returns what the objects state of _METADATA; the last value that is not empty holds."""
        if len(self._heads) == 1:
            return self._heads[0]
        return {name: head[name] for head in self._heads for name in _METADATA if head.get(name)}


def _finish(reason: object) -> str | None:
    """Returns the finish reason; SGLang's own API wraps it in an object."""
    return stated_finish(reason.get("type") if isinstance(reason, dict) else reason)


def _largest(usages: list[object]) -> Mapping[str, object]:
    """Returns the usage with the most tokens: some servers state a usage in every event, or state it
    twice."""
    if len(usages) == 1:
        return mapping_or_empty(usages[0])
    found = [usage for usage in usages if isinstance(usage, dict)]
    if not found:
        return {}
    return max(found, key=lambda usage: sum(count or 0 for count in _counts(usage)))


def _counts(usage: Mapping[str, object]) -> tuple[int | None, int | None]:
    """Returns the tokens of prompt and reply; some gateways use the names of Anthropic's dialect."""
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    completion = usage.get("completion_tokens", usage.get("output_tokens"))
    return count_or_none(prompt), count_or_none(completion)


def _cost(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < 1e9 else None
