"""The seams between rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from harness.core.records import Record
from harness.core.vocabulary import Completion, Instance, Message, Play, Prompt


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float: ...
    def wall(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Backend(Protocol):
    """The live object that completes prompts through one access method."""

    async def complete(self, prompt: Prompt) -> Completion:
        """One request, one answer; raises only CallErrors and never tries twice."""
        ...


class RecordSink(Protocol):
    """Where rows go."""

    def put_nowait(self, record: Record) -> None:
        """Takes one of the rare rows from code that cannot wait."""
        ...

    async def put(self, *records: Record) -> None:
        """Takes rows in order; waits only when too many are under way; raises StoreError once the store is broken."""
        ...


class Bot(Protocol):
    """A programmatic player of one seat: a pure function of what it is handed."""

    def __call__(self, instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
        """A reply in good form.

        instance  the puzzle, solution included: a bot may know what its seat may not, and uses it as its skill allows
        heard     the messages of the ask
        skill     1 plays as well as the rules allow, 0 hopelessly
        chance    all its luck"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """Rules, as a value.

    seats          the roles, in the order in which a seating lists their players
    rule_sets      the rules it can be played by; the first is the default for new sweeps
    turns_typical  asks in an ordinary episode: where the scheduler's learning starts
    play           (instance, rules) -> a game in progress; pure, synchronous, never raises for any reply
    instances      our own instance set, in order; the default of new sweeps
    bots           seat -> its programmatic player
    reprompts      the kinds of mistakes after which a player is told so and asked again; a sweep may choose the words"""

    name: str
    summary: str
    seats: tuple[str, ...]
    rule_sets: tuple[str, ...]
    turns_typical: int
    play: Callable[[Instance, str], Play]
    instances: Callable[[], Sequence[Instance]]
    bots: Mapping[str, Bot]
    reprompts: tuple[str, ...] = ()
