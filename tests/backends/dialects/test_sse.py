"""Events from the bytes of a body, and the summary of their times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.responses import HttpResponse
from backends.dialects.sse import EventStream, ServerSentEvent, pace
from harness.core.errors import Garbled

BODY = b': a comment\r\nevent: greeting\r\ndata: one\r\ndata:two\r\n\r\nid: 7\n\ndata: {"last": 1}\n'


def streamed(body: bytes, cuts: list[int]) -> EventStream:
    ends = sorted({cut for cut in cuts if 0 < cut < len(body)} | {len(body)})
    return EventStream(
        answer=HttpResponse(status=200, headers={}, body=body),
        ends=ends,
        arrival_s=[float(end) for end in ends],
    )


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=20))
def test_events_do_not_depend_on_where_the_body_was_cut(cuts: list[int]) -> None:
    """Comments and ids are skipped, lines of data are joined, and an event arrives with its last line of
    data."""
    one, two = streamed(BODY, cuts).events()
    assert (one.name, one.data, two.name, two.data) == ("greeting", b"one\ntwo", "", b'{"last": 1}')
    assert two.at_s == len(BODY)
    last_line_s = BODY.index(b"data:two") + len(b"data:two\r\n")
    assert last_line_s <= one.at_s <= len(BODY)
    assert not any(last_line_s <= cut < one.at_s for cut in cuts)


def test_data_that_is_no_object_is_garbled() -> None:
    """An event that a lost connection cut, or a list."""
    with pytest.raises(Garbled):
        ServerSentEvent(name="", data=b'{"choi', at_s=0.0).json()
    with pytest.raises(Garbled):
        ServerSentEvent(name="", data=b"[1]", at_s=0.0).json()


def test_the_pace_of_a_reply() -> None:
    """Two events of one piece count as one arrival; gaps need two arrivals."""
    told = pace([0.5, 0.5, 0.75, 1.75])
    assert told is not None
    assert (told.ttft_s, told.chunks, told.gap_s_median, told.gap_s_p95, told.gap_s_max) == (
        0.5,
        3,
        0.625,
        1.0,
        1.0,
    )
    alone = pace([0.5])
    assert alone is not None
    assert (alone.chunks, alone.gap_s_max) == (1, None)
    assert pace([]) is None
