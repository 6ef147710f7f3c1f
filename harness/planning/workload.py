"""Counts what each access method plays: episodes, turns, tokens and dollars.

Joins a sweep to the lengths of its episodes; the only place that does, so that `plan` and `audit --plan`
count alike. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from games import GAMES
from games.playthrough import play_by_bots
from harness.access.methods import access_method
from harness.config.episode_plans import GameSet, lane
from harness.config.sweep import Seating, SweepSpec
from harness.core.vocabulary import AccessMethod, EpisodePlan, Instance, game_library
from harness.planning.episode_lengths import (
    CHARACTERS_A_TOKEN,
    EpisodeLength,
    EpisodeLengths,
    StoredPlay,
    TurnLength,
)
from harness.store.plan_queries import PlayRow, plays
from harness.store.query_server import Readable

# Bots play better than most models, so that planned episodes are too long rather than too short.
SKILL = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The turns and tokens of some episodes."""

    turns: int
    prompt_tokens: int
    reply_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodEpisodes:
    """One method's episodes.

    items    one plan for each of its items
    plans    returns all its plans, in playing order
    copies   plans of each item: repeats times arms"""

    access: AccessMethod
    items: Sequence[EpisodePlan]
    plans: Callable[[], Iterator[EpisodePlan]]
    copies: int

    @property
    def method(self) -> str:
        return self.access.name

    @property
    def model(self) -> str:
        return self.access.model

    def draw(self, lengths: EpisodeLengths, seed: int) -> dict[str, Sequence[EpisodeLength]]:
        """Returns for each item the lengths of its plans under this seed."""
        return {
            plan.item: lengths.draw(self.method, self.model, plan, repeats=self.copies, seed=seed)
            for plan in self.items
        }

    def workload(self, lengths: EpisodeLengths, seed: int = 0) -> Workload:
        """Returns what all its episodes take under this seed."""
        return total_workload(length for of_item in self.draw(lengths, seed).values() for length in of_item)

    def cost_usd(self, work: Workload) -> float | None:
        """Returns the price of this work through the method; None where its prices are unknown."""
        prices = self.access.prices
        if prices is None:
            return None
        return prices.cost_usd(
            prompt_tokens=work.prompt_tokens, cached_tokens=None, completion_tokens=work.reply_tokens
        )


def total_workload(lengths: Iterable[EpisodeLength]) -> Workload:
    turns = prompt_tokens = reply_tokens = 0
    for length in lengths:
        turns += length.turns
        prompt_tokens += length.prompt_tokens
        reply_tokens += length.reply_tokens
    return Workload(turns=turns, prompt_tokens=prompt_tokens, reply_tokens=reply_tokens)


def method_episodes(
    spec: SweepSpec, sets: Mapping[str, GameSet], name: str, *, concurrency: int, source: Path
) -> MethodEpisodes:
    """Returns the episodes of one method of the sweep.

    spec         resolved: with its providers' addresses and prices
    sets         the chosen instances of each game
    concurrency  calls in flight at its gate
    source       the sweep file, for errors and relative paths"""
    model, part = spec.methods()[name]
    access = access_method(
        name, model, part, None, part.base_url or "", concurrency=concurrency, source=source
    )
    items = [
        EpisodePlan(instance=one, rules=chosen.rules, seating=(name,) * chosen.seats)
        for chosen in sets.values()
        if chosen.self_play
        for one in chosen.instances
    ]

    def plans() -> Iterator[EpisodePlan]:
        return lane(
            Seating((name,)), sets, repeats=spec.repeats, seed=spec.seed, stored=(), arms=spec.arms(name)
        )

    return MethodEpisodes(access=access, items=items, plans=plans, copies=spec.repeats * len(spec.arms(name)))


# --- lengths --------------------------------------------------------------------------------------------


GUESSED_TURNS = [
    TurnLength(seat="player 1", prompt_tokens=400 + 150 * turn, reply_tokens=60) for turn in range(6)
]


def bot_turns(instance: Instance, rules: str, chance: Random) -> list[TurnLength]:
    """Returns the turns of one play by the game's own bots; tokens are estimated from characters. The play of
    a game of another library is a guess: a store with such plays (`--from`) is better."""
    if game_library(instance.game) is not None:
        return GUESSED_TURNS
    play = play_by_bots(GAMES[instance.game], instance, rules, skill=SKILL, chance=chance)
    return [
        TurnLength(
            seat=ask.seat,
            prompt_tokens=sum(_tokens(message.text) for message in ask.messages),
            reply_tokens=_tokens(reply),
        )
        for ask, reply in zip(play.asks, play.replies, strict=True)
    ]


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_A_TOKEN)


def stored_plays(connection: Readable, *, every: bool = False) -> list[StoredPlay]:
    """Reads the finished episodes of a store as lengths; with `every` also those of a part that has not
    ended."""
    return [_stored_play(row) for row in plays(connection, every=every)]


def _stored_play(row: PlayRow) -> StoredPlay:
    return StoredPlay(
        method=row.method,
        model=row.model,
        game=row.game,
        experiment=row.experiment,
        item=row.item,
        turns=tuple(
            TurnLength(seat=seat, prompt_tokens=prompt, reply_tokens=reply)
            for seat, prompt, reply in zip(row.seats, row.prompt_tokens, row.reply_tokens, strict=True)
        ),
    )
