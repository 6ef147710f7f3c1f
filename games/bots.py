"""What the bots of all games share: the ways in which they break a form, and where a game lets them go on talking."""

from __future__ import annotations

from random import Random

OPEN_ENDED = ("CLUE: ", "guess: ", "agreement: ", "Instruction: put ", "Expression: ", "Answer: ", "ASIDE: ")
VAGUE_CLUE = "CLUE: something"  # a bot that hears it, and no more than it, takes it for a lack of skill


def with_form_errors(reply: str, rate: float, chance: Random) -> str:
    """The reply, with this probability in a form that no game takes: its tags without their colons, or chatter around a grid."""
    if not rate or chance.random() >= rate:
        return reply
    return reply.replace(":", " -") if ":" in reply else f"Here it is.\n{reply}"


def words_may_follow(reply: str) -> bool:
    """Whether words that mean nothing can end this bot's reply and change nothing in the game."""
    return reply.startswith(OPEN_ENDED) and reply != VAGUE_CLUE
