"""Our own instance sets are complete, and free of the faults that the published sets have."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

from games import GAMES
from games.clembench import READERS
from games.instances import HERE, five_letter_words, read_set, stop_words
from games.instances.make import every_set
from games.stemmer import stem
from harness.core.vocabulary import Instance

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


AFTER_CLEMBENCH = pytest.mark.parametrize("game", PUBLISHED_COUNTS)


def values(instance: Instance, name: str) -> list[str]:
    value = instance.fields[name]
    assert isinstance(value, list | dict)
    return list(value.values() if isinstance(value, dict) else value)


@AFTER_CLEMBENCH
def test_as_many_as_published(game: str) -> None:
    """Each of our sets has the number of instances and experiments of the published set, none twice."""
    instances = GAMES[game].instances()
    counts = {
        name: sum(instance.experiment == name for instance in instances)
        for name in dict.fromkeys(instance.experiment for instance in instances)
    }
    assert counts == PUBLISHED_COUNTS[game]
    assert len({instance.content_hash for instance in instances}) == len(instances)
    assert {instance.set_name for instance in instances} == {"own-1"}
    for instance in instances:
        READERS[game](instance)


def test_made_again() -> None:
    """The program makes the committed files, byte for byte."""
    made = dict(every_set())
    assert set(made) == {path.stem for path in HERE.glob("*.json")} - {"privateshared_facts"}
    assert set(made) == set(PUBLISHED_COUNTS)
    for game, text in made.items():
        assert (HERE / f"{game}.json").read_bytes() == text.encode()


def test_made_by_command(tmp_path: Path) -> None:
    """The command writes the same files under any hash seed."""
    run(
        [sys.executable, "-m", "games.instances.make", "--out", str(tmp_path)],
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (HERE / path.name).read_bytes()
    assert {path.stem for path in tmp_path.iterdir()} == set(PUBLISHED_COUNTS)


@AFTER_CLEMBENCH
def test_size(game: str) -> None:
    """Each file is small."""
    assert (HERE / f"{game}.json").stat().st_size < 300_000


def test_taboo_words() -> None:
    """No forbidden word is a stop word or shares a stem with another one, and targets differ."""
    instances = GAMES["taboo"].instances()
    assert len({instance.fields["target_word"] for instance in instances}) == 60
    for instance in instances:
        forbidden = [str(instance.fields["target_word"]), *values(instance, "related_word")]
        assert len({stem(word) for word in forbidden}) == 4
        assert not stop_words() & set(forbidden)
        assert len(values(instance, "associations")) == 6
        assert not {stem(word) for word in values(instance, "associations")} & {
            stem(word) for word in forbidden
        }


def test_stop_words() -> None:
    """The published list has 179 words."""
    assert len(stop_words()) == 179


def test_wordle_words() -> None:
    """Targets are accepted words, differ, and do not stand in their clues; the variants share them."""
    plain, clued, criticised = (
        GAMES[game].instances() for game in ("wordle", "wordle_withclue", "wordle_withcritic")
    )
    targets = [str(instance.fields["target_word"]) for instance in plain]
    assert len(set(targets)) == 30
    assert set(targets) <= set(five_letter_words())
    for variant in (clued, criticised):
        assert [instance.fields["target_word"] for instance in variant] == targets
        assert all(
            str(instance.fields["target_word"]) not in str(instance.fields["target_word_clue"])
            for instance in variant
        )
    assert plain[0].fields["english_words"] is criticised[29].fields["english_words"]
    assert len(five_letter_words()) > 10_000


def test_reference_targets() -> None:
    """The target stands at each place equally often, and the three grids of an instance differ."""
    instances = GAMES["referencegame"].instances()
    for number, instance in enumerate(instances):
        shown = [instance.fields[f"player_2_{place}_grid"] for place in ("first", "second", "third")]
        assert len(set(shown)) == 3
        assert shown[number % 3] == instance.fields["player_1_target_grid"]
        assert values(instance, "target_grid_name")[0] == ("first", "second", "third")[number % 3]


def test_private_values() -> None:
    """No value stands inside another instance, nor in any text of the game but its own line of the prompt."""
    for instance in GAMES["privateshared"].instances():
        slots = instance.fields["slots"]
        assert isinstance(slots, dict)
        for slot, value in slots.items():
            others = [other.lower() for name, other in slots.items() if name != slot]
            assert not any(value.lower() in other for other in others)
            prompt = str(instance.fields["initial_prompt"]).replace(f"{slot.upper()}: {value}", "")
            assert value.lower() not in prompt.lower()


def test_content_hashes_stay() -> None:
    """A set of the same version keeps its content hashes, by which stores are resumed."""
    first = GAMES["wordle"].instances()[0]
    assert (first.set_name, first.content_hash) == ("own-1", "b070f2be6986e69d71711263366f121e")


def test_content_hash(tmp_path: Path) -> None:
    """The hash covers an instance's fields, shared fields and words, but not the file's spacing."""

    def hash_of(text: str) -> str:
        path = tmp_path / "wordle.json"
        path.write_text(text, encoding="utf-8")
        return read_set(path, "wordle", "test")[0].content_hash

    entry = '{"game_id": 1, "target_word": "start"}'
    text = '{"experiments": [{"name": "e", "english_words": ["start"], "game_instances": [' + entry + "]}]}"
    same = hash_of(text)
    assert hash_of(text.replace(": ", " :\n")) == same
    assert hash_of(text.replace('"name": "e"', '"name": "f"')) == same
    assert hash_of(text.replace('["start"]', '["start", "crane"]')) != same
    assert hash_of(text.replace('"game_id": 1', '"game_id": 2')) != same
    assert hash_of(text.replace('"name": "e"', '"name": "e", "use_clue": true')) != same
