"""Tests of what a plan tells of games of other libraries."""

from __future__ import annotations

from harness.foreign_games.textarena_games import table, textarena_game
from harness.planning.library_notes import library_notes


def test_a_note_names_a_few_of_many_games() -> None:
    """Games with the same note share a line, which names four of them and counts the others."""
    names = [f"textarena:{name}" for name, row in table().items() if row.plays and not row.chance][:6]
    notes = list(library_notes({name: textarena_game(name) for name in names}, []))
    assert notes == [
        f"{', '.join(names[:4])} and 2 more games: the game is the same for every seed, so it has only one item"
    ]
