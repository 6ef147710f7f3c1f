"""A library of toy games for child.py, of the standard library only: a die is thrown from the global random
generator, and replies tell the process what to do."""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any


class DiceEpisode:
    """A number of throws; each ask shows all earlier ones."""

    def __init__(self, throws: int) -> None:
        self._left = throws
        self._messages: list[list[str]] = []

    def begin(self) -> dict[str, Any]:
        return self._ask(None)

    def step(self, reply: str) -> dict[str, Any]:
        self._messages.append(["assistant", reply])
        if reply == "die":
            print("about to end", file=sys.stderr, flush=True)
            os._exit(7)
        if reply == "hang":
            time.sleep(3600)
        if reply == "raise":
            raise KeyError("a fault of the game")
        if reply == "odd":
            self._messages.append(["user", "half a character: \ud83d"])
        if reply.startswith("die once ") and not os.path.exists(reply[9:]):  # the file says that it has died
            with open(reply[9:], "w", encoding="ascii"):
                os._exit(8)
        self._left -= 1
        if not self._left:
            score = 100.0 if reply == "good" else 50.0
            return {
                "end": {
                    "state": "success",
                    "score": score,
                    "reason": "played",
                    "requests": [2, 2, 0],
                    "metrics": {"Last": float(random.randint(1, 6))},
                    "violation": None,
                }
            }
        return self._ask("bad word" if reply == "bad" else None)

    def _ask(self, violation: str | None) -> dict[str, Any]:
        print("a game that prints to standard output")
        self._messages.append(["user", f"the die shows {random.randint(1, 1000)}"])
        return {"seat": "player 1", "messages": list(self._messages), "violation": violation}


class DiceLibrary:
    version = "1"

    def open(self, game: dict[str, Any], seed: int) -> DiceEpisode:
        return DiceEpisode(game["throws"])


LIBRARY = DiceLibrary()
