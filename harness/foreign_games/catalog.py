"""Describes games of other libraries: seats, instances, rules. Reads files and runs nothing of theirs.

Keeps: an item is the same on every machine and day: its hash covers the instance, and the rule set names the
library's release and, for clembench, the code of the game."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.core.vocabulary import LIBRARY_TURNS_MAX, Instance, ReplyFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignGame:
    """A game of another library, as a value.

    name            LIBRARY:NAME, as in a sweep file
    seats           the roles; seats that the game plays itself are never asked
    rule_sets       the library's release, and what else decides how the game is played
    turns_typical   asks in an ordinary episode
    turns_max       asks after which an episode without an end is aborted
    instances       (how many the sweep wants; None: no wish) -> the instances, in order
    opening         instance -> what the library's process needs to know to begin an episode
    process         games of one name share a process
    reply_format    of every reply: any text of at most so many tokens
    halves          the scores of two seats that play against each other add up to 100: played with itself,
                    a method has 50 on average, whatever it is
    note            what a user should know before a sweep, one sentence; empty: nothing"""

    name: str
    library: str
    summary: str
    seats: tuple[str, ...]
    rule_sets: tuple[str, ...]
    turns_typical: int
    instances: Callable[[int | None], Sequence[Instance]]
    opening: Callable[[Instance], Mapping[str, object]]
    process: str
    reply_format: ReplyFormat
    turns_max: int = LIBRARY_TURNS_MAX
    halves: bool = False
    note: str = ""
    reprompts: tuple[str, ...] = ()
    answer_place: None = None
    bots: Mapping[str, object] = field(default_factory=dict)


def with_turns_max(game: ForeignGame, turns_max: int | None) -> ForeignGame:
    """Returns the game with another limit of turns; None: with its own. Another limit is another rule set: it
    makes other items."""
    if turns_max is None or turns_max == game.turns_max:
        return game
    return replace(
        game,
        turns_max=turns_max,
        turns_typical=min(game.turns_typical, turns_max),
        rule_sets=tuple(f"{rules}+turns_max={turns_max}" for rules in game.rule_sets),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGame:
    """A row of the list of games.

    plays   whether a sweep can play it
    reason  why not, or what to know; empty: nothing"""

    name: str
    seats: int
    plays: bool
    reason: str


def any_reply(tokens_max: int) -> ReplyFormat:
    """Returns the format of a reply that may be any text."""
    return ReplyFormat(regex="", tokens_max=tokens_max)
