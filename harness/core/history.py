"""What a seat has seen, hashed.

Knows messages only. Keeps: the same messages have the same hash, wherever they were asked: when a game is played, when it is replayed,
and when published transcripts are imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile

from harness.core.vocabulary import Message, digest


@dataclass(slots=True)
class SeatHistory:
    """The messages a seat has seen, hashed as a chain: the hash of the first k depends on them alone."""

    messages: tuple[Message, ...] = ()
    chain: list[str] = field(default_factory=lambda: [digest("start")])

    def advance(self, messages: tuple[Message, ...]) -> int:
        """Takes the next ask's messages; returns how many of the previous ask's still stand at the front."""
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
