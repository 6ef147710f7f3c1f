"""Whole plays: from replies that are known beforehand, or by the games' own bots.

Knows no clock, store or model. Replies are handed to a game as they are: who records them raw strips them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from harness.core.protocols import Game
from harness.core.vocabulary import Ask, Instance, Outcome, Play


@dataclass(frozen=True, slots=True, kw_only=True)
class Playthrough:
    """What was asked and answered, in order; `outcome` is None where the replies ran out, and then one ask has no reply."""

    asks: tuple[Ask, ...]
    replies: tuple[str, ...]
    outcome: Outcome | None


def replay(play: Play, replies: Iterable[str]) -> Playthrough:
    """The play with these replies; those left over when it ends are not looked at."""
    left = iter(replies)
    return _transcript(play, lambda ask: next(left, None))


def played_by_bots(
    game: Game, instance: Instance, rules: str, *, skill: float, chance: Random
) -> Playthrough:
    """The play with a bot of this skill in every seat."""
    return _transcript(
        game.play(instance, rules), lambda ask: game.bots[ask.seat](instance, ask.messages, skill, chance)
    )


def _transcript(play: Play, reply_to: Callable[[Ask], str | None]) -> Playthrough:
    asks, replies = [next(play)], list[str]()
    while (reply := reply_to(asks[-1])) is not None:
        replies.append(reply)
        try:
            asks.append(play.send(reply))
        except StopIteration as ended:
            return Playthrough(asks=tuple(asks), replies=tuple(replies), outcome=ended.value)
    play.close()
    return Playthrough(asks=tuple(asks), replies=tuple(replies), outcome=None)
