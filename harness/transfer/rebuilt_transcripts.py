"""Rebuilds the prompts of published transcripts that recorded them in another form than chat messages.

clembench's backends for Hugging Face and llama.cpp models recorded one long text for each request, and the
one for Anthropic parts of text without the system message. The replies are in every record. A game is a pure
function of its instance and the replies, so playing it with the recorded replies gives the prompts.

Keeps: a transcript is rebuilt whole or not at all: every recorded prompt contains the game's last message,
and the game ends with the published outcome after the last reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose

from harness.core.vocabulary import Ask, Outcome, Play
from harness.transfer.clembench_transcripts import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class GameAtHand:
    """A game in progress with the instance of a published episode. seats: in the game's order."""

    play: Play
    seats: tuple[str, ...]


def rebuild(
    game: GameAtHand, recorded: Sequence[Exchange], outcome: Outcome | None
) -> tuple[Exchange, ...] | None:
    """Returns the exchanges with the game's messages and seats; None if they do not fit the record.

    recorded   each request with its reply, in order; `messages` is the recorded text in one message
    outcome    as published; None if the play failed, and the game need not end then"""
    players = {seat: f"Player {number}" for number, seat in enumerate(game.seats, 1)}
    rebuilt: list[Exchange] = []
    end: Outcome | None = None
    ask: Ask | None = next(game.play)
    for exchange in recorded:
        if ask is None or ask.messages[-1].text.strip() not in exchange.messages[-1].text:
            return None
        rebuilt.append(replace(exchange, seat=players[ask.seat], messages=ask.messages))
        try:
            ask = game.play.send(exchange.reply.strip())
        except StopIteration as ended:
            ask, end = None, ended.value
    game.play.close()
    if outcome is not None and (end is None or not _agree(end, outcome)):
        return None
    return tuple(rebuilt)


def _agree(end: Outcome, published: Outcome) -> bool:
    """Returns whether both are the same; a play that was never scored agrees with any end."""
    if published.state == "unscored":
        return True
    scores = [outcome.score or 0.0 for outcome in (end, published)]
    return end.state == published.state and isclose(*scores, rel_tol=1e-9)
