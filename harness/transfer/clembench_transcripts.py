"""Reads the record of a published clembench episode: its requests, with the speakers from its interactions.

Knows the files of v1.6 (one requests.json) and of clemcore 3.4 and later (one for each player), and the forms
in which clembench's backends recorded a prompt: chat messages, messages in parts (Anthropic), one long text
(Hugging Face, llama.cpp). Keeps: a record is read whole or not at all; a reply's violation is the one that
the game logged right after it. Does not promise the time zone of time stamps, which state none and are read
as UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from harness.core.errors import SpecError
from harness.core.vocabulary import Message, Role, storable
from harness.transfer.files import as_list, as_object, json_value

PLAYER_FILE = re.compile(r"player_(\d+)\.requests\.json")
DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
UNKNOWN_SEAT = "Player"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its reply.

    seat        "Player 1", "Player 2"; "Player" if the record does not say; in an export the game's name of
                the seat
    messages    as they were sent
    violation   the format error of the reply in the record's words; None if the record logs none"""

    seat: str
    messages: tuple[Message, ...]
    reply: str
    violation: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    served_model: str | None
    sent_at: float
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An episode's requests in order.

    complete       each prompt is a list of chat messages, as it was sent
    has_messages   each prompt is a list of messages, perhaps without the system message"""

    exchanges: tuple[Exchange, ...]
    complete: bool
    has_messages: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """The speaker of the event at each time stamp, and the format error that the game logged for it."""

    speakers: Mapping[str, str]
    violations: Mapping[str, str]


def read_recording(folder: Path) -> Recording:
    """Reads an episode's requests; there are none if its folder has no record of them.

    raises  SpecError if a file cannot be read, or a request has no prompt or no reply"""
    calls = sorted(_calls(folder), key=lambda pair: str(pair[1].get("timestamp")))
    log = _log(folder / "interactions.json") if calls else _Log(speakers={}, violations={})
    exchanges, complete, has_messages = [], True, True
    for seat, call in calls:
        prompt = call.get("manipulated_prompt_obj")
        messages = _chat_messages(prompt)
        complete &= messages is not None
        messages = messages or _messages_in_parts(prompt)
        has_messages &= messages is not None
        exchange = _exchange(seat, call, log, messages or _one_text(prompt))
        if exchange is None:
            raise SpecError(f"{folder}: the request of {call.get('timestamp')} has no prompt or no reply")
        exchanges.append(exchange)
    return Recording(exchanges=tuple(exchanges), complete=complete, has_messages=has_messages)


def _calls(folder: Path) -> Iterator[tuple[str | None, Mapping[str, object]]]:
    """Yields each call with the seat that its file is named after, if any."""
    together = folder / "requests.json"
    if together.is_file():
        yield from ((None, as_object(call)) for call in as_list(json_value(together)))
    for path in sorted(folder.glob("player_*.requests.json")):
        if named := PLAYER_FILE.fullmatch(path.name):
            for entry in as_list(as_object(json_value(path)).get("calls")):
                yield f"Player {named[1]}", as_object(as_object(entry).get("call"))


def _log(path: Path) -> _Log:
    """Reads the events. A request has the time stamp of its reply's event, or in wordle that of its
    prompt's."""
    speakers: dict[str, str] = {}
    violations: dict[str, str] = {}
    prompted_at: dict[str, str] = {}
    stamps: tuple[str, ...] = ()
    for event in _events(path):
        action, stamp = as_object(event.get("action")), str(event.get("timestamp"))
        match action.get("type"):
            case "send message":
                prompted_at[str(event.get("to"))] = stamp
            case "get message":
                speaker = str(event.get("from"))
                stamps = (stamp, prompted_at.pop(speaker, stamp))
                for known in stamps:
                    speakers.setdefault(known, speaker)
            case "invalid format":
                for known in stamps:
                    violations.setdefault(known, str(action.get("content")))
    return _Log(speakers=speakers, violations=violations)


def _events(path: Path) -> Iterator[Mapping[str, object]]:
    if path.is_file():
        for turn in as_list(as_object(json_value(path)).get("turns")):
            yield from map(as_object, as_list(turn))


def _exchange(
    seat: str | None, call: Mapping[str, object], log: _Log, messages: tuple[Message, ...] | None
) -> Exchange | None:
    """Returns the exchange; None if the prompt or the reply is missing."""
    answer = as_object(call.get("raw_response_obj"))
    added, usage = as_object(answer.get("clem_player")), as_object(answer.get("usage"))
    choice = as_object(next(iter(as_list(answer.get("choices"))), None))
    reply = added.get("response")
    if messages is None or not isinstance(reply, str):
        return None
    stamp = str(call.get("timestamp"))
    return Exchange(
        seat=seat or log.speakers.get(stamp, UNKNOWN_SEAT),
        messages=messages,
        reply=storable(reply),
        violation=log.violations.get(stamp),
        finish_reason=_text(choice.get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        served_model=_text(answer.get("model")) or _text(added.get("model_name")),
        sent_at=_moment(added.get("call_start")) or _moment(stamp) or 0.0,
        latency_s=_duration_s(added.get("call_duration")),
    )


def _chat_messages(prompt: object) -> tuple[Message, ...] | None:
    """Returns the messages of a prompt in chat form."""
    messages = []
    for entry in as_list(prompt):
        match entry:
            case {"role": str(role), "content": str(text)} if role in get_args(Role):
                messages.append(Message(role, storable(text)))  # type: ignore[arg-type]  # just checked
            case _:
                return None
    return tuple(messages) or None


def _messages_in_parts(prompt: object) -> tuple[Message, ...] | None:
    """Returns the messages of a prompt whose contents are texts or lists of texts."""
    joined = []
    for entry in map(as_object, as_list(prompt)):
        parts = entry.get("content")
        texts = [as_object(part).get("text") for part in as_list(parts)]
        text = parts if isinstance(parts, str) else "".join(text for text in texts if isinstance(text, str))
        joined.append({**entry, "content": text})
    return _chat_messages(joined)


def _one_text(prompt: object) -> tuple[Message, ...] | None:
    """Returns a prompt of one long text as one message."""
    text = as_object(prompt).get("inputs", prompt)
    return (Message("user", storable(text)),) if isinstance(text, str) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _moment(stamp: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration_s(text: object) -> float:
    """Returns the seconds of "0:00:01.5"; 0 if there is no such text."""
    parts = DURATION.fullmatch(str(text))
    return int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3]) if parts else 0.0
