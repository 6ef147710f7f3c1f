"""Describes the environments of the installed TextArena release, from the table textarena.json.

bench/textarena_table.py makes the table. Keeps: a seed is an item, and more items include those of fewer; an
environment without chance has one item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, digest
from harness.foreign_games.catalog import ForeignGame, ListedGame, any_reply
from harness.foreign_games.libraries import TEXTARENA, release

TABLE = Path(__file__).with_name("textarena.json")
TOKENS_MAX = 1000  # the limit of TextArena's own agents, where they state one
TURNS_TYPICAL = 8
SEEDS = 20  # items of a sweep that does not say how many
SET_NAME, EXPERIMENT = "seeds", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRow:
    """A row of the table.

    seats   the smallest number of players that it accepts; 0: it does not start
    chance  whether a random number may be drawn"""

    seats: int
    plays: bool
    reason: str
    chance: bool


@cache
def table() -> Mapping[str, EnvironmentRow]:
    """Returns the environments by name, in TextArena's order."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))
    return {name: EnvironmentRow(**row) for name, row in rows.items()}


def listed() -> list[ListedGame]:
    """Returns a row for each environment."""
    return [
        ListedGame(
            name=f"{TEXTARENA}:{name}",
            seats=row.seats,
            plays=row.plays,
            reason=row.reason or _note(name, row),
        )
        for name, row in table().items()
    ]


def textarena_game(name: str) -> ForeignGame:
    """Returns the game `textarena:ID`.

    raises  SpecError if there is no such environment, or it cannot be played"""
    environment = name.removeprefix(f"{TEXTARENA}:")
    row = table().get(environment)
    if row is None:
        raise SpecError(f"there is no environment {environment!r}; `lightbulb games --all` lists them")
    if not row.plays:
        raise SpecError(f"{name} cannot be played: it {row.reason}")
    seats = row.seats

    def instances(wanted: int | None) -> list[Instance]:
        return [_instance(name, seed) for seed in range((wanted or SEEDS) if row.chance else 1)]

    def opening(instance: Instance) -> Mapping[str, object]:
        return {"name": environment, "players": seats, "seed": int(instance.id)}

    return ForeignGame(
        name=name,
        library=TEXTARENA,
        summary=f"TextArena's {environment}",
        seats=tuple(f"player {number + 1}" for number in range(seats)),
        rule_sets=(release(TEXTARENA),),
        turns_typical=TURNS_TYPICAL,
        instances=instances,
        opening=opening,
        process=TEXTARENA,
        reply_format=any_reply(TOKENS_MAX),
        halves=seats == 2,
        note=_note(name, row),
    )


def _note(name: str, row: EnvironmentRow) -> str:
    return "" if row.chance else "the game is the same for every seed, so it has only one item"


def _instance(game: str, seed: int) -> Instance:
    return Instance(
        game=game,
        set_name=SET_NAME,
        experiment=EXPERIMENT,
        id=str(seed),
        fields={},
        content_hash=digest(game, str(seed)),
    )
