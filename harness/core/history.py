"""What a seat has seen, hashed.

Knows messages only. Keeps: the same messages have the same hash, wherever they were asked: when a game is played, when it is replayed,
and when published transcripts are imported."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.core.vocabulary import Message, digest


@dataclass(slots=True)
class SeatHistory:
    """The messages a seat has seen, hashed as a chain: the hash of the first k depends on them alone."""

    messages: tuple[Message, ...] = ()
    chain: list[str] = field(default_factory=lambda: [digest("start")])

    def advance(self, messages: tuple[Message, ...]) -> int:
        """Takes the next ask's messages; returns how many of the previous ask's still stand at the front."""
        kept = 0
        for old, new in zip(self.messages, messages, strict=False):
            if old is not new and old != new:
                break
            kept += 1
        del self.chain[kept + 1 :]
        for message in messages[kept:]:
            self.chain.append(digest(self.chain[-1], message.role, message.text))
        self.messages = messages
        return kept

    @property
    def ask_hash(self) -> str:
        return self.chain[-1]
