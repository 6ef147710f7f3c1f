"""What the bots of all games share: the ways in which they break a form."""

from __future__ import annotations

from random import Random


def with_form_errors(reply: str, rate: float, chance: Random) -> str:
    """The reply, with this probability in a form that no game takes: its tags without their colons, or chatter around a grid."""
    if not rate or chance.random() >= rate:
        return reply
    return reply.replace(":", " -") if ":" in reply else f"Here it is.\n{reply}"
