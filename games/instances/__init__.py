"""Our own instance sets, and the reader of files in their layout (clembench's): experiments with shared
fields.

    make.py       writes the sets from the word files beside it
    LICENCES.md   says where the words come from

Knows files and JSON, no rules. Keeps: a set is read once, the fields that an experiment shares are stored
once, and the content hash covers both, word lists included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import overload

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_text
from harness.core.vocabulary import Instance, digest, framed, storable

HERE = Path(__file__).parent
INSTANCES_BYTES_MAX = 64 * MIB  # the largest instance file of clembench v1.6 has half a MiB


class WordList(Sequence[str]):
    """A list of words with a fast membership test, compared by identity so that thousands of instances can
    share it.

    framed   the whole list as bytes for digests, kept because framing 10,000 words takes longer than hashing
             them"""

    __slots__ = ("_known", "_words", "framed")

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._known = frozenset(self._words)
        self.framed = framed(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._words[index]


@cache
def own_set(game: str) -> tuple[Instance, ...]:
    """Returns our instances of this game, in order."""
    path = HERE / f"{game}.json"
    return read_set(path, game, f"own-{json_object(path)['version']}")


def read_set(path: Path, game: str, set_name: str) -> tuple[Instance, ...]:
    """Reads the instances of a file in clembench's layout, each with the fields that its experiment shares.

    raises   SpecError that names the file and the key"""
    experiments = json_object(path).get("experiments")
    if not isinstance(experiments, list):
        raise SpecError(f"{path}: key 'experiments' is missing or not a list.")
    return read_experiments(path, game, set_name, experiments)


def read_experiments(
    path: Path, game: str, set_name: str, experiments: Sequence[object]
) -> tuple[Instance, ...]:
    """Returns the instances of these experiments of the file at `path`; their ids are unique."""
    instances = [
        instance
        for experiment in experiments
        for instance in _read_experiment(path, game, set_name, experiment)
    ]
    _check_ids(path, instances)
    return tuple(instances)


def _read_experiment(path: Path, game: str, set_name: str, experiment: object) -> Iterator[Instance]:
    if not isinstance(experiment, dict) or not isinstance(experiment.get("name"), str):
        raise SpecError(f"{path}: an experiment without a 'name'.")
    name = experiment["name"]
    if name != storable(name):
        raise SpecError(f"{path}: experiment {name!r}: its name has half a surrogate pair, which is no text.")
    entries = experiment.get("game_instances")
    if not isinstance(entries, list):
        raise SpecError(f"{path}: experiment {name}: key 'game_instances' is missing or not a list.")
    shared = {key: value for key, value in experiment.items() if key not in ("name", "game_instances")}
    shared_digest = digest(canonical(shared))
    if "english_words" in shared:
        words = shared["english_words"] = _words(path, name, shared["english_words"])
        shared_digest = digest(shared_digest, then=words.framed)
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("game_id"), int):
            raise SpecError(f"{path}: experiment {name}: an instance without a whole number as 'game_id'.")
        yield Instance(
            game=game,
            set_name=set_name,
            experiment=name,
            id=str(entry["game_id"]),
            fields={**shared, **entry},
            content_hash=digest(canonical(entry), shared_digest),
        )


def json_object(path: Path) -> Mapping[str, object]:
    """Reads a JSON file that holds one object.

    raises   SpecError that names the file"""
    try:
        content = json.loads(
            read_text(path, bytes_max=INSTANCES_BYTES_MAX, remedy="name another clembench checkout")
        )
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise SpecError(f"{path}: is not a JSON object.")
    return content


def canonical(value: object) -> str:
    """Writes the same JSON for the same value; keys keep their order, in which privateshared asks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def five_letter_words() -> WordList:
    """Returns the words that our own wordle sets accept."""
    return WordList(_lines(HERE / "five_letter_words.txt"))


@cache
def stop_words() -> frozenset[str]:
    """Returns the English words that taboo's rules skip."""
    return frozenset(_lines(HERE / "stop_words.txt"))


def _words(path: Path, experiment: str, listed: object) -> WordList:
    """Returns the words that an experiment accepts; it lists them or names our own file."""
    if listed == "five_letter_words.txt":
        return five_letter_words()
    if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
        raise SpecError(f"{path}: experiment {experiment}: key 'english_words' is not a list of words.")
    return _shared_words(tuple(listed))


@cache
def _shared_words(words: tuple[str, ...]) -> WordList:
    return WordList(words)


def _check_ids(path: Path, instances: Sequence[Instance]) -> None:
    places: set[tuple[str, str]] = set()
    for instance in instances:
        place = (instance.experiment, instance.id)
        if place in places:
            raise SpecError(f"{path}: experiment {instance.experiment} has game_id {instance.id} twice.")
        places.add(place)


def _lines(path: Path) -> list[str]:
    """Returns the words of a text file, one a line; lines that start with # are comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
