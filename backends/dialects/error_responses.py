"""Maps the errors that servers report to CallErrors: status, code and words -> the class that says who must
act. Pure.

All dialects check in one order: content, length of the messages, account, model, rate, the rest. The words
are checked before the status, because providers and gateways use 200, 400, 429 and 500 for everything. The
lists hold the wordings of the providers' pages on errors and of public bug reports, in lower case; no list is
complete, so the scheduler closes a method on repeated refusals of any wording. Does not promise: to read
other languages than English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from backends.dialects.error_words import (
    ACCOUNT_REFUSED,
    BAD_REQUEST,
    BUSY,
    CONTENT_REFUSED,
    CONTEXT_EXCEEDED,
    CONTEXT_EXCEEDED_CODES,
    GENERATION_FAILED,
    MODEL_UNKNOWN,
    PLAN_AND_BILLING,
    QUOTA_IDS_OF_A_DAY,
    QUOTA_OF_A_DAY,
    RATE_LIMITED,
    TIMED_OUT,
    TRANSIENT_4XX,
)
from backends.dialects.providers import Provider
from backends.dialects.responses import HttpResponse, json_value, mapping_or_empty, one_line
from harness.core.durations import pause_in_words, seconds_until
from harness.core.errors import (
    AccountRefused,
    CallError,
    ContentRefused,
    ContextExceeded,
    FinalCallError,
    Garbled,
    ModelUnknown,
    RateLimited,
    Rejected,
    TimedOut,
    TransientCallError,
    Unavailable,
)

ERROR_NAME = "error"  # of a field, of an object, of an event
# Fields that may quote the request: their words are the prompt's.
_QUOTED = frozenset(
    ("input", "messages", "prompt", "request", "failed_generation", "param", "user_id", "url")
)
_CODES = ("code", "type", "status", "status_code", "error_code", "error_type", "errcode")
_WORDS_MAX = 8000


def error_from_response(answer: HttpResponse, wall_s: float, row: Provider) -> CallError:
    """Returns the error that this answer, of any status, reports.

    wall_s   now, in seconds since 1970: a pause may be stated as a date"""
    try:
        body = json_value(answer.body)
    except ValueError:
        body = answer.start()
    return error_from_value(body, answer, wall_s, row)


def error_from_value(value: object, answer: HttpResponse, wall_s: float, row: Provider) -> CallError:
    """Returns the error that this JSON value means, which is a part of the answer or all of it."""
    body = _innermost_list_item(value)
    message = one_line(_message(body) or str(body)[:200])
    codes = [str(code) for code in _codes(body)]
    words = " ".join((*codes, *_strings(body))).lower()[:_WORDS_MAX]
    status = _stated_status(answer.status, codes)
    text = f"HTTP {answer.status}: {message}"
    request_id = answer.headers.get("x-request-id") or answer.headers.get("request-id")
    pause_s = _pause_s(body, answer.headers, message, wall_s)
    kind = _error_class(status, words, row, pause_s)
    if issubclass(kind, TransientCallError):
        return kind(text, status=answer.status, request_id=request_id, retry_after_s=pause_s)
    return kind(text, status=answer.status, request_id=request_id)


def stated_error(body: Mapping[str, object]) -> object | None:
    """Returns the error that a JSON object states outside of a dialect's own places; None if it states
    none."""
    if body.get("error"):
        return body
    if ERROR_NAME in (body.get("object"), body.get("type")):
        return body
    if inner := mapping_or_empty(body.get("x_groq")).get("error"):
        return {"error": inner}
    return None


def is_bare_error(body: Mapping[str, object]) -> bool:
    """Says whether an object without any field of a dialect is an error: it has a message, a detail or a
    code."""
    code = body.get("code", body.get("error_code"))
    return (
        any(isinstance(body.get(name), str) and body[name] for name in ("message", "error_msg", "msg"))
        or any(body.get(name) for name in ("detail", "errors"))
        or (isinstance(code, int) and code >= 400)
        or (isinstance(code, str) and bool(code))
    )


def _error_class(
    status: int, words: str, row: Provider, pause_s: float | None
) -> type[FinalCallError] | type[TransientCallError]:
    def contains(signs: tuple[str, ...]) -> bool:
        return any(sign in words for sign in signs)

    refusing = status < 500 and status not in (408, 409, 425, 429)
    if contains(CONTENT_REFUSED) or (status < 500 and contains(row.refused)):
        return ContentRefused
    if (CONTEXT_EXCEEDED_CODES if status in (401, 429) else CONTEXT_EXCEEDED).search(words):
        return ContextExceeded
    if contains(GENERATION_FAILED):
        return Garbled
    if status < 500 and _concerns_account(status, words, row, pause_s):
        return ModelUnknown if status in (401, 403) and MODEL_UNKNOWN.search(words) else AccountRefused
    if status == 404 or (refusing and MODEL_UNKNOWN.search(words)):
        return ModelUnknown
    if status == 413:  # even if it means too many tokens a minute: the next try is as long
        return Rejected
    if status in (402, 429) or contains(RATE_LIMITED):
        return RateLimited
    if status in (408, 504) or contains(TIMED_OUT):
        return TimedOut
    if status == 200 and contains(BAD_REQUEST):
        return Rejected
    if 200 <= status < 300 or status in TRANSIENT_4XX or status >= 500 or contains(BUSY):
        return Unavailable
    return Rejected


def _concerns_account(status: int, words: str, row: Provider, pause_s: float | None) -> bool:
    """Says whether the account is refused: no credit, a wrong key, a quota of a day without a stated
    pause."""
    if any(sign in words for sign in row.account):
        return True
    if status == 402 and pause_s is not None:  # OpenRouter: a budget for the calls in flight
        return False
    if status in (401, 402, 403, *row.account_statuses) or any(sign in words for sign in QUOTA_IDS_OF_A_DAY):
        return True
    if any(sign in words for sign in ACCOUNT_REFUSED):
        return True
    if PLAN_AND_BILLING in words and "resource_exhausted" not in words:
        return True
    return status in (400, 429) and pause_s is None and QUOTA_OF_A_DAY.search(words) is not None


def _pause_s(body: object, headers: Mapping[str, str], message: str, wall_s: float) -> float | None:
    """Returns the pause that the provider asks for; None if it asks for none.

    Sources, in this order: the header retry-after-ms, retry-after in seconds or as a date, LiteLLM's copies
    of its upstream's headers, Google's details[].retryDelay, x-ratelimit-reset (OpenRouter: a moment in
    milliseconds), the words of the message."""
    for prefix in ("", "llm_provider-"):
        for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            if (said := headers.get(prefix + name)) and (
                pause := seconds_until(said, wall_s, unit_s=unit_s)
            ) is not None:
                return pause
    error = mapping_or_empty(mapping_or_empty(body).get("error")) or mapping_or_empty(body)
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = mapping_or_empty(detail).get("retryDelay")
        if isinstance(delay, str):
            return seconds_until(delay, wall_s)
    if (pause := pause_in_words(message)) is not None:
        return pause
    quoted = mapping_or_empty(mapping_or_empty(error.get("metadata")).get("headers"))
    known = {**{name.lower(): str(value) for name, value in quoted.items()}, **_lower(headers)}
    if (said := known.get("x-ratelimit-reset")) and known.get("x-ratelimit-remaining", "0").strip() in (
        "0",
        "0.0",
    ):
        return seconds_until(said, wall_s)
    return None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _innermost_list_item(value: object) -> object:
    """Returns the first item of a list: Gemini's compatible endpoint wraps an error so."""
    return value[0] if isinstance(value, list) and value else value


