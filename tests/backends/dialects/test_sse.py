"""Events from the bytes of a body, and the summary of their times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.openai_chat import read_answer
from backends.dialects.responses import Arrivals, HttpResponse
from backends.dialects.sse import ServerSentEvent, events, pace
from harness.core.errors import Garbled

BODY = b': a comment\r\nevent: greeting\r\ndata: one\r\ndata:two\r\n\r\nid: 7\n\ndata: {"last": 1}\n'


def events_of(body: bytes, cuts: list[int]) -> list[ServerSentEvent]:
    ends = sorted({cut for cut in cuts if 0 < cut < len(body)} | {len(body)})
    return list(events(body, Arrivals(ends, [float(end) for end in ends])))


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=20))
def test_events_do_not_depend_on_where_the_body_was_cut(cuts: list[int]) -> None:
    """Comments and ids are skipped, lines of data are joined, and an event arrives with its last line of
    data."""
    one, two = events_of(BODY, cuts)
    assert (one.name, one.data, two.name, two.data) == ("greeting", b"one\ntwo", "", b'{"last": 1}')
    assert two.at_s == len(BODY)
    last_line_s = BODY.index(b"data:two") + len(b"data:two\r\n")
    assert last_line_s <= one.at_s <= len(BODY)
    assert not any(last_line_s <= cut < one.at_s for cut in cuts)


def test_data_that_is_no_object_is_garbled() -> None:
    """An event that a lost connection cut, or a list."""
    for data in (b'{"choi', b"[1]", b'"text"', b"7"):
        with pytest.raises(Garbled):
            read_answer(HttpResponse(200, {}, b"data: " + data + b"\n\n"), 0.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\xef\xbb\xbfdata: 1\n\n", [("", b"1")]),
        (b"data: 1\r\rdata: 2\r\r", [("", b"1"), ("", b"2")]),
        (b"data: 1\r\n\r\ndata:2\r\n\r\n", [("", b"1"), ("", b"2")]),
        (b"data:\n\ndata: 1\n\n", [("", b"1")]),
        (b"data:  1 \n\n", [("", b" 1 ")]),
        (b"\n\n: comment\nid: 7\nretry: 3\nunknown: x\ndata: 1\n\n", [("", b"1")]),
        (b"event: error\n\ndata: 1\n\n", [("error", b""), ("", b"1")]),
        (b'data: 1\n\n{"error": "x"}\n', [("", b"1"), ("", b'{"error": "x"}')]),
        (b"error: gone\ndata: 1", [("error", b"gone"), ("", b"1")]),
    ],
)
def test_events_are_read_as_the_standard_says(body: bytes, expected: list[tuple[str, bytes]]) -> None:
    """A BOM, any line end, empty data, one space, comments; and errors that servers write into a stream."""
    assert [(event.name, event.data) for event in events(body, None)] == expected


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
    assert told.gaps_s == [0.25, 1.0]
    alone = pace([0.5])
    assert alone is not None
    assert (alone.chunks, alone.gap_s_max) == (1, None)
    assert pace([]) is None
