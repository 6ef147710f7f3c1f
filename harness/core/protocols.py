"""The interfaces between rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from harness.core.records import Record
from harness.core.steps import GeneratorSteps, Steps
from harness.core.vocabulary import Completion, Instance, Message, Play, Prompt


class Clock(Protocol):
    """A source of time."""

    def now(self) -> float: ...
    def wall(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Backend(Protocol):
    """A live object that completes prompts through one access method."""

    async def complete(self, prompt: Prompt) -> Completion:
        """Sends one request and returns the response; raises only CallErrors and does not retry."""
        ...


class RecordSink(Protocol):
    """A receiver of rows."""

    def put_nowait(self, record: Record) -> None:
        """Takes one row from code that cannot wait; only for rare rows."""
        ...

    async def put(self, *records: Record) -> None:
        """Takes rows in order. Waits only while too many rows are unwritten. Raises StoreError once the store
        is broken."""
        ...


class Bot(Protocol):
    """A programmatic player of one seat: a pure function of its arguments."""

    def __call__(
        self, instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random
    ) -> str:
        """Returns a reply in the right format.

        instance  with its solution: a bot may know what its seat may not, and uses it as far as its skill
                  allows
        messages  the messages of the ask
        skill     1 plays as well as the rules allow, 0 as badly as possible
        chance    the source of all random draws"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The rules of a game, as a value.

    seats          the roles, in the order in which a seating lists their players
    rule_sets      the names of its rule sets; the first is the default for new sweeps
    turns_typical  asks in an ordinary episode: the scheduler's first estimate
    play           (instance, rules) -> a game in progress; pure, synchronous, does not raise for any reply
    instances      our own instance set, in order; the default of new sweeps
    bots           seat -> its programmatic player
    reprompts      kinds of mistakes after which a player is informed and asked again; a sweep may set the
                   texts
    answer_place   instance -> the place of the right answer among those offered; None: it has none"""

    name: str
    summary: str
    seats: tuple[str, ...]
    rule_sets: tuple[str, ...]
    turns_typical: int
    play: Callable[[Instance, str], Play]
    instances: Callable[[], Sequence[Instance]]
    bots: Mapping[str, Bot]
    reprompts: tuple[str, ...] = ()
    answer_place: Callable[[Instance], str] | None = None

    def open(self, instance: Instance, rules: str) -> Steps:
        """Returns a new episode of this instance; its steps never wait."""
        return GeneratorSteps(self.play(instance, rules))
