"""Finds stored replies that a longer conversation may contain, so that one request can score them together.
Pure.

Knows messages, not tokens: a chat template can change earlier messages, so the token ids decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.core.vocabulary import Message


class Scoring(NamedTuple):
    """Names what the reference scores once, for all replies that are equal.

    ended  the token that ends the reply is scored, too;  top  how many likely tokens are listed"""

    messages: tuple[Message, ...]
    reply: str
    ended: bool
    top: int

    @property
    def conversation(self) -> tuple[Message, ...]:
        return (*self.messages, Message("assistant", self.reply))


def by_conversation(wanted: Iterable[Scoring]) -> list[list[Scoring]]:
    """Returns each of them once, in groups: the conversation of the first of a group begins with those of
    the others, and `top` is equal."""
    same: dict[tuple[int, tuple[Message, ...]], list[Scoring]] = {}
    for one in wanted:
        same.setdefault((one.top, one.conversation), []).append(one)
    groups = []
    for top, conversation in sorted(same, key=lambda key: -len(key[1])):
        group = [
            one
            for length in range(len(conversation), 0, -1)
            if conversation[length - 1].role == "assistant"
            for one in same.pop((top, conversation[:length]), ())
        ]
        if group:
            groups.append(group)
    return groups
