"""The header by which our client tells a bot behind a socket which turn of which episode asks.

Sent to this machine only, and only by access methods whose provider is "emulator" or "bots": a real model is never told."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from harness.core.addresses import is_loopback
from harness.core.vocabulary import AccessMethod, Prompt

HEADER = "x-lightbulb-ask"
TOLD_PROVIDERS = frozenset({"emulator", "bots"})


@dataclass(frozen=True, slots=True)
class TurnReference:
    """One turn of one episode, and the puzzle it is about."""

    item: str
    episode: str
    seat: str
    number: int


def accepts_turn_header(method: AccessMethod) -> bool:
    """Whether what answers there is ours."""
    return method.provider in TOLD_PROVIDERS and is_loopback(urlsplit(method.base_url).hostname or "")


def header_value(prompt: Prompt) -> str:
    """The header's value."""
    return f"{quote(prompt.episode, safe='|:/+')} {quote(prompt.seat)} {prompt.turn}"


def parse_header(value: str) -> TurnReference:
    """raises  ValueError if that is no turn"""
    episode, seat, number = (unquote(part) if "%" in part else part for part in value.split(" "))
    return TurnReference(episode.rsplit("|", 4)[0], episode, seat, int(number))
