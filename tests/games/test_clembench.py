from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from games import GAMES
from games.clembench import read_instances
from games.playthrough import play_by_bots
from harness.core.errors import SpecError
from harness.core.seeds import stream

COUNTS = {
    "taboo": 60,
    "wordle": 30,
    "wordle_withclue": 30,
    "wordle_withcritic": 30,
    "imagegame": 40,
    "referencegame": 180,
    "privateshared": 50,
}


@pytest.mark.parametrize("game", GAMES)
def test_every_published_instance(clembench: Path, game: str) -> None:
    """All 420 instances are read and differ, and a perfect bot wins each one under both rule sets."""
    instances = read_instances(clembench, game)
    assert len(instances) == len({instance.content_hash for instance in instances}) == COUNTS[game]
    assert {instance.set_name for instance in instances} == {"clembench-v1.6"}
    for instance in instances:
        for rules in GAMES[game].rule_sets:
            outcome = play_by_bots(GAMES[game], instance, rules, skill=1, chance=stream(0)).outcome
            assert outcome is not None
            assert outcome.score == 100


def checkout(root: Path, game: str, experiment: dict[str, Any]) -> Path:
    """Makes a checkout with one experiment of one game."""
    folder = root / "games" / game / "in"
    folder.mkdir(parents=True)
    (folder / "instances.json").write_text(json.dumps({"experiments": [experiment]}), encoding="utf-8")
    return root


TABOO = {
    "name": "e",
    "max_turns": 3,
    "describer_initial_prompt": "",
    "guesser_initial_prompt": "",
    "game_instances": [{"game_id": 0, "target_word": "a", "related_word": ["b", "c", "d"]}],
}


def test_layout(tmp_path: Path) -> None:
    """The reader finds games in a checkout's folder `games`."""
    instance, *others = read_instances(checkout(tmp_path, "taboo", TABOO), "taboo")
    assert not others
    assert (instance.experiment, instance.id, instance.fields["target_word"]) == ("e", "0", "a")


@pytest.mark.parametrize(
    ("game", "change", "complaint"),
    [
        (
            "taboo",
            {"max_turns": "3"},
            "instance 0 of e in clembench-v1.6: field 'max_turns' is not a whole number",
        ),
        (
            "taboo",
            {"max_turns": -1},
            "instance 0 of e in clembench-v1.6: field 'max_turns' is -1; it must be at least 1",
        ),
        (
            "taboo",
            {"game_instances": [{"game_id": 0, "target_word": "\ud800", "related_word": []}]},
            "instance 0 of e in clembench-v1.6: field 'target_word' has half a surrogate pair",
        ),
        (
            "taboo",
            {"game_instances": [{"game_id": 0, "target_word": "a", "related_word": ["\udfff"]}]},
            "instance 0 of e in clembench-v1.6: field 'related_word' has half a surrogate pair",
        ),
        ("taboo", {"name": "\ud800"}, "name has half a surrogate pair"),
        ("taboo", {"game_instances": [{"game_id": 1}, {"game_id": 1}]}, "has game_id 1 twice"),
        ("taboo", {"game_instances": None}, "key 'game_instances' is missing"),
        ("taboo", {"game_instances": [{}]}, "without a whole number as 'game_id'"),
        ("taboo", {"name": 1}, "without a 'name'"),
        ("wordle", {"lang_keywords": {}}, "later version than v1.6.*lang_keywords"),
        (
            "referencegame",
            {"game_instances": [{"game_id": 0, "p1_mode": "strict"}]},
            "later version than v1.6.*p1_mode",
        ),
        (
            "imagegame",
            {"game_instances": [{"game_id": 0, "player_1_response_pattern": "^command: [^\n]+$"}]},
            "later version than v1.6.*'command:'",
        ),
        ("privateshared", {}, "does not name one language"),
        (
            "privateshared",
            {"game_instances": [{"game_id": 0, "lang": "en"}]},
            "en_words.json: cannot be read",
        ),
    ],
)
def test_refusals(tmp_path: Path, game: str, change: dict[str, Any], complaint: str) -> None:
    """Later versions and broken files are refused, with the file and the place in the message."""
    root = checkout(tmp_path, game, {**TABOO, **change})
    with pytest.raises(SpecError, match=complaint) as caught:
        read_instances(root, game)
    assert str(root) in str(caught.value)


def test_no_checkout(tmp_path: Path) -> None:
    """The error names a folder that lacks the game."""
    with pytest.raises(SpecError, match="neither games/taboo nor taboo"):
        read_instances(tmp_path, "taboo")


def test_not_json(tmp_path: Path) -> None:
    """The error names a file that is not JSON."""
    folder = tmp_path / "taboo" / "in"
    folder.mkdir(parents=True)
    (folder / "instances.json").write_text("{", encoding="utf-8")
    with pytest.raises(SpecError, match=r"instances\.json: is not JSON"):
        read_instances(tmp_path, "taboo")
