"""Server-sent events: the bytes of an answer -> events, each with the time at which it was complete. Pure.

Nothing is parsed while an answer arrives: the pieces are kept with their times and are read once at the end.
Source: the HTML standard's section on server-sent events. Two things go beyond it: a line that is a JSON text
of its own or an `error:` field becomes an event, because servers write errors so into a stream that has
begun."""

from __future__ import annotations

import re
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from backends.dialects.responses import Arrivals, HttpResponse
from harness.core.vocabulary import Pace

CONTENT_TYPE = "text/event-stream"
DONE_MARKER = b"[DONE]"  # the last event of a stream in OpenAI's dialect
ERROR = "error"  # the name of an event that reports an error
_BOM = b"\xef\xbb\xbf"
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_FIELD = re.compile(rb"\s*(?:data|event|id|retry|error)?:", re.IGNORECASE)


class ServerSentEvent(NamedTuple):
    """One event. data: its lines, joined; at_s: when the last line arrived, in seconds after the request."""

    name: str
    data: bytes
    at_s: float


def is_event_stream(answer: HttpResponse) -> bool:
    """Says whether the body is a stream of events, whatever its content type is."""
    start = answer.body[:256].removeprefix(_BOM).lstrip()
    if start[:1] in (b"{", b"["):
        return False
    content_type = answer.headers.get("content-type", "").lower()
    return CONTENT_TYPE in content_type or _FIELD.match(start) is not None


def events(body: bytes, arrivals: Arrivals | None) -> Iterator[ServerSentEvent]:
    """Yields the events that have data, in order; the last one needs no blank line behind it."""
    data: list[bytes] = []
    name, offset, last = "", 0, 0
    if body.startswith(_BOM):
        offset, body = len(_BOM), body[len(_BOM) :]
    if b"\r" in body:
        body = _LONE_RETURN.sub(b"\n", body)
    ends, times_s = (arrivals.ends, arrivals.times_s) if arrivals and arrivals.ends else ((0,), (0.0,))

    def at_s(end: int) -> float:
        return times_s[min(bisect_left(ends, end), len(ends) - 1)]

    for line in body.split(b"\n"):
        offset += len(line) + 1
        if line.endswith(b"\r"):
            line = line[:-1]
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            last = offset
        elif not line:
            if data:
                joined = data[0] if len(data) == 1 else b"\n".join(data)
                if joined:
                    yield ServerSentEvent(name, joined, at_s(last))
                data = []
            elif name == ERROR:  # an error without a word is an error all the same
                yield ServerSentEvent(name, b"", at_s(offset))
            name = ""
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
        elif line[:1] in (b"{", b"["):
            yield ServerSentEvent(name, line, at_s(offset))
        elif line.startswith(b"error:"):
            yield ServerSentEvent(ERROR, line[6:].strip(), at_s(offset))
    if data and any(data):
        yield ServerSentEvent(name, b"\n".join(data), at_s(last))


def pace(times_s: Sequence[float]) -> Pace | None:
    """Returns when text arrived, summarised; None if none did. Events of one piece count as one arrival."""
    moments = sorted(set(times_s))
    if not moments:
        return None
    gaps = sorted(later - earlier for earlier, later in pairwise(moments))
    return Pace(
        ttft_s=moments[0],
        chunks=len(moments),
        gap_s_median=statistics.median(gaps) if gaps else None,
        gap_s_p95=gaps[-(-len(gaps) * 95 // 100) - 1] if gaps else None,
        gap_s_max=gaps[-1] if gaps else None,
        gaps_s=gaps,
    )
