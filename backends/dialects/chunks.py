"""The JSON objects of an answer, whole or streamed, whatever was asked for and whatever its content type
says. Pure.

A whole answer is a stream of one object. Each dialect reads the objects with one function, and `completed`
decides whether the reply that they contain is complete: a reply rests only on an end that is known to be
good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from backends.dialects import sse
from backends.dialects.error_responses import error_from_response, error_from_value
from backends.dialects.providers import Provider
from backends.dialects.responses import HttpResponse, json_value
from harness.core.errors import CallError, ContentRefused, Garbled, Unavailable, UnknownEnd
from harness.core.finish_reasons import finish_kind
from harness.core.vocabulary import Completion

# Fields that hold a reply's text in some format: text there, and not where the dialect has it, is no empty
# reply.
_TEXT_FIELDS = (
    "text",
    "content",
    "delta",
    "message",
    "output_text",
    "response",
    "completion",
    "generated_text",
    "output",
)
# Fields in which other formats have objects with text.
_ENVELOPES = ("choices", "candidates", "parts", "result", "results", "data", "outputs", "generations")
_LISTED_MAX = 4  # items of a list that are looked at
_DEPTH_MAX = 8  # an answer may be nested more deeply than our stack


class Chunks(NamedTuple):
    """The objects of one answer, in order.

    objects    a whole answer has one; Gemini's array of chunks has several
    times_s    when each was complete, in seconds after the request; empty for an answer that was not streamed
    done       the answer says that it is complete: it is one JSON text, or its stream ends with [DONE]
    broken     what ended the answer early, if anything did: a lost connection, a cut event"""

    objects: list[dict[str, object]]
    times_s: list[float]
    done: bool
    broken: CallError | None


def read_chunks(answer: HttpResponse, wall_s: float, row: Provider) -> Chunks:
    """Returns the objects of this answer.

    wall_s  now, in seconds since 1970: a pause may be stated as a date
    raises  the CallError that an answer of another status, or an error event, means; Garbled if there is
            nothing"""
    if not answer.succeeded:
        raise error_from_response(answer, wall_s, row)
    if answer.body[:1] != b"{" and sse.is_event_stream(answer):
        chunks = _of_stream(answer, wall_s, row)
        return chunks if answer.arrivals is not None else chunks._replace(times_s=[])
    value = answer.json()
    if type(value) is dict:
        return Chunks([value], [], True, None)
    objects = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if not objects:
        raise Garbled("the answer is JSON but not an object", status=answer.status)
    return Chunks(objects, [], True, None)


def _of_stream(answer: HttpResponse, wall_s: float, row: Provider) -> Chunks:
    objects: list[dict[str, object]] = []
    times_s: list[float] = []
    broken = answer.broken
    for name, data, at_s in sse.events(answer.body, answer.arrivals):
        if name == sse.ERROR:
            raise error_from_value(_error_event(data), answer, wall_s, row)
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            if data.strip() == sse.DONE_MARKER:
                return Chunks(objects, times_s, True, None)
            values = _lenient_values(data)
            if values is None:
                broken = broken or Garbled(
                    f"an event of the stream is not JSON but begins {data[:120].decode('utf-8', 'replace')!r}",
                    status=answer.status,
                )
                break
        else:
            if type(value) is dict:
                objects.append(value)
                times_s.append(at_s)
                continue
            values = value if isinstance(value, list) else [value]
        for item in values:
            if item == sse.DONE_MARKER:
                return Chunks(objects, times_s, True, None)
            if not isinstance(item, dict):
                broken = broken or Garbled(
                    "an event of the stream is JSON but not an object", status=answer.status
                )
                break
            objects.append(item)
            times_s.append(at_s)
    return Chunks(objects, times_s, False, broken)


def _lenient_values(data: bytes) -> list[object] | None:
    """Returns the values of an event that is not strict JSON; None if it is not JSON at all.

    Events that a server separates by one newline instead of a blank line arrive as lines of one event."""
    try:
        return [json_value(data)]
    except ValueError:
        pass
    values: list[object] = []
    for line in data.split(b"\n"):
        if line.strip() == sse.DONE_MARKER:
            values.append(sse.DONE_MARKER)
        elif line.strip():
            try:
                values.append(json_value(line))
            except ValueError:
                return None
    return values


def _error_event(data: bytes) -> object:
    try:
        return json_value(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def misplaced_text(body: Mapping[str, object], depth: int = 0) -> str | None:
    """Returns the name of a field that holds text in the format of another dialect; None if there is none."""
    for name in (*_TEXT_FIELDS, *_ENVELOPES):
        value = body.get(name)
        if isinstance(value, str) and value.strip() and name in _TEXT_FIELDS:
            return name
        for item in value[:_LISTED_MAX] if isinstance(value, list) else (value,):
            if isinstance(item, dict) and depth < _DEPTH_MAX and (inner := misplaced_text(item, depth + 1)):
                return f"{name}.{inner}"
    return None


def unknown_place(where: str, completion: Completion) -> UnknownEnd:
    """Returns the error for text that stands where the dialect has none."""
    return UnknownEnd(
        f"the answer has text in a place that this dialect does not know ({where}); check `dialect` and the server",
        status=completion.http_status,
        request_id=completion.request_id,
        completion=completion,
    )


def completed(completion: Completion, chunks: Chunks, good_ends: tuple[str, ...]) -> Completion:
    """Returns the completion if its end is known to be good.

    good_ends   finish reasons that the sweep declares good; "": the server states none
    raises      Garbled if the answer was cut or contains nothing; Unavailable or ContentRefused if its finish
                reason says that a failure or a filter ended it; UnknownEnd, with the completion, for any
                other end"""
    reason, status, request_id = completion.finish_reason, completion.http_status, completion.request_id
    if reason is None:
        if chunks.broken is not None:
            raise chunks.broken
        if not (completion.text or completion.reasoning):
            raise Garbled(
                "the answer contains neither a reply nor a finish reason",
                status=status,
                request_id=request_id,
            )
        if "" in good_ends:
            return completion
        if not chunks.done:
            raise Garbled(
                "the stream broke off before the reply was complete", status=status, request_id=request_id
            )
        raise UnknownEnd(
            "the answer states no finish reason, so the reply may be incomplete; if this server never states one, "
            'set good_ends = [""]',
            status=status,
            request_id=request_id,
            completion=completion,
        )
    kind = finish_kind(reason, good_ends)
    if kind == "good":
        return completion
    if kind == "filtered":
        raise ContentRefused(
            f"the provider's filter cut the reply (finish reason {reason})",
            status=status,
            request_id=request_id,
        )
    if kind == "failed":
        raise Unavailable(
            f"the provider broke off the reply (finish reason {reason})", status=status, request_id=request_id
        )
    raise UnknownEnd(
        f"the finish reason {reason!r} is not known, so the reply may be incomplete; if this server states "
        f'this reason for complete replies, set good_ends = ["{reason}"]',
        status=status,
        request_id=request_id,
        completion=completion,
    )
