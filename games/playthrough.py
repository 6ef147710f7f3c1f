"""Plays a whole episode in memory, from a list of replies or with the games' own bots.

Knows no clock, store or model. Replies go to the game unchanged, so a caller with raw replies strips them
first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from harness.core.protocols import Game
from harness.core.vocabulary import Ask, Instance, Outcome, Play


@dataclass(frozen=True, slots=True, kw_only=True)
class Playthrough:
    """The asks and replies of an episode, in order.

    outcome  None where the replies ran out; the last ask then has no reply"""

    asks: tuple[Ask, ...]
    replies: tuple[str, ...]
    outcome: Outcome | None


def replay(play: Play, replies: Iterable[str]) -> Playthrough:
    """Plays with these replies; ignores those that are left when the episode ends."""
    left = iter(replies)
    return _play_through(play, lambda ask: next(left, None))


def play_by_bots(game: Game, instance: Instance, rules: str, *, skill: float, chance: Random) -> Playthrough:
    """Plays with a bot of this skill in every seat."""
    return _play_through(
        game.play(instance, rules), lambda ask: game.bots[ask.seat](instance, ask.messages, skill, chance)
    )


def _play_through(play: Play, reply_to: Callable[[Ask], str | None]) -> Playthrough:
    asks, replies = [next(play)], list[str]()
    while (reply := reply_to(asks[-1])) is not None:
        replies.append(reply)
        try:
            asks.append(play.send(reply))
        except StopIteration as ended:
            return Playthrough(asks=tuple(asks), replies=tuple(replies), outcome=ended.value)
    play.close()
    return Playthrough(asks=tuple(asks), replies=tuple(replies), outcome=None)
