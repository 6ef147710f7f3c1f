"""Server-sent events: the pieces of an answer -> events, each with the time at which it was complete. Pure.

Nothing is parsed while an answer arrives: pieces are kept with their times and are read once at the end.
Source: the HTML standard's section on server-sent events, without lone carriage returns as line ends."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import orjson

from backends.dialects.responses import HttpResponse
from harness.core.errors import Garbled
from harness.core.vocabulary import Pace

CONTENT_TYPE = "text/event-stream"
DONE_MARKER = b"[DONE]"  # the last event of a stream in OpenAI's dialect


class ServerSentEvent(NamedTuple):
    """One event. data: its lines, joined; at_s: when the last line arrived, in seconds after the request."""

    name: str
    data: bytes
    at_s: float

    def json(self) -> dict[str, object]:
        """Returns the data as a JSON object.

        raises  Garbled if it is not one: the stream was cut or has another format"""
        try:
            body = orjson.loads(self.data)
        except orjson.JSONDecodeError:
            body = HttpResponse(status=200, headers={}, body=self.data).json()
        if not isinstance(body, dict):
            raise Garbled("an event of the stream is JSON but no object", status=200)
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStream:
    """An answer of status 200 that arrived in pieces.

    answer     its headers, and all pieces joined
    ends       where in the body each piece ends
    arrival_s  when each piece arrived, in seconds after the request was sent"""

    answer: HttpResponse
    ends: Sequence[int]
    arrival_s: Sequence[float]

    def events(self) -> Iterator[ServerSentEvent]:
        """Yields the events that have data, in order; the last one needs no blank line behind it."""
        data: list[bytes] = []
        name, offset, last = "", 0, 0
        for line in self.answer.body.split(b"\n"):
            offset += len(line) + 1
            if line.endswith(b"\r"):
                line = line[:-1]
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b"data: ") else line[5:])
                last = offset
            elif not line:
                if data:
                    yield ServerSentEvent(
                        name, data[0] if len(data) == 1 else b"\n".join(data), self._arrival_s(last)
                    )
                    data = []
                name = ""
            elif line.startswith(b"event:"):
                name = line[6:].strip().decode("utf-8", "replace")
        if data:
            yield ServerSentEvent(name, b"\n".join(data), self._arrival_s(last))

    def _arrival_s(self, end: int) -> float:
        return self.arrival_s[min(bisect_left(self.ends, end), len(self.ends) - 1)]


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
    )
