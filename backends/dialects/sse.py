"""Server-sent events: the pieces of an answer as they came off the wire -> events, each with the time it was whole. Pure.

Nothing is parsed while an answer comes: pieces are kept with their times, and read once at the end. Source: the HTML standard's
section on server-sent events, without its lone carriage returns, which no provider ends lines with."""

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
ENDED = b"[DONE]"  # what OpenAI's dialect says last


class ServerSentEvent(NamedTuple):
    """data: its lines joined; at_s: when the last of them had come, in seconds after the request was sent. One for every token."""

    name: str
    data: bytes
    at_s: float

    def json(self) -> dict[str, object]:
        """The data as a JSON object.

        raises  Garbled if it is none: what was cut, or is no stream of this kind"""
        try:
            body = orjson.loads(self.data)
        except orjson.JSONDecodeError:
            body = HttpResponse(status=200, headers={}, body=self.data).json()
        if not isinstance(body, dict):
            raise Garbled("an event of the stream is JSON but no object", status=200)
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStream:
    """An answer of status 200 that came in pieces.

    answer   its headers, and all pieces joined
    ends     where in the body each piece ends
    came_s   when each piece came, in seconds after the request was sent"""

    answer: HttpResponse
    ends: Sequence[int]
    came_s: Sequence[float]

    def events(self) -> Iterator[ServerSentEvent]:
        """Those with data, in order; one that its blank line does not end counts too."""
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
                        name, data[0] if len(data) == 1 else b"\n".join(data), self._came_s(last)
                    )
                    data = []
                name = ""
            elif line.startswith(b"event:"):
                name = line[6:].strip().decode("utf-8", "replace")
        if data:
            yield ServerSentEvent(name, b"\n".join(data), self._came_s(last))

    def _came_s(self, end: int) -> float:
        return self.came_s[min(bisect_left(self.ends, end), len(self.ends) - 1)]


def pace(times_s: Sequence[float]) -> Pace | None:
    """The summary of when text came; times of events from one piece are one time. None: no text came."""
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
