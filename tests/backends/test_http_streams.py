"""Streamed replies: their pace, their thoughts, their end."""

from __future__ import annotations

import anyio
import pytest
from aiohttp import web

from backends.connections import ANSWER_BYTES_MAX
from backends.deadlines import Deadlines
from harness.core.errors import (
    Garbled,
    TimedOut,
)
from harness.core.vocabulary import Completion
from tests.backends.http_servers import (
    PROMPT,
    STREAM_EVENTS,
    backend,
    good,
    serving,
    streamed,
    streaming,
)


def test_a_streamed_reply_has_its_pace() -> None:
    """Text, usage of the last event, limits and arrival times are read; the empty first delta does not count
    as text."""
    met = streamed(streaming(STREAM_EVENTS, 0.05))
    assert isinstance(met, Completion)
    assert (met.text, met.finish_reason, met.prompt_tokens, met.completion_tokens) == ("hello", "stop", 5, 2)
    assert met.headers == {"x-ratelimit-remaining-requests": "7"}
    assert met.pace is not None
    assert met.pace.chunks == 2
    assert met.pace.ttft_s >= 0.1
    assert met.pace.gap_s_max == met.pace.gap_s_median == met.pace.gap_s_p95
    assert met.pace.gap_s_max is not None
    assert met.pace.gap_s_max >= 0.03


@pytest.mark.parametrize(
    ("said", "text", "thoughts"),
    [
        ("<think>Hm.</think>\n\nYes. ", "Yes. ", "Hm."),
        ("Hm.</think>Yes.", "Yes.", "Hm."),
        ("\n<think>Hm, and", "", "Hm, and"),
        ("Yes.", "Yes.", None),
    ],
)
def test_thoughts_before_the_reply_are_split_off(said: str, text: str, thoughts: str | None) -> None:
    """With thinks_aloud, text up to </think> is reasoning, and a reply cut within it is empty; without, it
    stays."""

    async def think(request: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})

    async def scenario(aloud: bool) -> Completion:
        async with serving(think) as url, backend(url, thinks_aloud=aloud) as through:
            return await through.complete(PROMPT)

    apart, as_it_is = anyio.run(scenario, True), anyio.run(scenario, False)
    assert (apart.text, apart.reasoning) == (text, thoughts)
    assert (as_it_is.text, as_it_is.reasoning) == (said, None)


def test_events_may_be_cut_anywhere() -> None:
    """A stream that arrives in pieces of seven bytes is read as the same reply."""
    whole = b"".join(STREAM_EVENTS).replace(b"\n", b"\r\n")
    met = streamed(streaming([whole[start : start + 7] for start in range(0, len(whole), 7)]))
    assert isinstance(met, Completion)
    assert (met.text, met.completion_tokens) == ("hello", 2)


def test_a_whole_answer_to_a_stream_request_is_read() -> None:
    """It is a reply without a pace."""
    met = streamed(good)
    assert isinstance(met, Completion)
    assert (met.text, met.pace) == ("hello", None)


def test_the_head_of_a_stream_is_not_its_first_byte() -> None:
    """Servers send the head at once, long before the first token."""
    error = streamed(streaming([], hang=True), deadlines=Deadlines(first_byte_s=0.2))
    assert type(error) is TimedOut
    assert "first_byte_s = 0.2" in str(error)


def test_a_stream_with_done_is_complete_however_it_ends() -> None:
    """A server may keep the connection open after [DONE], or close it within HTTP's own framing."""
    left_open = streamed(streaming(STREAM_EVENTS, hang=True), deadlines=Deadlines(between_chunks_s=0.2))
    assert isinstance(left_open, Completion)

    async def hang_up(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(STREAM_EVENTS))
        assert request.transport is not None
        request.transport.close()
        return response

    hung_up = streamed(hang_up)
    assert isinstance(hung_up, Completion)
    assert left_open.text == hung_up.text == "hello"


def test_a_stream_is_bounded_too() -> None:
    """A stream that exceeds reply_bytes_max is Garbled."""
    error = streamed(streaming([b": " + b" " * 2**20 + b"\n\n"] * (ANSWER_BYTES_MAX // 2**20 + 1)))
    assert type(error) is Garbled
    assert "reply_bytes_max" in str(error)


def test_a_stream_that_ends_early_is_garbled() -> None:
    """A stream without a finish_reason or [DONE] may be incomplete."""
    for pieces in (STREAM_EVENTS[:2], [b"data: {"], []):
        assert type(streamed(streaming(pieces))) is Garbled
