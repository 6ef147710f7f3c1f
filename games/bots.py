"""The parts that the bots of all games share: how they break a reply format, and which replies may have words
added.

Knows no game but by the tags of its replies."""

from __future__ import annotations

from random import Random

OPEN_ENDED = ("CLUE: ", "guess: ", "agreement: ", "Instruction: put ", "Expression: ", "Answer: ", "ASIDE: ")
VAGUE_CLUE = "CLUE: something"  # taboo's guesser recognises it, so nothing may be added to it


def with_format_errors(reply: str, rate: float, chance: Random) -> str:
    """Returns the reply, with probability `rate` in a format that no game accepts.

    Tags lose their colons; a grid, which has none, gets a line of text in front."""
    if not rate or chance.random() >= rate:
        return reply
    return reply.replace(":", " -") if ":" in reply else f"Here it is.\n{reply}"


def may_append_words(reply: str) -> bool:
    """Tells if words without meaning can be added to this bot's reply without any effect on the game."""
    return reply.startswith(OPEN_ENDED) and reply != VAGUE_CLUE
