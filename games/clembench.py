"""Reads the v1.6 instances of a user's own clembench checkout.

Knows where a checkout keeps its files and how later versions' files differ. Keeps: every instance handed out is one its game can
play by our rule sets, both of which fit it; anything else is one SpecError naming file, place and reason. A later version's
instances are refused, for the published v1.6 scores say nothing about their rules. The checkout's code is never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from games import imagegame, privateshared, referencegame, taboo, wordle
from games.instances import json_object, read_experiments
from harness.core.errors import SpecError
from harness.core.vocabulary import Instance

SET_NAME = "clembench-v1.6"

READERS: Mapping[str, Callable[[Instance], object]] = {
    "taboo": taboo.TabooItem.read,
    "wordle": wordle.WordleItem.read,
    "wordle_withclue": wordle.WordleItem.read,
    "wordle_withcritic": wordle.WordleItem.read,
    "imagegame": imagegame.ImagegameItem.read,
    "referencegame": referencegame.ReferencegameItem.read,
    "privateshared": privateshared.PrivatesharedItem.read,
}

LATER_KEYS = {
    "lang_keywords": "its experiments have 'lang_keywords', as wordle has since clembench 2.0",
    "p1_mode": "its instances have 'p1_mode', as referencegame has since clembench 2.0",
}
LATER_PATTERN = "^command: "


def read_instances(root: Path, game: str) -> tuple[Instance, ...]:
    """The instances of a game in the checkout at `root`, in the order of its file.

    raises   SpecError naming the file, the place in it and what was wrong"""
    folder = _game_folder(root, game)
    path = folder / "in" / "instances.json"
    experiments = json_object(path).get("experiments")
    if not isinstance(experiments, list) or not all(
        isinstance(experiment, dict) for experiment in experiments
    ):
        raise SpecError(f"{path}: key 'experiments' is missing or not a list of objects.")
    _refuse_later_version(path, experiments)
    if game == "privateshared":
        experiments = [_with_resources(folder, path, experiment) for experiment in experiments]
    instances = read_experiments(path, game, SET_NAME, experiments)
    for instance in instances:
        try:
            READERS[game](instance)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error
    return instances


def _game_folder(root: Path, game: str) -> Path:
    """Checkouts of that time keep the games in a folder of their own; a copy may hold them at its top."""
    for folder in (root / "games" / game, root / game):
        if folder.is_dir():
            return folder
    raise SpecError(
        f"{root}: holds neither games/{game} nor {game}; is it a clembench checkout at its v1.6 state?"
    )


def _refuse_later_version(path: Path, experiments: list[Mapping[str, object]]) -> None:
    for holder in _objects(experiments):
        for key, reason in LATER_KEYS.items():
            if key in holder:
                raise SpecError(f"{path}: is of a later version than v1.6: {reason}.")
        if str(holder.get("player_1_response_pattern", "")).startswith(LATER_PATTERN):
            raise SpecError(
                f"{path}: is of a later version than v1.6: its instructions start with 'command:', not 'instruction:'."
            )


def _objects(experiments: list[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    """The experiments and their instances, as far as they have the shape of any."""
    for experiment in experiments:
        yield experiment
        puzzles = experiment.get("game_instances")
        yield from (
            puzzle for puzzle in (puzzles if isinstance(puzzles, list) else ()) if isinstance(puzzle, dict)
        )


def _with_resources(folder: Path, path: Path, experiment: Mapping[str, object]) -> Mapping[str, object]:
    """The experiment with the sentences that privateshared keeps in files of their own."""
    resources = folder / "resources"
    texts = resources / "texts" / str(experiment.get("name"))
    words_path = resources / f"{_language(path, experiment)}_words.json"
    words, reprompts = json_object(words_path), json_object(resources / "texts" / "reprompts.json")
    for marker in ("ANSWER", "ASIDE"):
        if str(words.get(marker, "")).strip() != f"{marker}:":
            raise SpecError(
                f"{words_path}: key {marker!r} is not '{marker}:', which the published rules look for."
            )
    return {
        **experiment,
        "request_sentences": json_object(texts / "requests.json"),
        "probing_questions": json_object(texts / "probing_questions.json"),
        "suffixes": _required(reprompts, "suffixes", resources / "texts" / "reprompts.json"),
        "probe_template": _required(words, "PROBE", words_path),
        "probe_marker": _required(words, "ME", words_path),
    }


def _language(path: Path, experiment: Mapping[str, object]) -> str:
    languages = {puzzle.get("lang") for puzzle in _objects([experiment]) if "game_id" in puzzle}
    match list(languages):
        case [str(language)]:
            return language
        case _:
            raise SpecError(
                f"{path}: experiment {experiment.get('name')}: key 'lang' does not name one language for all its instances."
            )


def _required(holder: Mapping[str, object], key: str, path: Path) -> object:
    if key not in holder:
        raise SpecError(f"{path}: key {key!r} is missing.")
    return holder[key]
