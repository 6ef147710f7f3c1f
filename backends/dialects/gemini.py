"""The dialect of Gemini's generateContent.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError that it means. A reasoning_effort becomes
its thinkingLevel; "none" becomes a thinking budget of 0, which only some models accept. Source: the REST
reference of models.generateContent and its page on errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects import sse
from backends.dialects.error_responses import error_from_response, start
from backends.dialects.providers import PROVIDERS, Provider, merge, sampling_fields, value_at
from backends.dialects.responses import HttpResponse, count_or_none, text_or_none
from harness.core.errors import ContentRefused, Garbled
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
_BLOCKED = ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")


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


def read_answer(answer: HttpResponse, wall_s: float, row: Provider = _ROW) -> Completion:
    """Returns the completion in this answer.

    wall_s  now, in seconds since 1970: a Retry-After may be a date
    raises  the CallError that the answer means"""
    if answer.status != 200:
        raise error_from_response(answer, wall_s, row)
    body = answer.json()
    if not isinstance(body, dict):
        raise Garbled("the answer is JSON but no object", status=200)
    if body.get("error"):
        raise error_from_response(answer, wall_s, row)
    candidate = _candidate(body)
    if candidate is None:
        raise Garbled(
            f"the answer holds no candidates: {start(answer)}",
            status=200,
            request_id=text_or_none(body.get("responseId")),
        )
    text, thoughts = _parts_of(candidate)
    return _completion(body, text, thoughts, _finish(candidate))


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = _ROW) -> Completion:
    """Returns the completion that these events contain, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also if the stream ends before a finishReason"""
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    metadata: dict[str, object] = {}
    finish_reason = None
    for event in streamed.events():
        chunk = event.json()
        if chunk.get("error"):
            raise error_from_response(
                HttpResponse(status=200, headers=streamed.answer.headers, body=event.data), wall_s, row
            )
        metadata |= {
            name: chunk[name] for name in ("usageMetadata", "modelVersion", "responseId") if name in chunk
        }
        candidate = _candidate(chunk)
        if candidate is None:
            continue
        finish_reason = _finish(candidate) or finish_reason
        text, thought = _parts_of(candidate)
        if text or thought:
            times_s.append(event.at_s)
            texts.append(text)
            thoughts.append(thought or "")
    if finish_reason is None:
        raise Garbled(
            "the stream broke off before the reply was done",
            status=200,
            request_id=text_or_none(metadata.get("responseId")),
        )
    return _completion(metadata, "".join(texts), "".join(thoughts) or None, finish_reason)._replace(
        pace=sse.pace(times_s)
    )


def read_models(answer: HttpResponse, row: Provider = _ROW) -> tuple[str, ...] | None:
    """Returns the names of the models that the server lists; None if it lists none.

    raises  the CallError that a refusal means, such as AccountRefused"""
    if answer.status in (400, 401, 402, 403):
        raise error_from_response(answer, 0.0, row)
    if answer.status != 200:
        return None
    body = answer.json()
    entries = body.get("models") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        return None
    names = (text_or_none(entry.get("name")) for entry in entries if isinstance(entry, dict))
    return tuple(name.removeprefix("models/") for name in names if name)


def _candidate(body: Mapping[str, object]) -> Mapping[str, object] | None:
    """Returns the first candidate; raises ContentRefused if the prompt was blocked."""
    reason = text_or_none(value_at("promptFeedback.blockReason", body))
    if reason:
        raise ContentRefused(f"the provider's filter stopped the prompt (blockReason {reason})", status=200)
    candidates = body.get("candidates")
    candidate = candidates[0] if isinstance(candidates, list) and candidates else None
    return candidate if isinstance(candidate, dict) else None


def _parts_of(candidate: Mapping[str, object]) -> tuple[str, str | None]:
    """Returns text and thoughts; a reply that consists of thoughts only has no parts."""
    parts = value_at("content.parts", candidate)
    texts: tuple[list[str], list[str]] = ([], [])
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and (text := text_or_none(part.get("text"))):
            texts[part.get("thought") is True].append(text)
    return "".join(texts[0]), "".join(texts[1]) or None


def _finish(candidate: Mapping[str, object]) -> str | None:
    reason = text_or_none(candidate.get("finishReason"))
    if reason in _BLOCKED:
        raise ContentRefused(f"the provider's filter cut the reply (finishReason {reason})", status=200)
    return reason


def _completion(
    body: Mapping[str, object], text: str, thoughts: str | None, finish_reason: str | None
) -> Completion:
    """Adds the thoughts, which its candidatesTokenCount leaves out, to completion_tokens."""
    usage = body.get("usageMetadata")
    reasoning_tokens = count_or_none(value_at("thoughtsTokenCount", usage))
    reply_tokens = count_or_none(value_at("candidatesTokenCount", usage))
    counted = reply_tokens is not None or reasoning_tokens is not None
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=count_or_none(value_at("promptTokenCount", usage)),
        completion_tokens=(reply_tokens or 0) + (reasoning_tokens or 0) if counted else None,
        served_model=text_or_none(body.get("modelVersion")),
        request_id=text_or_none(body.get("responseId")),
        http_status=200,
        reasoning=thoughts,
        reasoning_tokens=reasoning_tokens,
        cached_tokens=count_or_none(value_at("cachedContentTokenCount", usage)),
    )
