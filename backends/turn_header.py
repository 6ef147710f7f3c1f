"""The header by which our client tells bots behind a socket which turn of which episode a request belongs to.

Sent to this machine only, and only by access methods whose provider is "emulator" or "bots": no real model
receives it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from harness.core.addresses import is_loopback
from harness.core.vocabulary import AccessMethod, Prompt

HEADER = "x-lightbulb-ask"
BOT_PROVIDERS = frozenset({"emulator", "bots"})


@dataclass(frozen=True, slots=True)
class TurnReference:
    """One turn of one episode, and the episode's item."""

    item: str
    episode: str
    seat: str
    number: int


def accepts_turn_header(method: AccessMethod) -> bool:
    """Returns whether bots of ours answer at the method's address."""
    return method.provider in BOT_PROVIDERS and is_loopback(urlsplit(method.base_url).hostname or "")


def header_value(prompt: Prompt) -> str:
    """Returns the header's value for this prompt."""
    return f"{quote(prompt.episode, safe='|:/+')} {quote(prompt.seat)} {prompt.turn}"


def parse_header(value: str) -> TurnReference:
    """Reads a header's value.

    raises  ValueError if it names no turn"""
    episode, seat, number = (unquote(part) if "%" in part else part for part in value.split(" "))
    return TurnReference(episode.rsplit("|", 4)[0], episode, seat, int(number))
