"""Before a sweep is played: its file, its games."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.command import lightbulb


def test_games_are_listed_and_shown() -> None:
    """The list has rule sets and counts; an instance is shown as seats see it; a misspelt game is
    corrected."""
    assert "wordle" in lightbulb("games").stdout
    assert "describer, with the reply format" in lightbulb("games", "taboo", "--instance", 3).stdout
    wrong = lightbulb("games", "tabu")
    assert wrong.returncode == 2
    assert 'did you mean "taboo"?' in wrong.stderr


def test_a_new_sweep_is_written_once(tmp_path: Path) -> None:
    """The options of the command line fill the file; an existing file stays."""
    sweep = tmp_path / "mine.toml"
    arguments = [
        "init",
        str(sweep),
        "--game",
        "taboo",
        "--model",
        "m",
        "--method",
        "w=bots",
        "--repeats",
        "2",
    ]
    assert lightbulb(*arguments).returncode == 0
    assert tomllib.loads(sweep.read_text())["models"]["m"]["methods"]["w"]["bots"]["skill"] == 0.9
    before = sweep.read_text()
    assert "exists already" in lightbulb(*arguments).stderr
    assert sweep.read_text() == before
