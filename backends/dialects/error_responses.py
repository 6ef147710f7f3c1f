"""Maps an error response to a CallError: status, code and message -> the class that says who must act. Pure.

All dialects check in one order: content, length of the messages, account, model, rate, the rest."""

from __future__ import annotations

from collections.abc import Mapping

from backends.dialects.providers import Provider
from backends.dialects.responses import HttpResponse
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

_TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context size",
    "prompt is too long",
    "string_above_max_length",
    "too many tokens",
    "exceed_context_size",
    "context length of the model",
    "input token count",
)
_TOO_FAST = ("rate_limit_exceeded", "rate_limit_error", "resource_exhausted")
_NO_MODEL = ("model_not_found", "not_found_error", "server is pinned to")
_TIME_IS_UP = ("timeout_error", "deadline_exceeded")


def error_from_response(answer: HttpResponse, wall_s: float, row: Provider) -> CallError:
    """Returns the error in this answer, of any status.

    wall_s   now, in seconds since 1970: a Retry-After may be a date"""
    error, message = _error_object(answer)
    codes = [
        str(error[name]) for name in ("code", "type", "status") if error.get(name) not in (None, "", "error")
    ]
    details = str(error.get("metadata") or error.get("details") or error.get("innererror") or "")
    words = " ".join((*codes, message, details)).lower()
    status = _status(answer.status, codes)
    text = f"HTTP {answer.status}: {message}"
    pause_s = answer.retry_after_s(wall_s)
    if pause_s is None:
        pause_s = _retry_delay_s(error)

    def contains(signs: tuple[str, ...]) -> bool:
        return any(sign in words for sign in signs)

    def final(kind: type[FinalCallError]) -> CallError:
        return kind(text, status=answer.status, request_id=_request_id(answer))

    def transient(kind: type[TransientCallError]) -> CallError:
        return kind(text, status=answer.status, request_id=_request_id(answer), retry_after_s=pause_s)

    if status < 500 and contains(row.refused):
        return final(ContentRefused)
    if status not in (401, 429) and status < 500 and contains(_TOO_LONG):
        return final(ContextExceeded)
    if (
        status == 402 and pause_s is not None and not contains(row.account)
    ):  # a budget for the calls in flight
        return transient(RateLimited)
    if contains(row.account) or status in (401, 402, 403, *row.account_statuses):
        return final(AccountRefused)
    if status == 404 or contains(_NO_MODEL):
        return final(ModelUnknown)
    if status == 413:  # even if it means too many tokens a minute: the next try is as long
        return final(Rejected)
    if status == 429 or contains(_TOO_FAST):
        return transient(RateLimited)
    if status in (408, 504) or contains(_TIME_IS_UP):
        return transient(TimedOut)
    if status in (200, 409, 425, 498) or status >= 500:  # 498: Groq is full
        return transient(Unavailable)
    return final(Rejected)


def _error_object(answer: HttpResponse) -> tuple[Mapping[str, object], str]:
    """Returns the error object and its message, in any of the shapes that servers use."""
    try:
        body = answer.json()
    except Garbled:
        return {}, start(answer)
    if isinstance(body, list) and body:  # Gemini's compatible endpoint wraps it so
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or start(answer)
        whole = {
            **{name: body[name] for name in ("code", "type") if isinstance(body, dict) and name in body},
            **error,
        }
        return whole, one_line(str(message))
    return {"code": body.get("code")} if isinstance(body, dict) else {}, one_line(str(error))


def _status(status: int, codes: list[str]) -> int:
    """Returns the status that the error states if it comes under HTTP 200."""
    if status != 200:
        return status
    return next((int(code) for code in codes if code.isdigit() and 400 <= int(code) < 600), status)


def _retry_delay_s(error: Mapping[str, object]) -> float | None:
    """Returns the pause that Google states in the body: details[].retryDelay = "34s"."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                return None
    return None


def _request_id(answer: HttpResponse) -> str | None:
    return answer.headers.get("x-request-id") or answer.headers.get("request-id")


def one_line(text: str) -> str:
    """Returns the text on one line and without control characters, so that a message can quote it safely."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in text[:2000]).split())


def start(answer: HttpResponse) -> str:
    """Returns the beginning of the body, for messages."""
    return one_line(answer.body[:200].decode("utf-8", "replace")) or "(empty body)"
