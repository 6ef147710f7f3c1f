"""Says what a plan should tell of games of other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.foreign_games.catalog import ForeignGame
from harness.planning.results import MethodPlan

NAMES_SHOWN = 4


def library_notes(games: Mapping[str, object], methods: Sequence[MethodPlan]) -> Iterator[str]:
    """Yields each note with its games; and a warning if lengths are guesses, because no bots play these
    games, with the length that an episode has at most.

    games   the sweep's games, by name; those of our own have no notes
    methods with the sources of the lengths"""
    foreign = [game for game in games.values() if isinstance(game, ForeignGame)]
    for note in dict.fromkeys(game.note for game in foreign if game.note):
        yield f"{_names([game.name for game in foreign if game.note == note])}: {note}"
    limits = " or ".join(f"{limit:,}" for limit in sorted({game.turns_max for game in foreign}))
    if foreign and any("bots" in method.lengths for method in methods):
        yield (
            f"{_names([game.name for game in foreign])}: the lengths are guesses, because no bots play these "
            f"games; name a store with such plays with --from; an episode has at most {limits} turns (turns_max)"
        )


def _names(games: Sequence[str]) -> str:
    """Returns the names of games, of many the first."""
    others = len(games) - NAMES_SHOWN
    return ", ".join(games) if others <= 0 else f"{', '.join(games[:NAMES_SHOWN])} and {others} more games"
