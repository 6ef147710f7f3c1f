"""What was said in a published clembench episode: its requests files, with the names of the speakers from its interactions.

Knows the files of v1.6 (one requests.json) and of clemcore 3.4 and later (one for each player). Keeps: a transcript is whole or
absent; a reply's violation is the one the record logged right after it. Does not promise: transcripts of providers that were sent
one long text instead of chat messages; the time zone of stamps, which have none and are read as UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from harness.core.vocabulary import Message, Role
from harness.transfer.files import as_list, as_object, json_value

PLAYER_FILE = re.compile(r"player_(\d+)\.requests\.json")
DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
UNKNOWN_SEAT = "Player"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its reply.

    seat        "Player 1", "Player 2"; "Player" where the record does not say who was asked; the game's own name on its way out
    messages    as they were sent
    violation   how the reply broke its form, in the record's words; None if the record logs nothing"""

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
class _Log:
    """Who said what stands at a stamp, and what the game logged against it."""

    speakers: Mapping[str, str]
    violations: Mapping[str, str]


def read_exchanges(folder: Path) -> tuple[Exchange, ...]:
    """All exchanges of an episode in order; none where its folder keeps none, or one of them is not in chat form.

    raises  SpecError if a file is there and cannot be read"""
    calls = sorted(_calls(folder), key=lambda pair: str(pair[1].get("timestamp")))
    if not calls:
        return ()
    log = _log(folder / "interactions.json")
    exchanges = [_exchange(seat, call, log) for seat, call in calls]
    whole = [one for one in exchanges if one is not None]
    return tuple(whole) if len(whole) == len(exchanges) else ()


def _calls(folder: Path) -> Iterator[tuple[str | None, Mapping[str, object]]]:
    """Each call with the seat that its file is named after, if it is."""
    together = folder / "requests.json"
    if together.is_file():
        yield from ((None, as_object(call)) for call in as_list(json_value(together)))
    for path in sorted(folder.glob("player_*.requests.json")):
        if named := PLAYER_FILE.fullmatch(path.name):
            for entry in as_list(as_object(json_value(path)).get("calls")):
                yield f"Player {named[1]}", as_object(as_object(entry).get("call"))


def _log(path: Path) -> _Log:
    """A request bears the stamp of its reply's event, or in wordle of its prompt's: either finds it."""
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


def _exchange(seat: str | None, call: Mapping[str, object], log: _Log) -> Exchange | None:
    """None if the prompt is not a list of chat messages or the reply is missing."""
    answer = as_object(call.get("raw_response_obj"))
    ours, usage = as_object(answer.get("clem_player")), as_object(answer.get("usage"))
    choice = as_object(next(iter(as_list(answer.get("choices"))), None))
    messages, reply = _messages(call.get("manipulated_prompt_obj")), ours.get("response")
    if messages is None or not isinstance(reply, str):
        return None
    stamp = str(call.get("timestamp"))
    return Exchange(
        seat=seat or log.speakers.get(stamp, UNKNOWN_SEAT),
        messages=messages,
        reply=_storable(reply),
        violation=log.violations.get(stamp),
        finish_reason=_text(choice.get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        served_model=_text(answer.get("model")) or _text(ours.get("model_name")),
        sent_at=_moment(ours.get("call_start")) or _moment(stamp) or 0.0,
        latency_s=_duration_s(ours.get("call_duration")),
    )


def _messages(prompt: object) -> tuple[Message, ...] | None:
    messages = []
    for entry in as_list(prompt):
        match entry:
            case {"role": str(role), "content": str(text)} if role in get_args(Role):
                messages.append(Message(role, _storable(text)))  # type: ignore[arg-type]  # just checked
            case _:
                return None
    return tuple(messages) or None


def _storable(text: str) -> str:
    """Halves of surrogate pairs, which no UTF-8 text may hold, become question marks."""
    return text.encode("utf-8", "replace").decode()


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
    """From "0:00:01.5"; 0 where it is not told."""
    parts = DURATION.fullmatch(str(text))
    return int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3]) if parts else 0.0
