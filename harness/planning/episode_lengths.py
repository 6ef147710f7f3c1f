"""Lengths of episodes, turn by turn: seat, prompt tokens, reply tokens. Knows lengths, never texts.

A length is one whole play, by bots or from a store. Placeholder games ask what a length contains, so that the
scheduler plays them like any other game. Keeps: which length an episode takes depends only on its method, its
item, its repeat and the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from random import Random
from typing import Protocol

from harness.core.protocols import Game
from harness.core.seeds import stream
from harness.core.vocabulary import (
    Ask,
    Completion,
    EpisodePlan,
    Instance,
    Message,
    Outcome,
    Play,
    Prompt,
    ReplyFormat,
)

CHARACTERS_A_TOKEN = 4  # the estimate with which the gates begin
BOT_PLAYS = 3  # plays of each item by bots: more change a plan by less than the bots differ from a model


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLength:
    """One turn: tokens of its prompt, the history included, and of its reply."""

    seat: str
    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredFormat(ReplyFormat):
    """A reply format that says how many tokens prompt and reply have."""

    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeLength:
    """One play as lengths, with the asks that a placeholder game makes of them; all episodes that take it
    share it."""

    asks: tuple[Ask, ...]
    prompt_tokens: int
    reply_tokens: int

    @property
    def turns(self) -> int:
        return len(self.asks)


def episode_length(turns: Sequence[TurnLength]) -> EpisodeLength:
    """Returns the play with these turns. A seat's history grows as its prompts do; a shorter prompt starts a
    new history."""
    histories: dict[str, tuple[int, tuple[Message, ...]]] = {}
    asks = []
    for turn in turns:
        known, messages = histories.get(turn.seat, (0, ()))
        if turn.prompt_tokens < known:
            known, messages = 0, ()
        grown = turn.prompt_tokens - known
        if grown or not messages:
            messages = (*messages, _message(grown))
        histories[turn.seat] = (turn.prompt_tokens, messages)
        reply_format = _measured_format(turn.prompt_tokens, turn.reply_tokens)
        asks.append(Ask(seat=turn.seat, messages=messages, reply_format=reply_format))
    return EpisodeLength(
        asks=tuple(asks),
        prompt_tokens=sum(turn.prompt_tokens for turn in turns),
        reply_tokens=sum(turn.reply_tokens for turn in turns),
    )


@lru_cache(4096)
def _message(tokens: int) -> Message:
    return Message("user", "x" * (CHARACTERS_A_TOKEN * tokens))


@lru_cache(4096)
def _measured_format(prompt_tokens: int, reply_tokens: int) -> MeasuredFormat:
    return MeasuredFormat(regex="x", prompt_tokens=prompt_tokens, reply_tokens=reply_tokens)


class Seated(Protocol):
    """A game, ours or another library's, as a plan knows it."""

    @property
    def seats(self) -> tuple[str, ...]: ...
    @property
    def turns_typical(self) -> int: ...


def placeholder_games(games: Mapping[str, Seated]) -> dict[str, Game]:
    """Returns games of the same names and seats that play the length which `with_length` puts into an
    instance."""
    return {
        name: Game(
            name=name,
            summary="",
            seats=game.seats,
            rule_sets=(),
            turns_typical=game.turns_typical,
            play=partial(_play, tuple(game.seats)),
            instances=tuple,
            bots={},
        )
        for name, game in games.items()
    }


def with_length(plan: EpisodePlan, length: EpisodeLength) -> EpisodePlan:
    """Returns the plan with this length in its instance, for a placeholder game. Its key does not change."""
    return replace(plan, instance=replace(plan.instance, fields={"length": length}))


def _play(seats: tuple[str, ...], instance: Instance, rules: str) -> Play:
    length = instance.fields["length"]
    assert isinstance(length, EpisodeLength)
    for ask in length.asks:
        _reply = yield ask if ask.seat in seats else ask._replace(seat=_of_import(ask.seat, seats))
    return _PLAYED


def _of_import(seat: str, seats: tuple[str, ...]) -> str:
    """Returns the game's seat that imported results name otherwise: "Player 2" is the second, any other the
    first."""
    return seats[-1] if seat == "Player 2" else seats[0]


