"""The dialect of Gemini's generateContent.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means. A reasoning_effort becomes
its thinkingLevel; "none" becomes a thinking budget of 0, which only some models accept. Source: the REST
reference of models.generateContent and its page on errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat

from backends.dialects import sse
from backends.dialects.chunks import Chunks, completed, misplaced_text, read_chunks, unknown_place
from backends.dialects.error_responses import (
    error_from_response,
    error_from_value,
    is_bare_error,
    stated_error,
)
from backends.dialects.providers import PROVIDERS, Provider, merge, sampling_fields, value_at
from backends.dialects.responses import HttpResponse, count_or_none, text_or_none
from harness.core.errors import AccountRefused, ContentRefused, Garbled, UnknownEnd
from harness.core.finish_reasons import stated_finish
from harness.core.vocabulary import AccessMethod, Completion, Prompt

NAMES = {
    "temperature": "generationConfig.temperature",
    "top_p": "generationConfig.topP",
    "top_k": "generationConfig.topK",
    "seed": "generationConfig.seed",
    "stop": "generationConfig.stopSequences",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "presence_penalty": "generationConfig.presencePenalty",
    "reasoning_effort": "generationConfig.thinkingConfig.thinkingLevel",
}
MODELS_PATH = "/models?pageSize=1000"
_ROW = PROVIDERS["gemini"]


def path(method: AccessMethod) -> str:
    """Returns the path behind the base URL, which contains the model."""
    model = method.served_name.removeprefix("models/")
    return (
        f"/models/{model}:streamGenerateContent?alt=sse"
        if method.stream
        else f"/models/{model}:generateContent"
    )


def headers(row: Provider, key: str | None) -> dict[str, str]:
    """Returns the header that carries the key."""
    return {"x-goog-api-key": key} if key else {}


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """Returns the function that makes the JSON body of one request."""
    shared = sampling_fields(method, NAMES)
    if method.sampling.reasoning_effort not in (None, "none"):
        merge(shared, {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}})

    def body(prompt: Prompt) -> dict[str, object]:
        system = [{"text": message.text} for message in prompt.messages if message.role == "system"]
        fields: dict[str, object] = {
            "contents": [
                {
                    "role": "model" if message.role == "assistant" else "user",
                    "parts": [{"text": message.text}],
                }
                for message in prompt.messages
                if message.role != "system"
            ],
            **({"systemInstruction": {"parts": system}} if system else {}),
            "generationConfig": {
                "maxOutputTokens": method.sampling.tokens_max or prompt.reply_format.tokens_max
            },
        }
        merge(fields, shared)
        return fields

    return body


def read_answer(
    answer: HttpResponse, wall_s: float, row: Provider = _ROW, good_ends: tuple[str, ...] = ()
) -> Completion:
    """Returns the completion in this answer, whole or streamed; see openai_chat.read_answer."""
    chunks = read_chunks(answer, wall_s, row)
    reply = _Reply(answer, wall_s, row)
    for body, at_s in zip(chunks.objects, chunks.times_s or repeat(0.0), strict=False):
        reply.add(body, at_s)
    completion = completed(reply.completion(chunks), chunks, good_ends)
    return completion._replace(pace=sse.pace(reply.times_s)) if chunks.times_s else completion


def read_models(answer: HttpResponse, row: Provider = _ROW) -> tuple[str, ...] | None:
    """Returns the names of the models that the server lists; None if it lists none.

    raises  AccountRefused if the server refuses the key"""
    if not answer.succeeded:
        error = error_from_response(answer, 0.0, row)
        if isinstance(error, AccountRefused):
            raise error
        return None
    body = answer.json()
    entries = body.get("models") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        return None
    names = (text_or_none(entry.get("name")) for entry in entries if isinstance(entry, dict))
    return tuple(name.removeprefix("models/") for name in names if name)


class _Reply:
    """Puts a reply together from the JSON objects of one answer."""

    def __init__(self, answer: HttpResponse, wall_s: float, row: Provider) -> None:
        self._answer = answer
        self._wall_s = wall_s
        self._row = row
        self._metadata: dict[str, object] = {}
        self._usages: list[Mapping[str, object]] = []
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._finish_reason: str | None = None
        self._has_candidate = False
        self.times_s: list[float] = []

    def add(self, body: Mapping[str, object], at_s: float) -> None:
        """Takes one object, in the order of the answer.

        raises  the CallError that it states; ContentRefused if the prompt was blocked; UnknownEnd if it has
                text in an unknown place"""
        candidates = body.get("candidates")
        candidate = candidates[0] if isinstance(candidates, list) and candidates else None
        if not isinstance(candidates, list | None) or not isinstance(candidate, dict | None):
            raise Garbled(
                f"the candidates of the answer are malformed: {self._answer.start()}",
                status=self._answer.status,
            )
        if "error" in body or candidate is None:
            self._check_stray(body)
        self._metadata |= {name: body[name] for name in ("modelVersion", "responseId") if body.get(name)}
        if isinstance(usage := body.get("usageMetadata"), dict):
            self._usages.append(usage)
        if candidate is None:
            return
        self._has_candidate = True
        text, thoughts = self._parts(candidate)
        if text or thoughts:
            self.times_s.append(at_s)
            self._texts.append(text)
            self._thoughts.append(thoughts)
        elif (place := misplaced_text(candidate)) is not None:
            raise self._unknown_place(f"candidates[0].{place}")
        self._finish_reason = stated_finish(candidate.get("finishReason")) or self._finish_reason

    def _parts(self, candidate: Mapping[str, object]) -> tuple[str, str]:
        """Returns text and thoughts; a reply that consists of thoughts only has no parts."""
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if not isinstance(content, dict | None) or not isinstance(parts, list | None):
            raise Garbled(
                f"the content of the answer is malformed: {self._answer.start()}", status=self._answer.status
            )
        texts: tuple[list[str], list[str]] = ([], [])
        for part in parts or ():
            text = part.get("text", "") if isinstance(part, dict) else None
            if not isinstance(text, str):
                raise Garbled("a part of the answer is not a text", status=self._answer.status)
            texts[part.get("thought") is True].append(text)
        return "".join(texts[0]), "".join(texts[1])

    def _check_stray(self, body: Mapping[str, object]) -> None:
        """Raises the error that an object without a candidate states, or UnknownEnd if it has text."""
        reason = text_or_none(value_at("promptFeedback.blockReason", body))
        if reason:
            raise ContentRefused(
                f"the provider's filter stopped the prompt (blockReason {reason})", status=self._answer.status
            )
        error = stated_error(body)
        if error is None and "usageMetadata" not in body and is_bare_error(body):
            error = body
        if error is not None:
            raise error_from_value(error, self._answer, self._wall_s, self._row)
        if (place := misplaced_text(body)) is not None:
            raise self._unknown_place(place)

    def _unknown_place(self, place: str) -> UnknownEnd:
        return unknown_place(place, Completion(text="".join(self._texts), http_status=self._answer.status))

    def completion(self, chunks: Chunks) -> Completion:
        """Returns what the objects contain; its end is not judged.

        Adds the thoughts, which its candidatesTokenCount leaves out, to completion_tokens.
        raises  Garbled if there is no candidate"""
        request_id = text_or_none(self._metadata.get("responseId"))
        if not self._has_candidate:
            raise chunks.broken or Garbled(
                f"the answer contains no candidates: {self._answer.start()}",
                status=self._answer.status,
                request_id=request_id,
            )
        counts = {
            name: max(
                (count for usage in self._usages if (count := count_or_none(usage.get(name))) is not None),
                default=None,
            )
            for name in (
                "promptTokenCount",
                "candidatesTokenCount",
                "thoughtsTokenCount",
                "cachedContentTokenCount",
            )
        }
        reasoning_tokens, reply_tokens = counts["thoughtsTokenCount"], counts["candidatesTokenCount"]
        counted = reply_tokens is not None or reasoning_tokens is not None
        return Completion(
            text="".join(self._texts),
            finish_reason=self._finish_reason,
            prompt_tokens=counts["promptTokenCount"],
            completion_tokens=(reply_tokens or 0) + (reasoning_tokens or 0) if counted else None,
            served_model=text_or_none(self._metadata.get("modelVersion")),
            request_id=request_id,
            http_status=self._answer.status,
            reasoning="".join(self._thoughts) or None,
            reasoning_tokens=reasoning_tokens,
            cached_tokens=counts["cachedContentTokenCount"],
        )
