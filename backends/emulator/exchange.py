"""One HTTP exchange with the emulator as values: request, response, request to the server behind, error
answers, faults. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backends.emulator.formats import WireFormat
from harness.core.emulation import Fault

HTML = b"<!DOCTYPE html><html><body><h1>Service temporarily unavailable</h1></body></html>"
ERROR_FAULTS = ("429", "500", "503")  # faults that replace the answer; the others spoil a good one


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case."""

    verb: bytes
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Response:
    """One HTTP answer and how it is sent.

    pieces    of the body: one, or the events of a stream, one piece for each token
    headers   further header lines, each with its line end
    first_s   seconds before anything is sent
    gap_s     seconds between two pieces
    cut_at    the connection is reset after so many bytes of the body; -1: before the headers; None: never
    works     it occupies a worker"""

    status: int
    pieces: tuple[bytes, ...]
    headers: str = ""
    content_type: str = "application/json"
    first_s: float = 0.0
    gap_s: float = 0.0
    cut_at: int | None = None
    works: bool = False
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """A request that the real server behind answers.

    headers   sent with it
    finish    (status, body, now_s) of its answer -> our answer"""

    body: bytes
    headers: Mapping[str, str]
    finish: Callable[[int, bytes, float], Response]


def error_response(wire: WireFormat, status: int, code: str, message: str, headers: str = "") -> Response:
    """Returns an error in this format."""
    return Response(status, (wire.error(status, code, message),), headers)


def quota_refusal(wire: WireFormat, kind: str, wait_s: float, *, headers: str) -> Response:
    """Returns the 429 of a request that exceeds a quota, which would be admitted after wait_s."""
    message = f"Rate limit reached for {kind}. Please try again in {wait_s:.3f}s."
    return error_response(wire, 429, "rate_limit_exceeded", message, headers + _retry_after(wait_s))


def error_fault(wire: WireFormat, status: int, retry_after_s: float | None, headers: str) -> Response:
    """Returns an error that nothing in the request explains."""
    pause = _retry_after(retry_after_s) if retry_after_s is not None and status != 500 else ""
    code, message = {
        429: ("rate_limit_exceeded", "Rate limit reached for no reason that you could know."),
        500: ("internal_error", "The server had an error while processing your request."),
        503: ("overloaded", "The engine is currently overloaded, please try again later."),
    }[status]
    return error_response(wire, status, code, message, headers + pause)


def _retry_after(wait_s: float) -> str:
    return f"retry-after: {int(wait_s + 0.999)}\r\nretry-after-ms: {int(wait_s * 1000 + 0.999)}\r\n"


def spoil_response(
    response: Response, fault: Fault, place: float, wire: WireFormat, *, stall_s: float
) -> None:
    """Applies a fault to a good answer.

    place    in [0, 1): where in the body it happens
    stall_s  seconds without a byte of a stalled answer"""
    size = sum(map(len, response.pieces))
    if fault == "reset_before_headers":
        response.cut_at = -1
    elif fault == "reset_in_body":
        response.cut_at = 1 + int(place * (size - 1))
    elif fault == "stall":
        response.first_s += stall_s
    elif fault == "truncated_json":
        whole = b"".join(response.pieces)
        response.pieces = (whole[: 1 + int(place * (size - 2))],)
    elif fault == "html":
        response.pieces, response.content_type = (HTML,), "text/html"
    elif fault == "error_in_200":
        error = wire.error(503, "overloaded", "Upstream error, please try again.")
        response.pieces = (b"data: " + error + b"\n\n" if response.stream else error,)
    elif fault == "wrong_usage":
        response.pieces = tuple(
            piece.replace(b'_tokens":', b'_tokens":-').replace(b'TokenCount":', b'TokenCount":-')
            for piece in response.pieces
        )