def _message(body: object) -> str:
    """Returns the message of an error object, in any of the shapes that servers use."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    if isinstance(error, dict):
        return _message(error)
    if isinstance(error, str) and error and not isinstance(body.get("message"), str):
        return error
    for name in ("message", "detail", "details", "error_msg", "msg", "errors", "error_description"):
        if isinstance(found := body.get(name), str) and found:
            return found
        if found:
            return " ".join(_strings(found))
    return ""


def _codes(body: object, depth: int = 0) -> Iterator[str | int]:
    """Yields the codes, types and statuses of an error object and of those within it."""
    if not isinstance(body, dict) or depth > 3:
        return
    for name in _CODES:
        value = body.get(name)
        if isinstance(value, str | int) and value not in ("", ERROR_NAME) and not isinstance(value, bool):
            yield value
    for name in (ERROR_NAME, "innererror", "inner_error", "provider_specific_fields"):
        yield from _codes(body.get(name), depth + 1)


def _strings(value: object, depth: int = 0) -> Iterator[str]:
    """Yields the texts within an error object, but for what quotes the request."""
    if isinstance(value, str):
        yield value
    elif depth > 5:
        return
    elif isinstance(value, list):
        for item in value[:20]:
            yield from _strings(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _QUOTED:
                yield from _strings(item, depth + 1)


def _stated_status(status: int, codes: list[str]) -> int:
    """Returns the status that the error states if it comes under HTTP 200."""
    if not 200 <= status < 300:
        return status
    return next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), 200)
