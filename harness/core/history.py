"""Hashes the messages that a seat has seen.

Knows messages only. Keeps: the same messages have the same hash when a game is played, when it is replayed,
and when published transcripts are imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile

from harness.core.vocabulary import Message, digest


@dataclass(slots=True)
class SeatHistory:
    """A chain of hashes over the messages of a seat: the hash of the first k messages depends on them
    alone."""

    messages: tuple[Message, ...] = ()
    chain: list[str] = field(default_factory=lambda: [digest("start")])

    def advance(self, messages: tuple[Message, ...]) -> int:
        """Takes the next ask's messages; returns how many messages of the previous ask it starts with."""
        kept = len(self.messages)
        if messages[:kept] != self.messages:
            kept = sum(
                1
                for _ in takewhile(
                    lambda pair: pair[0] == pair[1], zip(self.messages, messages, strict=False)
                )
            )
        del self.chain[kept + 1 :]
        for message in messages[kept:]:
            self.chain.append(digest(self.chain[-1], message.role, message.text))
        self.messages = messages
        return kept

    @property
    def ask_hash(self) -> str:
        return self.chain[-1]
