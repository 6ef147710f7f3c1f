"""Maps the errors that servers report to CallErrors: status, code and words -> the class that says who must
act. Pure.

All dialects check in one order: content, length of the messages, account, model, rate, the rest. The words
are checked before the status, because providers and gateways use 200, 400, 429 and 500 for everything. The
lists hold the wordings of the providers' pages on errors and of public bug reports, in lower case; no list is
complete, so the scheduler closes a method on repeated refusals of any wording. Does not promise: to read
other languages than English and Chinese."""

from __future__ import annotations

import re
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
    NO_CREDIT,
    PLAN_AND_BILLING,
    QUOTA_IDS_OF_A_DAY,
    QUOTA_OF_A_DAY,
    RATE_LIMITED,
    THROTTLED,
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
BASE_RESP = "base_resp"  # MiniMax's: its status_code is 0 in good answers
# Fields that may quote the request: their words are the prompt's.
_QUOTED = frozenset(
    ("input", "messages", "prompt", "request", "failed_generation", "param", "user_id", "url")
)
_CODES = ("code", "type", "status", "status_code", "error_code", "error_type", "errcode")
_MESSAGES = (
    *("message", "detail", "details", "error_msg", "msg", "error_message", "status_msg", "errors"),
    "error_description",
)
# Field of an error body that states how long to wait -> the seconds in one unit of its value.
_PAUSES = {"retry_after_ms": 0.001, "retry_after": 1.0, "retry_after_seconds": 1.0, "retry_after_s": 1.0}
_RESETS = ("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-reset-after")
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
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
    body = _plain_names(_first_item(value))
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
    if (minimax := body.get(BASE_RESP)) and mapping_or_empty(minimax).get("status_code"):
        return {"error": minimax}
    return None


def is_bare_error(body: Mapping[str, object]) -> bool:
    """Says whether an object without any field of a dialect is an error: it has a message, a detail or a
    code, or an error in an envelope."""
    plain = _plain_names(body)
    assert isinstance(plain, dict)
    codes = [plain.get(name) for name in ("code", "error_code", "status_code")]
    return (
        any(isinstance(plain.get(name), str) and plain[name] for name in _MESSAGES)
        or any(plain.get(name) for name in ("detail", "errors"))
        or any(isinstance(code, int) and code >= 400 for code in codes)
        or any(isinstance(code, str) and code for code in codes)
        or bool(mapping_or_empty(plain.get("response")).get("error"))
    )


def _error_class(
    status: int, words: str, row: Provider, pause_s: float | None
) -> type[FinalCallError] | type[TransientCallError]:
    def contains(signs: tuple[str, ...]) -> bool:
        return any(sign in words for sign in signs)

    refusing = status < 500 and status not in (408, 409, 425, 429)
    throttled = THROTTLED.search(words) is not None
    if contains(CONTENT_REFUSED) or (status < 500 and contains(row.refused)):
        return ContentRefused
    if (CONTEXT_EXCEEDED_CODES if throttled or status in (401, 429) else CONTEXT_EXCEEDED).search(words):
        return ContextExceeded
    if contains(GENERATION_FAILED):
        return Garbled
    if status >= 500 and contains(NO_CREDIT):
        return AccountRefused
    if status < 500 and _concerns_account(status, words, row, pause_s, throttled=throttled):
        return ModelUnknown if status in (401, 403) and MODEL_UNKNOWN.search(words) else AccountRefused
    if status == 404 or (refusing and MODEL_UNKNOWN.search(words)):
        return ModelUnknown
    if status == 413:  # even if it means too many tokens a minute: the next try is as long
        return Rejected
    if status in (402, 429) or throttled or contains(RATE_LIMITED):
        return RateLimited
    if status in (408, 504) or contains(TIMED_OUT):
        return TimedOut
    if status == 200 and contains(BAD_REQUEST):
        return Rejected
    if 200 <= status < 300 or status in TRANSIENT_4XX or status >= 500 or contains(BUSY):
        return Unavailable
    return Rejected


