"""Our own instance sets, and the reading of any file laid out like them: experiments, each with what its instances share.

Knows files and JSON, no rules. Keeps: a set is read once, what an experiment shares is held once, and the content hash covers
both, word lists included. How the sets were made: make.py beside them; where their words come from: LICENCES.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import overload

from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, digest, framed

HERE = Path(__file__).parent


class WordList(Sequence[str]):
    """A list of words that also answers quickly whether it holds one; compared by identity, so that thousands of instances share it.

    framed   all of it, for digests: framing ten thousand words takes longer than hashing them"""

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
    """Our instances of this game, in order."""
    path = HERE / f"{game}.json"
    return read_set(path, game, f"own-{json_object(path)['version']}")


def read_set(path: Path, game: str, set_name: str) -> tuple[Instance, ...]:
    """The instances of a file in clembench's layout: experiments in order, each instance with what its experiment shares.

    raises   SpecError naming the file and the key"""
    experiments = json_object(path).get("experiments")
    if not isinstance(experiments, list):
        raise SpecError(f"{path}: key 'experiments' is missing or not a list.")
    return read_experiments(path, game, set_name, experiments)


def read_experiments(
    path: Path, game: str, set_name: str, experiments: Sequence[object]
) -> tuple[Instance, ...]:
    """The instances of these experiments of the file at `path`, their ids checked."""
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
    puzzles = experiment.get("game_instances")
    if not isinstance(puzzles, list):
        raise SpecError(f"{path}: experiment {name}: key 'game_instances' is missing or not a list.")
    shared = {key: value for key, value in experiment.items() if key not in ("name", "game_instances")}
    shared_digest = digest(canonical(shared))
    if "english_words" in shared:
        words = shared["english_words"] = _words(path, name, shared["english_words"])
        shared_digest = digest(shared_digest, then=words.framed)
    for puzzle in puzzles:
        if not isinstance(puzzle, dict) or not isinstance(puzzle.get("game_id"), int):
            raise SpecError(f"{path}: experiment {name}: an instance without a whole number as 'game_id'.")
        yield Instance(
            game=game,
            set_name=set_name,
            experiment=name,
            id=str(puzzle["game_id"]),
            fields={**shared, **puzzle},
            content_hash=digest(canonical(puzzle), shared_digest),
        )


def json_object(path: Path) -> Mapping[str, object]:
    """What a JSON file holds, which must be one object.

    raises   SpecError naming the file"""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise SpecError(f"{path}: is not a JSON object.")
    return content


def canonical(value: object) -> str:
    """The same JSON for the same value, whatever the file's spacing. The order of keys stays: privateshared asks in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def five_letter_words() -> WordList:
    """The words our own wordle sets accept."""
    return WordList(_lines(HERE / "five_letter_words.txt"))


@cache
def stop_words() -> frozenset[str]:
    """The English words taboo's rules overlook."""
    return frozenset(_lines(HERE / "stop_words.txt"))


def _words(path: Path, experiment: str, listed: object) -> WordList:
    """The words an experiment accepts: a list of them, or the name of our own file."""
    if listed == "five_letter_words.txt":
        return five_letter_words()
    if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
        raise SpecError(f"{path}: experiment {experiment}: key 'english_words' is not a list of words.")
    return _shared_words(tuple(listed))


@cache
def _shared_words(words: tuple[str, ...]) -> WordList:
    return WordList(words)


def _check_ids(path: Path, instances: Sequence[Instance]) -> None:
    seen: set[tuple[str, str]] = set()
    for instance in instances:
        place = (instance.experiment, instance.id)
        if place in seen:
            raise SpecError(f"{path}: experiment {instance.experiment} has game_id {instance.id} twice.")
        seen.add(place)


def _lines(path: Path) -> list[str]:
    """The words of a text file, one a line; lines that start with # speak of them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
