"""The dialect of Gemini's generateContent.

Pure: Prompt -> body, HttpResponse -> Completion or the CallError it means. A reasoning_effort is its thinkingLevel; "none" is a thinking
budget of nothing, which only some models take. Source: the REST reference of models.generateContent and its page on errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.dialects import sse
from backends.dialects.error_answers import error_from_response, start
from backends.dialects.providers import PROVIDERS, Provider, found, merge, worded
from backends.dialects.responses import HttpResponse, count_in, text_in
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
    """After the base URL: the model is part of it."""
    model = method.served_name.removeprefix("models/")
    return (
        f"/models/{model}:streamGenerateContent?alt=sse"
        if method.stream
        else f"/models/{model}:generateContent"
    )


def headers(row: Provider, key: str | None) -> dict[str, str]:
    """How the key travels."""
    return {"x-goog-api-key": key} if key else {}


def bodies(method: AccessMethod) -> Callable[[Prompt], dict[str, object]]:
    """What makes the JSON body that asks for one reply."""
    same = worded(method, NAMES)
    if method.sampling.reasoning_effort not in (None, "none"):
        merge(same, {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}})

    def body(prompt: Prompt) -> dict[str, object]:
        system = [{"text": message.text} for message in prompt.messages if message.role == "system"]
        made: dict[str, object] = {
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
        merge(made, same)
        return made

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
    if body.get("error"):
        raise error_from_response(answer, wall_s, row)
    candidate = _candidate(body)
    if candidate is None:
        raise Garbled(
            f"the answer holds no candidates: {start(answer)}",
            status=200,
            request_id=text_in(body.get("responseId")),
        )
    text, thoughts = _spoken(candidate)
    return _completion(body, text, thoughts, _finish(candidate))


def read_stream(streamed: sse.EventStream, wall_s: float, row: Provider = _ROW) -> Completion:
    """The completion that these events spell, with its pace; see read_answer.

    raises  the CallError that the answer means; Garbled also where it ends before a finishReason"""
    texts: list[str] = []
    thoughts: list[str] = []
    times_s: list[float] = []
    told: dict[str, object] = {}
    finish_reason = None
    for event in streamed.events():
        chunk = event.json()
        if chunk.get("error"):
            raise error_from_response(
                HttpResponse(status=200, headers=streamed.answer.headers, body=event.data), wall_s, row
            )
        told |= {
            name: chunk[name] for name in ("usageMetadata", "modelVersion", "responseId") if name in chunk
        }
        candidate = _candidate(chunk)
        if candidate is None:
            continue
        finish_reason = _finish(candidate) or finish_reason
        text, thought = _spoken(candidate)
        if text or thought:
            times_s.append(event.at_s)
            texts.append(text)
            thoughts.append(thought or "")
    if finish_reason is None:
        raise Garbled(
            "the stream broke off before the reply was done",
            status=200,
            request_id=text_in(told.get("responseId")),
        )
    return _completion(told, "".join(texts), "".join(thoughts) or None, finish_reason)._replace(
        pace=sse.pace(times_s)
    )


def read_models(answer: HttpResponse, row: Provider = _ROW) -> tuple[str, ...] | None:
    """The names the server says it serves; None if it does not say.

    raises  AccountRefused and its kin where the answer means them"""
    if answer.status in (400, 401, 402, 403):
        raise error_from_response(answer, 0.0, row)
    if answer.status != 200:
        return None
    body = answer.json()
    entries = body.get("models") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        return None
    names = (text_in(entry.get("name")) for entry in entries if isinstance(entry, dict))
    return tuple(name.removeprefix("models/") for name in names if name)


def _candidate(body: Mapping[str, object]) -> Mapping[str, object] | None:
    """raises  ContentRefused if the prompt was blocked"""
    reason = text_in(found("promptFeedback.blockReason", body))
    if reason:
        raise ContentRefused(f"the provider's filter stopped the prompt (blockReason {reason})", status=200)
    candidates = body.get("candidates")
    candidate = candidates[0] if isinstance(candidates, list) and candidates else None
    return candidate if isinstance(candidate, dict) else None


def _spoken(candidate: Mapping[str, object]) -> tuple[str, str | None]:
    """Text and thoughts; a reply that was all thought has no parts."""
    parts = found("content.parts", candidate)
    texts: tuple[list[str], list[str]] = ([], [])
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and (text := text_in(part.get("text"))):
            texts[part.get("thought") is True].append(text)
    return "".join(texts[0]), "".join(texts[1]) or None


def _finish(candidate: Mapping[str, object]) -> str | None:
    reason = text_in(candidate.get("finishReason"))
    if reason in _BLOCKED:
        raise ContentRefused(f"the provider's filter cut the reply (finishReason {reason})", status=200)
    return reason


def _completion(
    body: Mapping[str, object], text: str, thoughts: str | None, finish_reason: str | None
) -> Completion:
    """Its candidatesTokenCount leaves thoughts out, our completion_tokens do not."""
    usage = body.get("usageMetadata")
    reasoning_tokens = count_in(found("thoughtsTokenCount", usage))
    said_tokens = count_in(found("candidatesTokenCount", usage))
    counted = said_tokens is not None or reasoning_tokens is not None
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=count_in(found("promptTokenCount", usage)),
        completion_tokens=(said_tokens or 0) + (reasoning_tokens or 0) if counted else None,
        served_model=text_in(body.get("modelVersion")),
        request_id=text_in(body.get("responseId")),
        http_status=200,
        reasoning=thoughts,
        reasoning_tokens=reasoning_tokens,
        cached_tokens=count_in(found("cachedContentTokenCount", usage)),
    )