_PLAYED = Outcome(state="unscored", score=None, reason="planned")


class MeasuredBackend:
    """A Backend that answers a placeholder game at once with a reply of the length that the ask's format
    names."""

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend; never fails."""
        reply_format = prompt.reply_format
        assert isinstance(reply_format, MeasuredFormat)
        return _completion(reply_format.prompt_tokens, reply_format.reply_tokens)


@lru_cache(4096)
def _completion(prompt_tokens: int, reply_tokens: int) -> Completion:
    return Completion(
        text="x", finish_reason="stop", prompt_tokens=prompt_tokens, completion_tokens=reply_tokens
    )


# --- which length an episode takes ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlay:
    """One finished episode of a store, as lengths. item as in EpisodePlan; experiment within its game."""

    method: str
    model: str
    game: str
    experiment: str
    item: str
    turns: tuple[TurnLength, ...]


class EpisodeLengths:
    """The lengths of a sweep's episodes.

    Stored plays come before bots' plays; of stored plays, those of the same method before those of the same
    model, and those of the same item before those of the same experiment and of the same game.

    stored       finished episodes of stores
    by_bots      (instance, rules, chance) -> the turns of one play by bots
    turn_limits  game -> turns after which an episode ends at the latest; longer plays are cut there"""

    def __init__(
        self,
        stored: Sequence[StoredPlay],
        by_bots: Callable[[Instance, str, Random], Sequence[TurnLength]],
        *,
        turn_limits: Mapping[str, int | None],
    ) -> None:
        self._by_bots = by_bots
        self._turn_limits = turn_limits
        self._stored: dict[tuple[str, ...], list[EpisodeLength]] = {}
        self._bot_plays: dict[tuple[str, str], list[EpisodeLength]] = {}
        for play in stored:
            length = episode_length(play.turns[: turn_limits.get(play.game)])
            for player in (("method", play.method), ("model", play.model)):
                for scope in (
                    (play.game, play.experiment, play.item),
                    (play.game, play.experiment),
                    (play.game,),
                ):
                    self._stored.setdefault((*player, *scope), []).append(length)

    def draw(
        self, method: str, model: str, plan: EpisodePlan, *, repeats: int, seed: int
    ) -> Sequence[EpisodeLength]:
        """Returns one length for each repeat of the plan's item by this method."""
        known = self._known(method, model, plan)
        if known is None:
            known = self._played_by_bots(plan)
        chance = stream(seed, "shapes", method, plan.item)
        if len(known) > 1:
            known = chance.choices(
                known, k=len(known)
            )  # the plays that a store holds are a sample themselves
        return chance.choices(known, k=repeats)

    def source(self, method: str, model: str, plan: EpisodePlan) -> str:
        """Returns where the lengths come from: "method", "model" or "bots"."""
        key = self._key(method, model, plan)
        return "bots" if key is None else key[0]

    def signature(self, method: str, model: str, plan: EpisodePlan) -> int:
        """Returns a number that is equal for methods whose episodes of this item have the same distribution
        of lengths."""
        known = self._known(method, model, plan)
        return 0 if known is None else id(known)

    def _known(self, method: str, model: str, plan: EpisodePlan) -> list[EpisodeLength] | None:
        key = self._key(method, model, plan)
        return None if key is None else self._stored[key]

    def _key(self, method: str, model: str, plan: EpisodePlan) -> tuple[str, ...] | None:
        if not self._stored:
            return None
        game, experiment = plan.instance.game, plan.instance.experiment
        keys = [
            (*player, *scope)
            for player in (("method", method), ("model", model))
            for scope in ((game, experiment, plan.item), (game, experiment), (game,))
        ]
        return next((key for key in keys if key in self._stored), None)

    def _played_by_bots(self, plan: EpisodePlan) -> list[EpisodeLength]:
        key = (plan.item, plan.rules)
        if key not in self._bot_plays:
            limit = self._turn_limits.get(plan.instance.game)
            plays = [
                self._by_bots(plan.instance, plan.rules, stream(number, "lengths", plan.item))
                for number in range(BOT_PLAYS)
            ]
            self._bot_plays[key] = [episode_length(turns[:limit]) for turns in plays]
        return self._bot_plays[key]
