"""What our own sets hold, and that they hold none of the traps that the published ones do."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

from games import GAMES
from games.clembench import READERS
from games.instances import HERE, five_letter_words, read_set, stop_words
from games.instances.make import every_set
from games.taboo import stem
from harness.core.vocabulary import Instance

EVERY_GAME = pytest.mark.parametrize("game", GAMES)
PUBLISHED_COUNTS = {
    "taboo": {"everyday": 20, "familiar": 20, "rare": 20},
    "wordle": {"common": 10, "medium": 20},
    "wordle_withclue": {"common": 10, "medium": 20},
    "wordle_withcritic": {"common": 10, "medium": 20},
    "imagegame": {"pictures": 20, "scattered": 20},
    "referencegame": dict.fromkeys(("rows", "columns", "diagonals", "letters", "figures", "scattered"), 30),
    "privateshared": dict.fromkeys(
        ("hotel-booking", "pet-adoption", "bike-repair", "museum-rooms", "locker-codes"), 10
    ),
}


def values(instance: Instance, name: str) -> list[str]:
    value = instance.fields[name]
    assert isinstance(value, list | dict)
    return list(value.values() if isinstance(value, dict) else value)


@EVERY_GAME
def test_as_many_as_published(game: str) -> None:
    """Each game has as many instances of ours as the published set has, in as many experiments, none twice."""
    instances = GAMES[game].instances()
    counts = {
        name: sum(one.experiment == name for one in instances)
        for name in dict.fromkeys(one.experiment for one in instances)
    }
    assert counts == PUBLISHED_COUNTS[game]
    assert len({one.content_hash for one in instances}) == len(instances)
    assert {one.set_name for one in instances} == {"own-1"}
    for one in instances:
        READERS[game](one)


def test_made_again() -> None:
    """Making the sets anew gives the committed files, byte for byte."""
    made = dict(every_set())
    assert set(made) == set(GAMES)
    for game, text in made.items():
        assert (HERE / f"{game}.json").read_bytes() == text.encode()


def test_made_by_command(tmp_path: Path) -> None:
    """The command writes the same files, whatever the hash seed."""
    run(
        [sys.executable, "-m", "games.instances.make", "--out", str(tmp_path)],
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (HERE / path.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == len(GAMES)


@EVERY_GAME
def test_size(game: str) -> None:
    """No file is a burden."""
    assert (HERE / f"{game}.json").stat().st_size < 300_000


def test_taboo_words() -> None:
    """No forbidden word is overlooked by the rules or is one with another, and targets differ."""
    instances = GAMES["taboo"].instances()
    assert len({one.fields["target_word"] for one in instances}) == 60
    for one in instances:
        forbidden = [str(one.fields["target_word"]), *values(one, "related_word")]
        assert len({stem(word) for word in forbidden}) == 4
        assert not stop_words() & set(forbidden)
        assert len(values(one, "associations")) == 6
        assert not {stem(word) for word in values(one, "associations")} & {stem(word) for word in forbidden}


def test_stop_words() -> None:
    """The published list has 179 words."""
    assert len(stop_words()) == 179


def test_wordle_words() -> None:
    """Targets are accepted words, differ, and are not told by their clues; the variants share them."""
    plain, clued, criticised = (
        GAMES[game].instances() for game in ("wordle", "wordle_withclue", "wordle_withcritic")
    )
    targets = [str(one.fields["target_word"]) for one in plain]
    assert len(set(targets)) == 30
    assert set(targets) <= set(five_letter_words())
    for variant in (clued, criticised):
        assert [one.fields["target_word"] for one in variant] == targets
        assert all(
            str(one.fields["target_word"]) not in str(one.fields["target_word_clue"]) for one in variant
        )
    assert plain[0].fields["english_words"] is criticised[29].fields["english_words"]
    assert len(five_letter_words()) > 10_000


def test_reference_targets() -> None:
    """The target stands at each place equally often, and no two of the three grids are alike."""
    instances = GAMES["referencegame"].instances()
    for number, one in enumerate(instances):
        shown = [one.fields[f"player_2_{place}_grid"] for place in ("first", "second", "third")]
        assert len(set(shown)) == 3
        assert shown[number % 3] == one.fields["player_1_target_grid"]
        assert values(one, "target_grid_name")[0] == ("first", "second", "third")[number % 3]


def test_private_values() -> None:
    """No value stands inside another, nor in anything that is said before it is asked for but the line that gives it."""
    for one in GAMES["privateshared"].instances():
        slots = one.fields["slots"]
        assert isinstance(slots, dict)
        for slot, value in slots.items():
            others = [other.lower() for name, other in slots.items() if name != slot]
            assert not any(value.lower() in other for other in others)
            prompt = str(one.fields["initial_prompt"]).replace(f"{slot.upper()}: {value}", "")
            assert value.lower() not in prompt.lower()


def test_content_hashes_stay() -> None:
    """Stores are resumed by them: as long as the set has its version, so has this one its hash, ten thousand words included."""
    first = GAMES["wordle"].instances()[0]
    assert (first.set_name, first.content_hash) == ("own-1", "b070f2be6986e69d71711263366f121e")


def test_content_hash(tmp_path: Path) -> None:
    """A puzzle's hash follows its own fields, what its experiment shares and the words it accepts, and not the spacing of the file."""

    def hash_of(text: str) -> str:
        path = tmp_path / "wordle.json"
        path.write_text(text, encoding="utf-8")
        return read_set(path, "wordle", "test")[0].content_hash

    text = '{"experiments": [{"name": "e", "english_words": ["start"], "game_instances": [{"game_id": 1, "target_word": "start"}]}]}'
    same = hash_of(text)
    assert hash_of(text.replace(": ", " :\n")) == same
    assert hash_of(text.replace('"name": "e"', '"name": "f"')) == same
    assert hash_of(text.replace('["start"]', '["start", "crane"]')) != same
    assert hash_of(text.replace('"game_id": 1', '"game_id": 2')) != same
    assert hash_of(text.replace('"name": "e"', '"name": "e", "use_clue": true')) != same
