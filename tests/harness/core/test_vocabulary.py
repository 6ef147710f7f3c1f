"""Names of games in names of items."""

from __future__ import annotations

import pytest

from harness.core.vocabulary import game_library, game_of_item


@pytest.mark.parametrize(
    ("item", "game", "library"),
    [
        ("taboo:v1.6b:own-1:rare:3:ab", "taboo", None),
        ("clem:taboo:clemcore-3.7.2:instances:rare:3:ab", "clem:taboo", "clem"),
        ("textarena:Nim-v0:textarena-0.7.3:seeds:all:0:ab", "textarena:Nim-v0", "textarena"),
    ],
)
def test_an_item_begins_with_its_game(item: str, game: str, library: str | None) -> None:
    """A game of another library has a colon in its name, which its items keep."""
    assert game_of_item(item) == game
    assert game_library(game) == library
