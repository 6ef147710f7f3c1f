"""Plays TextArena's environments, one step for each reply. Imported by child.py in TextArena's own
environment.

Knows `make`, `reset`, `get_observation`, `step` and `close`. An observation is taken once a turn, because
taking it empties its queue."""

from __future__ import annotations

from importlib.metadata import version
from math import isfinite
from numbers import Real
from typing import Any

import textarena
from textarena.agents.basic_agents import STANDARD_GAME_PROMPT


class TextArenaEpisode:
    """One episode of an environment. The score is that of the first seat."""

    def __init__(self, name: str, players: int, seed: int) -> None:
        self._players, self._seed = players, seed
        self._env = textarena.make(name)
        self._turns = self._violated = 0

    def begin(self) -> dict[str, Any]:
        self._env.reset(num_players=self._players, seed=self._seed)
        return self._ask(None)

    def step(self, reply: str) -> dict[str, Any]:
        self._turns += 1
        before = self._errors()
        done, _ = self._env.step(action=reply)
        violation = "invalid move" if self._errors() > before else None
        return self._end() if done else self._ask(violation)

    def _ask(self, violation: str | None) -> dict[str, Any]:
        player, observation = self._env.get_observation()
        if not isinstance(observation, str):
            raise TypeError(
                f"the environment shows a {type(observation).__name__}, but lightbulb sends text only"
            )
        self._violated += violation is not None
        return {
            "seat": f"player {player + 1}",
            "messages": [["system", STANDARD_GAME_PROMPT], ["user", observation]],
            "violation": violation,
        }

    def _errors(self) -> int:
        """Returns how many invalid moves in a row the environment has met; some environments allow a few."""
        return int(getattr(self._env.state, "error_count", 0) or 0)

    def _end(self) -> dict[str, Any]:
        rewards, facts = self._env.close()
        numbers = {seat: float(one) for seat, one in (rewards or {}).items() if _is_number(one)}
        invalid = [player for player in range(self._players) if facts.get(player, {}).get("invalid_move")]
        violated = self._violated + bool(invalid)
        end: dict[str, Any] = {
            "requests": [self._turns, self._turns - violated, violated],
            "violation": "invalid move" if invalid else None,
            "metrics": {f"Reward {player + 1}": value for player, value in numbers.items()},
        }
        if invalid:
            seat = f" of player {invalid[0] + 1}" if self._players > 1 else ""
            return {"end": {**end, "state": "aborted", "score": None, "reason": f"invalid move{seat}"}}
        if 0 not in numbers:
            return {"end": {**end, "state": "unscored", "score": None, "reason": "no reward"}}
        reward = numbers[0]
        score = 100.0 * reward if self._players == 1 else 50.0 * (reward + 1.0)
        score = min(100.0, max(0.0, score))
        won = reward > 0 if self._players > 1 else score == 100.0
        reason = "won" if won else "draw" if self._players > 1 and reward == 0 else "lost"
        return {"end": {**end, "state": "success" if won else "lost", "score": score, "reason": reason}}


def _is_number(reward: object) -> bool:
    """Returns whether this is a reward; some environments give a text in its place."""
    return isinstance(reward, Real) and isfinite(reward)


class TextArenaLibrary:
    """The environments of the installed release."""

    version = version("textarena")

    def open(self, game: dict[str, Any], seed: int) -> TextArenaEpisode:
        return TextArenaEpisode(game["name"], game["players"], game["seed"])


LIBRARY = TextArenaLibrary()
