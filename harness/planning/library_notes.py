"""Says what a plan should tell of games of other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.foreign_games.catalog import ForeignGame
from harness.planning.results import MethodPlan


def library_notes(games: Mapping[str, object], methods: Sequence[MethodPlan]) -> Iterator[str]:
    """Yields the note of each game; and a warning if lengths are guesses, because no bots play these games,
    with the length that an episode has at most.

    games   the sweep's games, by name; those of our own have no notes
    methods with the sources of the lengths"""
    foreign = [game for game in games.values() if isinstance(game, ForeignGame)]
    yield from (f"{game.name}: {game.note}" for game in foreign if game.note)
    limits = " or ".join(f"{limit:,}" for limit in sorted({game.turns_max for game in foreign}))
    if foreign and any("bots" in method.lengths for method in methods):
        yield (
            f"{', '.join(game.name for game in foreign)}: the lengths are guesses, because no bots play these "
            f"games; name a store with such plays with --from; an episode has at most {limits} turns (turns_max)"
        )
