"""How long episodes are: who is asked, how much is read and how much is written, turn by turn. Knows lengths, never texts.

A shape is one whole play as lengths, from a bot's play or from a store. Stand-in games ask what a shape says, so that the engine plays
them like any other. Keeps: which shape an episode takes depends on its method, item and repeat alone, and on the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

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

CHARACTERS_A_TOKEN = 4  # as the gates begin to reckon with
LUCK = 3  # plays of each item by bots


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSize:
    """One turn: tokens of its prompt, its history included, and of its reply."""

    seat: str
    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredFormat(ReplyFormat):
    """A form whose reply's length is known beforehand."""

    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """One play as lengths, and the asks that a stand-in game makes of them; shared by all episodes that take it."""

    asks: tuple[Ask, ...]
    prompt_tokens: int
    reply_tokens: int

    @property
    def turns(self) -> int:
        return len(self.asks)


def shape_of(sizes: Sequence[TurnSize]) -> Shape:
    """The play with these turns. A seat's history grows by what its prompts grow; one that shrinks begins anew."""
    histories: dict[str, tuple[int, tuple[Message, ...]]] = {}
    asks = []
    for size in sizes:
        known, messages = histories.get(size.seat, (0, ()))
        if size.prompt_tokens < known:
            known, messages = 0, ()
        grown = size.prompt_tokens - known
        if grown or not messages:
            messages = (*messages, _message(grown))
        histories[size.seat] = (size.prompt_tokens, messages)
        reply_format = _measured(size.prompt_tokens, size.reply_tokens)
        asks.append(Ask(seat=size.seat, messages=messages, reply_format=reply_format))
    return Shape(
        asks=tuple(asks),
        prompt_tokens=sum(size.prompt_tokens for size in sizes),
        reply_tokens=sum(size.reply_tokens for size in sizes),
    )


@lru_cache(4096)
def _message(tokens: int) -> Message:
    return Message("user", "x" * (CHARACTERS_A_TOKEN * tokens))


@lru_cache(4096)
def _measured(prompt_tokens: int, reply_tokens: int) -> MeasuredFormat:
    return MeasuredFormat(regex="x", prompt_tokens=prompt_tokens, reply_tokens=reply_tokens)


def stand_ins(games: Mapping[str, Game]) -> dict[str, Game]:
    """Games of the same names and seats that play the shape which `shaped` puts into an instance."""
    return {name: replace(game, play=_play) for name, game in games.items()}


def shaped(plan: EpisodePlan, shape: Shape) -> EpisodePlan:
    """The plan, to be played by a stand-in game as this shape says. Its key stays."""
    return replace(plan, instance=replace(plan.instance, fields={"shape": shape}))


def _play(instance: Instance, rules: str) -> Play:
    shape = instance.fields["shape"]
    assert isinstance(shape, Shape)
    for ask in shape.asks:
        _reply = yield ask
    return _PLAYED


_PLAYED = Outcome(state="unscored", score=None, reason="planned")


class MeasuredBackend:
    """A Backend that answers a stand-in game at once with a reply of the length its ask names."""

    async def complete(self, prompt: Prompt) -> Completion:
        """See Backend; never fails."""
        reply_format = prompt.reply_format
        assert isinstance(reply_format, MeasuredFormat)
        return _answer(reply_format.prompt_tokens, reply_format.reply_tokens)


@lru_cache(4096)
def _answer(prompt_tokens: int, reply_tokens: int) -> Completion:
    return Completion(
        text="x", finish_reason="stop", prompt_tokens=prompt_tokens, completion_tokens=reply_tokens
    )


# --- which shape an episode takes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlay:
    """One finished episode of a store, as lengths. item as in EpisodePlan; experiment within its game."""

    method: str
    model: str
    game: str
    experiment: str
    item: str
    sizes: tuple[TurnSize, ...]


class Shapes:
    """The shapes of a sweep's episodes: what stores hold first, of the same method before another of the same model, of the same item
    before the same experiment before the same game; bots where stores hold nothing.

    by_bots   (instance, rules, chance) -> the lengths of one play by bots"""

    def __init__(
        self, plays: Sequence[StoredPlay], by_bots: Callable[[Instance, str, Random], Sequence[TurnSize]]
    ) -> None:
        self._by_bots = by_bots
        self._stored: dict[tuple[str, ...], list[Shape]] = {}
        self._made: dict[tuple[str, str], list[Shape]] = {}
        for play in plays:
            shape = shape_of(play.sizes)
            for who in (("method", play.method), ("model", play.model)):
                for what in (
                    (play.game, play.experiment, play.item),
                    (play.game, play.experiment),
                    (play.game,),
                ):
                    self._stored.setdefault((*who, *what), []).append(shape)

    def of(self, method: str, model: str, plan: EpisodePlan, *, repeats: int, seed: int) -> Sequence[Shape]:
        """One shape for each repeat of this plan's item by this method."""
        known = self._known(method, model, plan)
        if known is None:
            known = self._bots(plan)
        chance = stream(seed, "shapes", method, plan.item)
        if len(known) > 1:
            known = chance.choices(known, k=len(known))  # which plays happened to be stored is luck too
        return chance.choices(known, k=repeats)

    def source(self, method: str, model: str, plan: EpisodePlan) -> str:
        """Where its lengths come from: "method", "model" or "bots"."""
        known = self._key(method, model, plan)
        return "bots" if known is None else known[0]

    def signature(self, method: str, model: str, plan: EpisodePlan) -> int:
        """Equal for methods whose episodes of this item have the same chances."""
        known = self._known(method, model, plan)
        return 0 if known is None else id(known)

    def _known(self, method: str, model: str, plan: EpisodePlan) -> list[Shape] | None:
        key = self._key(method, model, plan)
        return None if key is None else self._stored[key]

    def _key(self, method: str, model: str, plan: EpisodePlan) -> tuple[str, ...] | None:
        if not self._stored:
            return None
        game, experiment = plan.instance.game, plan.instance.experiment
        places = [
            (*who, *what)
            for who in (("method", method), ("model", model))
            for what in ((game, experiment, plan.item), (game, experiment), (game,))
        ]
        return next((place for place in places if place in self._stored), None)

    def _bots(self, plan: EpisodePlan) -> list[Shape]:
        key = (plan.item, plan.rules)
        if key not in self._made:
            self._made[key] = [
                shape_of(self._by_bots(plan.instance, plan.rules, stream(number, "lengths", plan.item)))
                for number in range(LUCK)
            ]
        return self._made[key]