def _concerns_account(
    status: int, words: str, row: Provider, pause_s: float | None, *, throttled: bool
) -> bool:
    """Says whether the account is refused: no credit, a wrong key, a quota of a day without a stated
    pause.

    throttled  the words say that the call came too fast: its status alone is then no refusal"""
    if any(sign in words for sign in row.account):
        return True
    if status == 402 and pause_s is not None:  # OpenRouter: a budget for the calls in flight
        return False
    if status in (401, 402, 403, *row.account_statuses) and not throttled:
        return True
    if any(sign in words for sign in QUOTA_IDS_OF_A_DAY):
        return True
    if any(sign in words for sign in ACCOUNT_REFUSED):
        return True
    if PLAN_AND_BILLING in words and "resource_exhausted" not in words:
        return True
    return pause_s is None and status in (200, 400, 403, 429) and QUOTA_OF_A_DAY.search(words) is not None


def _pause_s(body: object, headers: Mapping[str, str], message: str, wall_s: float) -> float | None:
    """Returns the pause that the provider asks for; None if it asks for none.

    Sources, in this order: the header retry-after-ms, retry-after in seconds or as a date, LiteLLM's copies
    of its upstream's headers, Google's details[].retryDelay, a field of the error, the words of the message,
    x-ratelimit-reset (OpenRouter: a moment in milliseconds) and its kin."""
    for prefix in ("", "llm_provider-"):
        for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            if (said := headers.get(prefix + name)) and (
                pause := seconds_until(said, wall_s, unit_s=unit_s)
            ) is not None:
                return pause
    error = mapping_or_empty(mapping_or_empty(body).get("error")) or mapping_or_empty(body)
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = mapping_or_empty(detail).get("retry_delay")
        if isinstance(delay, str):
            return seconds_until(delay, wall_s)
    metadata = mapping_or_empty(error.get("metadata"))
    for fields in (error, metadata):
        for name, unit_s in _PAUSES.items():
            stated = fields.get(name)
            if isinstance(stated, str | int | float) and not isinstance(stated, bool):
                return seconds_until(str(stated), wall_s, unit_s=unit_s)
    if (pause := pause_in_words(message, wall_s)) is not None:
        return pause
    quoted = mapping_or_empty(metadata.get("headers"))
    known = {
        **{name.lower().replace("_", "-"): str(value) for name, value in quoted.items()},
        **_lower(headers),
    }
    remaining = known.get("x-ratelimit-remaining", known.get("ratelimit-remaining", "0")).strip()
    said = next((known[name] for name in _RESETS if known.get(name)), None)
    return seconds_until(said, wall_s) if said and remaining in ("0", "0.0") else None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _first_item(value: object) -> object:
    """Returns the first item of a list: Gemini's compatible endpoint wraps an error so."""
    return value[0] if isinstance(value, list) and value else value


def _plain_names(value: object, depth: int = 0) -> object:
    """Returns the value with the names of its objects in snake_case: errorCode and Error get names that are
    known."""
    if isinstance(value, dict) and depth < 6:
        return {
            _CAPITAL.sub("_", name).lower(): _plain_names(item, depth + 1) for name, item in value.items()
        }
    return (
        [_plain_names(item, depth + 1) for item in value] if isinstance(value, list) and depth < 6 else value
    )


def _message(body: object) -> str:
    """Returns the message of an error object, in any of the shapes that servers use."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    error = body.get("error") or mapping_or_empty(body.get("response")).get("error")
    if isinstance(error, dict):
        return _message(error)
    if isinstance(error, str) and error and not isinstance(body.get("message"), str):
        return error
    for name in _MESSAGES:
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
    for name in (ERROR_NAME, "innererror", "inner_error", "provider_specific_fields", "response"):
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
