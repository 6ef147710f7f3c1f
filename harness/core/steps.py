"""A game in progress, one step for each reply.

The scheduler awaits every step. The games of this package are generators, which answer at once; games of
other libraries run in processes of their own, whose answers take time."""

from __future__ import annotations

from typing import Protocol

from harness.core.vocabulary import Ask, Instance, Outcome, Play


class Steps(Protocol):
    """One episode of a game."""

    async def begin(self) -> Ask | Outcome:
        """Returns the first ask.

        raises  GameFailed, GameUnavailable"""
        ...

    async def step(self, reply: str) -> Ask | Outcome:
        """Takes the stripped text of a reply; returns the next ask, or the outcome.

        raises  GameFailed, GameUnavailable"""
        ...

    def close(self) -> None:
        """Ends the episode if it has not ended; does not wait."""
        ...


class Playable(Protocol):
    """The part of a game that the scheduler knows.

    seats          the roles, in the order in which a seating lists their players
    turns_typical  asks in an ordinary episode: the scheduler's first estimate"""

    @property
    def seats(self) -> tuple[str, ...]: ...
    @property
    def turns_typical(self) -> int: ...

    def open(self, instance: Instance, rules: str) -> Steps:
        """Returns a new episode of this instance."""
        ...


class GeneratorSteps:
    """The steps of a generator. They never wait."""

    __slots__ = ("_play",)

    def __init__(self, play: Play) -> None:
        self._play = play

    async def begin(self) -> Ask | Outcome:
        """See Steps."""
        return next(self._play)

    async def step(self, reply: str) -> Ask | Outcome:
        """See Steps."""
        try:
            return self._play.send(reply)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def close(self) -> None:
        """See Steps."""
        self._play.close()
