"""Writes finished episodes as clembench lays out its results: <pair>/<game>/<experiment>/<episode>/.

Knows both layouts' names, v1.6's and clemcore's, as clembench_results.py reads them. Keeps: an export that is
imported again has the same outcomes, scores, prompts and replies; an unscored episode has no scores.json,
because clembench counts every scored episode as played or aborted. Does not promise what the store does not
hold: turn scores, instance files, the game's own log beyond asks, replies and format errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path
from typing import Any

from harness.core.errors import SpecError
from harness.transfer.clembench_transcripts import Exchange

MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedEpisode:
    """One episode to export.

    instance   its id, a number for clembench
    seating    the access method in each seat"""

    game: str
    rules: str
    experiment: str
    experiment_index: int
    instance: str
    seating: tuple[str, ...]
    outcome: str
    score: float | None
    requests: int
    parsed: int
    violated: int
    metrics: Mapping[str, float]
    turns: tuple[Exchange, ...]


def write_episode(root: Path, episode: ExportedEpisode, seats: Sequence[str]) -> Path:
    """Writes one episode's folder and returns it.

    root      the folder of results
    episode   what to write
    seats     of its game, in order: Player 1, Player 2; other names stay as they are
    raises    SpecError if the folder exists already, or cannot be written"""
    folder = root / _pair(episode) / file_name(episode.game) / _experiment(episode) / _instance(episode)
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise SpecError(f"{folder}: exists already; export into an empty folder") from error
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error.strerror})") from error
    players = {seat: f"Player {place}" for place, seat in enumerate(seats, 1)}
    stamps = list(_stamps(episode.turns))
    unscored = episode.outcome == "unscored"
    if not unscored:
        _write(folder / "scores.json", {"turn scores": {}, "episode scores": scores(episode)})
    if episode.turns:
        _write(
            folder / "requests.json",
            [_request(turn, stamp) for turn, stamp in zip(episode.turns, stamps, strict=True)],
        )
    if episode.turns or unscored:  # interactions tell an unscored play from one that failed
        _write(folder / "interactions.json", _interactions(episode, players, stamps))
    return folder


def scores(episode: ExportedEpisode) -> dict[str, float]:
    """Returns the episode's scores under clembench's names; an aborted episode's main score is NaN."""
    return {
        **episode.metrics,
        "Aborted": int(episode.outcome == "aborted"),
        "Success": int(episode.outcome == "success"),
        "Lose": int(episode.outcome == "lost"),
        "Request Count": episode.requests,
        "Parsed Request Count": episode.parsed,
        "Violated Request Count": episode.violated,
        "Main Score": nan if episode.score is None else episode.score,
    }


def _early(episode: ExportedEpisode) -> bool:
    """Returns whether v1.6's names are used, not clemcore's."""
    return episode.rules.startswith("v1.6")


def _pair(episode: ExportedEpisode) -> str:
    players = [file_name(name) + ("-t0.0" if _early(episode) else "") for name in episode.seating]
    return "--".join(players if len(players) > 1 else players * 2)


def _experiment(episode: ExportedEpisode) -> str:
    name = file_name(episode.experiment)
    return f"{episode.experiment_index}_{name}" if _early(episode) else name


def _instance(episode: ExportedEpisode) -> str:
    if _early(episode):
        return f"episode_{file_name(episode.instance)}"
    return f"instance_{file_name(episode.instance).zfill(5)}"


def file_name(name: str) -> str:
    """Returns the name as that of one folder: model/method becomes model@method. No name is that of another
    place: tables of others have any names."""
    one = name.replace("/", "@").replace("\\", "_").replace("\0", "_")
    return one if one.strip(".") else f"_{one}"


def _stamps(turns: Iterable[Exchange]) -> Iterator[str]:
    """Yields the time of each reply, later than the one before: requests are found by their time stamp."""
    last = 0.0
    for turn in turns:
        last = max(turn.sent_at + turn.latency_s, last + 2 * MICROSECOND)
        yield _iso(last)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _request(turn: Exchange, stamp: str) -> dict[str, object]:
    return {
        "timestamp": stamp,
        "manipulated_prompt_obj": [
            {"role": message.role, "content": message.text} for message in turn.messages
        ],
        "raw_response_obj": {
            "model": turn.served_model,
            "choices": [
                {"message": {"role": "assistant", "content": turn.reply}, "finish_reason": turn.finish_reason}
            ],
            "usage": {"prompt_tokens": turn.prompt_tokens, "completion_tokens": turn.completion_tokens},
            "clem_player": {
                "call_start": _iso(turn.sent_at) if turn.sent_at else None,
                "call_duration": _duration(turn.latency_s),
                "response": turn.reply,
                "model_name": turn.served_model,
            },
        },
    }


def _duration(seconds: float) -> str:
    """Returns a duration as Python writes it, 0:00:01.500000; days become hours."""
    whole = timedelta(seconds=seconds)
    hours, rest = divmod(whole // timedelta(seconds=1), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}.{whole.microseconds:06}"


def _interactions(
    episode: ExportedEpisode, players: Mapping[str, str], stamps: Sequence[str]
) -> dict[str, object]:
    turns = []
    for turn, stamp in zip(episode.turns, stamps, strict=True):
        player = players.get(turn.seat, turn.seat)
        events = [
            _event("GM", player, stamp, "send message", turn.messages[-1].text),
            _event(player, "GM", stamp, "get message", turn.reply),
        ]
        if turn.violation is not None:
            events.append(_event("GM", "GM", stamp, "invalid format", turn.violation))
        turns.append(events)
    named = dict(zip(players.values(), episode.seating * len(players), strict=False))
    return {"players": {"GM": f"Game master for {episode.game}", **named}, "turns": turns}


def _event(sender: str, receiver: str, stamp: str, kind: str, content: str) -> dict[str, object]:
    return {"from": sender, "to": receiver, "timestamp": stamp, "action": {"type": kind, "content": content}}


def _write(path: Path, value: Any) -> None:
    try:
        path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror})") from error
