"""Our own games as a library for harness/foreign_games/child.py: playing the same games both ways shows what
the way through a process costs. Run by bench/foreign_games.py with the Python of this checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from games import GAMES
from harness.core.vocabulary import Ask, Outcome


class NativeEpisode:
    def __init__(self, game: str, number: int) -> None:
        self._play = GAMES[game].play(GAMES[game].instances()[number], GAMES[game].rule_sets[0])

    def begin(self) -> dict[str, Any]:
        return _answer(next(self._play))

    def step(self, reply: str) -> dict[str, Any]:
        try:
            return _answer(self._play.send(reply))
        except StopIteration as end:
            return _answer(end.value)


def _answer(step: Ask | Outcome) -> dict[str, Any]:
    if isinstance(step, Ask):
        messages = [list(message) for message in step.messages]
        return {"seat": step.seat, "messages": messages, "violation": step.last_parse.violation}
    requests = step.requests
    return {
        "end": {
            "state": step.state,
            "score": step.score,
            "reason": step.reason,
            "requests": [requests.total, requests.parsed, requests.violated],
            "metrics": dict(step.metrics),
            "violation": step.last_parse.violation,
        }
    }


class NativeLibrary:
    version = "1"

    def open(self, game: dict[str, Any], seed: int) -> NativeEpisode:
        return NativeEpisode(game["name"], game["number"])


LIBRARY = NativeLibrary()
