"""The games of a checkout in clembench's layout; the checkout here is a toy of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.core.errors import SpecError
from harness.foreign_games.clembench_games import clem_game, listed

CHECKOUT = Path(__file__).parents[2] / "data" / "clem_games"


def test_a_game_of_a_checkout() -> None:
    """Seats, instances and rules come from its files; two plays of one file give the same items."""
    game = clem_game("clem:nextnumber", CHECKOUT, stop_words=("the",))
    assert (game.seats, game.library, game.process) == (("player 1", "player 2"), "clem", "clem:nextnumber")
    assert [one.id for one in game.instances(None)] == ["0", "1", "2"]
    assert len({one.content_hash for one in game.instances(None)}) == 3
    opening = game.opening(game.instances(None)[1])
    assert (opening["name"], opening["experiment"], opening["id"]) == ("nextnumber", "small", "1")
    assert game.rule_sets[0].startswith("clemcore-")


def test_other_code_is_another_rule_set(tmp_path: Path) -> None:
    """A change of a game's code makes other items; the same code elsewhere does not."""
    copy = shutil.copytree(CHECKOUT, tmp_path / "copy")
    rules = clem_game("clem:dice", CHECKOUT, stop_words=()).rule_sets
    assert clem_game("clem:dice", copy, stop_words=()).rule_sets == rules
    other = shutil.copytree(CHECKOUT, tmp_path / "other")
    (other / "twins" / "constants.py").write_text("SIDES = 8\n", encoding="utf-8")
    assert clem_game("clem:dice", other, stop_words=()).rule_sets != rules


def test_the_list_says_what_plays() -> None:
    """Every spec of every file has a row; a game with images does not play, and says why."""
    rows = {row.name: row for row in listed(CHECKOUT)}
    assert rows.keys() == {"clem:nextnumber", "clem:dice", "clem:slow", "clem:painting"}
    assert (rows["clem:nextnumber"].plays, rows["clem:nextnumber"].seats) == (True, 2)
    assert (rows["clem:painting"].plays, rows["clem:painting"].reason) == (
        False,
        "it shows images, but lightbulb sends text only",
    )


def test_what_cannot_be_played_is_refused(tmp_path: Path) -> None:
    """An unknown game, a game with images, a missing checkout and a broken file are each one sentence."""

    def words(name: str, checkout: Path) -> str:
        with pytest.raises(SpecError) as caught:
            clem_game(name, checkout, stop_words=()).instances(None)
        return str(caught.value)

    assert "has no game 'clem:nothing'; it has nextnumber, dice" in words("clem:nothing", CHECKOUT)
    assert "clem:painting cannot be played: it shows images" in words("clem:painting", CHECKOUT)
    assert "no folder in it has a clemgame.json" in words("clem:dice", tmp_path)
    copy = shutil.copytree(CHECKOUT, tmp_path / "copy")
    file = copy / "twins" / "in" / "instances.json"
    content = json.loads(file.read_text("utf-8"))
    content["experiments"][0]["game_instances"][1]["game_id"] = 0
    file.write_text(json.dumps(content), encoding="utf-8")
    assert "experiment dice has game_id 0 twice" in words("clem:dice", copy)
    file.write_text("[", encoding="utf-8")
    assert "is not JSON" in words("clem:slow", copy)
    file.unlink()
    assert "its instances are not in the checkout" in words("clem:dice", copy)
