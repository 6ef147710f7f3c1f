"""How long an episode is, before any model has played one: its own bots play it.

Counts asks and characters as a chat server would be sent them, the whole history with every ask. Does not
promise: tokens; four characters are about one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from games.playthrough import play_by_bots
from harness.core.protocols import Game
from harness.core.seeds import stream
from harness.core.vocabulary import Instance

PLAYS = 12
SKILL = 0.7
CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Of an episode, on average; tokens are guessed from characters."""

    calls: float
    prompt_tokens: float
    reply_tokens: float


def length_by_bots(game: Game, instances: Sequence[Instance], rules: str) -> Length:
    """Of a game with these instances, from a dozen of them spread over the set."""
    chosen = instances[:: max(1, len(instances) // PLAYS)][:PLAYS]
    calls = read = written = 0
    for instance in chosen:
        play = play_by_bots(
            game, instance, rules, skill=SKILL, chance=stream(0, "lengths", instance.content_hash)
        )
        calls += len(play.replies)
        read += sum(len(message.text) for ask in play.asks for message in ask.messages)
        written += sum(map(len, play.replies))
    count = max(1, len(chosen))
    return Length(
        calls=calls / count,
        prompt_tokens=read / count / CHARACTERS_A_TOKEN,
        reply_tokens=written / count / CHARACTERS_A_TOKEN,
    )
