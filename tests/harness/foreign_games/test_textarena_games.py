"""TextArena's environments, by the table that a bench makes."""

from __future__ import annotations

import json

import pytest

from bench.textarena_table import PAGE, TABLE, page
from harness.core.errors import SpecError
from harness.foreign_games.textarena_games import SEEDS, table, textarena_game


def test_a_seed_is_an_item() -> None:
    """More items include those of fewer; the default is a number of our own."""
    game = textarena_game("textarena:Mastermind-v0")
    assert [one.id for one in game.instances(3)] == ["0", "1", "2"]
    assert game.instances(5)[:3] == game.instances(3)
    assert len(game.instances(None)) == SEEDS
    assert game.opening(game.instances(3)[2]) == {"name": "Mastermind-v0", "players": 1, "seed": 2}
    assert not game.halves


def test_a_game_without_chance_has_one_item() -> None:
    """All its seeds are one game; the note says so."""
    game = textarena_game("textarena:Nim-v0")
    assert len(game.instances(10)) == 1
    assert "one item" in game.note
    assert game.halves  # two seats share the points


def test_what_cannot_be_played_is_refused() -> None:
    """Each row that does not play has a reason, which the error repeats."""
    for name, row in table().items():
        if not row.plays:
            with pytest.raises(SpecError, match="cannot be played: it "):
                textarena_game(f"textarena:{name}")
            assert row.reason
    with pytest.raises(SpecError, match="no environment 'Chess'"):
        textarena_game("textarena:Chess")


def test_most_environments_play() -> None:
    """The table has the environments of the release, and about three of four play here."""
    rows = table().values()
    assert len(rows) > 200
    assert sum(row.plays for row in rows) > 150
    assert all(row.seats in (1, 2) for row in rows if row.plays)


def test_the_documentation_shows_the_table() -> None:
    """docs/textarena.md is what the bench makes of the table."""
    rows = json.loads(TABLE.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == page(rows)
