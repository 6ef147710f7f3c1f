"""Changed good answers of every dialect: no incomplete answer becomes a reply, and no reply is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects import DIALECTS
from backends.dialects.providers import PROVIDERS
from backends.dialects.responses import Arrivals, HttpResponse
from harness.core.errors import (
    CallError,
    ContentRefused,
    Garbled,
    TransientCallError,
    Unavailable,
    UnknownEnd,
)
from harness.core.vocabulary import Completion

TEXT = "CLUE: a bright thing"
PIECES = ("CLUE: a ", "bright ", "thing")
ERRORS: tuple[Any, ...] = (
    {"error": {"message": "upstream failed", "code": 502}},
    {"error": "upstream failed"},
    {"object": "error", "message": "engine died", "type": "InternalServerError", "code": 500},
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"message": "Internal server error"},
    {"detail": "Internal Server Error"},
    [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}],
)
OpenAIChunk = dict[str, Any]


def openai(**choice: Any) -> dict[str, Any]:
    return {"id": "r", "model": "m", "choices": [{"index": 0, **choice}]}


def gemini(text: str | None, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    if text is not None:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 11}, "modelVersion": "m"}


USAGE = {"prompt_tokens": 11, "completion_tokens": 5}
# dialect -> the whole answer, the objects of its stream, where the finish reason is in each
WHOLE: dict[str, dict[str, Any]] = {
    "openai_chat": {
        **openai(message={"role": "assistant", "content": TEXT}, finish_reason="stop"),
        "usage": USAGE,
    },
    "completions": {**openai(text=TEXT, finish_reason="stop"), "usage": USAGE},
    "anthropic_messages": {
        "id": "r",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 5},
    },
    "gemini": gemini(TEXT, "STOP"),
}
STREAMS: dict[str, list[dict[str, Any]]] = {
    "openai_chat": [
        openai(delta={"role": "assistant", "content": ""}, finish_reason=None),
        *(openai(delta={"content": piece}, finish_reason=None) for piece in PIECES),
        openai(delta={}, finish_reason="stop"),
        {"id": "r", "model": "m", "choices": [], "usage": USAGE},
    ],
    "completions": [
        *(openai(text=piece, finish_reason=None) for piece in PIECES),
        openai(text="", finish_reason="stop"),
        {"id": "r", "model": "m", "choices": [], "usage": USAGE},
    ],
    "anthropic_messages": [
        {
            "type": "message_start",
            "message": {
                "id": "r",
                "type": "message",
                "model": "m",
                "content": [],
                "usage": {"input_tokens": 11},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in PIECES
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ],
    "gemini": [*(gemini(piece) for piece in PIECES[:-1]), gemini(PIECES[-1], "STOP")],
}
FINISH = ("finish_reason", "stop_reason", "finishReason")
# Fields without which a reply is as complete as with them.
HARMLESS = {"id", "model", "usage", "usageMetadata", "modelVersion", "role"}
dialects = st.sampled_from(sorted(WHOLE))


def has_done(dialect: str) -> bool:
    return dialect in ("openai_chat", "completions")


def event(value: Any) -> bytes:
    name = f"event: {value['type']}\n" if isinstance(value, dict) and "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n".encode()


def stream_of(dialect: str, objects: list[Any], *, done: bool = True) -> bytes:
    return b"".join(map(event, objects)) + (b"data: [DONE]\n\n" if done and has_done(dialect) else b"")


def read(dialect: str, body: bytes, *, broken: bool = False) -> Completion | CallError:
    row = PROVIDERS["gemini" if dialect == "gemini" else "openai-compatible"]
    error = Garbled("the connection was lost") if broken else None
    answer = HttpResponse(200, {}, body, Arrivals([len(body)], [0.1]), error)
    try:
        return DIALECTS[dialect].read_answer(answer, 0.0, row, ())
    except CallError as failure:
        return failure


def finish_index(dialect: str) -> int:
    """The number of the event with the finish reason."""
    return next(
        number
        for number, value in enumerate(STREAMS[dialect])
        if any(f'"{name}": "' in json.dumps(value) for name in FINISH)
    )


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields of all objects in this value."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*path, name)
            yield from fields(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from fields(item, (*path, number))


def changed(value: Any, path: tuple[Any, ...], new: Any, *, drop: bool = False) -> Any:
    copy = deepcopy(value)
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return copy


@pytest.mark.parametrize("dialect", sorted(WHOLE))
def test_the_unchanged_answers_are_replies(dialect: str) -> None:
    """The answers that the other tests change are good: whole, streamed, and streamed without [DONE]."""
    for body in (
        json.dumps(WHOLE[dialect]).encode(),
        stream_of(dialect, STREAMS[dialect]),
        stream_of(dialect, STREAMS[dialect], done=False),
    ):
        result = read(dialect, body)
        assert isinstance(result, Completion), result
        assert result.text == TEXT


@given(dialect=dialects, stream=st.booleans(), broken=st.booleans(), share=st.floats(0, 1))
def test_a_cut_answer_is_a_reply_only_if_all_of_it_arrived(
    dialect: str, stream: bool, broken: bool, share: float
) -> None:
    """Cut at any byte, with the connection lost or ended in order: the reply is whole, or it is an error that
    is worth another try. Cut behind the finish reason, the reply is not lost."""
    body = stream_of(dialect, STREAMS[dialect]) if stream else json.dumps(WHOLE[dialect]).encode()
    cut = round(share * len(body))
    result = read(dialect, body[:cut], broken=broken)
    if isinstance(result, Completion):
        assert result.text == TEXT
    else:
        assert isinstance(result, TransientCallError)
        complete = (
            len(stream_of(dialect, STREAMS[dialect][: finish_index(dialect) + 1], done=False))
            if stream
            else len(body)
        )
        assert cut < complete


@given(
    dialect=dialects,
    stream=st.booleans(),
    word=st.text(st.characters(codec="ascii", categories=["L"]), min_size=1),
)
def test_an_end_that_nobody_knows_makes_no_reply(dialect: str, stream: bool, word: str) -> None:
    """The text is kept beside the error; a word of a failure or of a filter is what it says."""
    unknown = f"zzq{word}"
    for end, expected in ((unknown, UnknownEnd), ("abort", Unavailable), ("SAFETY", ContentRefused)):
        value: Any = STREAMS[dialect] if stream else WHOLE[dialect]
        for path in fields(value):
            if path[-1] in FINISH and deepest(value, path) is not None:
                value = changed(value, path, end)
        body = stream_of(dialect, value) if stream else json.dumps(value).encode()
        result = read(dialect, body)
        if end != unknown:
            assert type(result) is expected
        elif isinstance(result, UnknownEnd):
            assert result.completion.text == TEXT
            assert unknown in str(result)
        else:  # the letters happen to contain a word of a failure or of a filter
            assert isinstance(result, Unavailable | ContentRefused)


def deepest(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@given(dialect=dialects, stream=st.booleans(), data=st.data())
def test_a_missing_end_makes_no_reply(dialect: str, stream: bool, data: st.DataObject) -> None:
    """The finish reason left out, null or empty."""
    value: Any = STREAMS[dialect] if stream else WHOLE[dialect]
    new = data.draw(st.sampled_from([None, "", "null"]))
    for path in list(fields(value)):
        if path[-1] in FINISH:
            value = changed(value, path, new)
    result = read(dialect, stream_of(dialect, value) if stream else json.dumps(value).encode())
    assert isinstance(result, UnknownEnd | TransientCallError)
    if isinstance(result, UnknownEnd):
        assert result.completion.text == TEXT


@given(dialect=dialects, error=st.sampled_from(ERRORS), data=st.data())
def test_an_error_anywhere_is_no_reply(dialect: str, error: Any, data: st.DataObject) -> None:
    """The error stands in an event, named or not, in a bare line, or in a field of an event or of the
    answer."""
    objects = STREAMS[dialect]
    place = data.draw(st.integers(0, len(objects)))
    head, tail = stream_of(dialect, objects[:place], done=False), stream_of(dialect, objects[place:])
    text = json.dumps(error).encode()
    form = data.draw(st.sampled_from([b"data: %s\n\n", b"event: error\ndata: %s\n\n", b"%s\n\n"]))
    assert isinstance(read(dialect, head + form % text + tail), CallError)
    if isinstance(error, dict) and "error" in error:
        number = data.draw(st.integers(0, len(objects) - 1))
        joined = [
            {**value, **({"error": error["error"]} if at == number else {})}
            for at, value in enumerate(objects)
        ]
        if dialect != "anthropic_messages":  # its events have one meaning each
            assert isinstance(read(dialect, stream_of(dialect, joined)), CallError)
            assert isinstance(
                read(dialect, json.dumps({**WHOLE[dialect], "error": error["error"]}).encode()), CallError
            )


@given(dialect=dialects, stream=st.booleans(), data=st.data())
def test_a_changed_field_loses_no_reply_and_makes_none(
    dialect: str, stream: bool, data: st.DataObject
) -> None:
    """A field dropped, nulled or of another type: the text is the provider's, or a part of it that was left
    out in the open; a text of another type is an error; fields that say nothing of the reply may be
    anything."""
    value: Any = STREAMS[dialect] if stream else WHOLE[dialect]
    path = data.draw(st.sampled_from(list(fields(value))))
    drop = data.draw(st.booleans())
    new: Any = data.draw(st.sampled_from([None, 7, 1.5, True, [], {}, "x", [{"text": 7}]]))
    mutated = changed(value, path, new, drop=drop)
    result = read(dialect, stream_of(dialect, mutated) if stream else json.dumps(mutated).encode())
    if path[-1] in HARMLESS or (path[-1] == "index" and (drop or type(new) is not int)):
        assert isinstance(result, Completion), result
        assert result.text == TEXT
    elif isinstance(result, Completion) and result.text != TEXT:
        written = new if isinstance(new, str) and not drop else ""
        assert set(result.text) <= set(TEXT) | set(written)
        assert drop or new is None or isinstance(new, str | list | dict)


@given(
    dialect=dialects,
    noise=st.lists(
        st.sampled_from(
            [b": comment\n\n", b"event: ping\n\n", b"id: 7\n", b"retry: 9\n\n", b"data:\n\n", b"\n"]
        ),
        max_size=6,
    ),
    data=st.data(),
)
def test_what_says_nothing_changes_nothing(dialect: str, noise: list[bytes], data: st.DataObject) -> None:
    """Comments, pings, ids and empty data between events, and any line end."""
    events = [event(value) for value in STREAMS[dialect]] + (
        [b"data: [DONE]\n\n"] if has_done(dialect) else []
    )
    for line in noise:
        events.insert(data.draw(st.integers(0, len(events))), line)
    body = b"".join(events).replace(b"\n", data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"])))
    if data.draw(st.booleans()):
        body = b"\xef\xbb\xbf" + body
    result = read(dialect, body)
    assert isinstance(result, Completion), result
    assert result.text == TEXT
