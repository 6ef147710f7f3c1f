"""Reads the v1.6 instances of a user's own clembench checkout, and those of published v1.6 results.

Knows where a checkout keeps its files and how the files of later versions differ. Keeps: a game can play
every returned instance by both rule sets; anything else is one SpecError that names the file, the place and
the reason. Instances of later versions are refused, because the published v1.6 scores follow other rules. The
checkout's code is never run."""

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
    """Reads the instances of a game in the checkout at `root`, in the order of the file.

    raises   SpecError that names the file, the place in it and the fault"""
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


def read_published_instance(folder: Path, game: str, *, checkout: Path | None = None) -> Instance:
    """Reads the instance of a published v1.6 episode from its instance.json and its experiment's file.

    folder     of the episode
    game       one of READERS
    checkout   has the sentences of privateshared, which results do not contain
    raises     SpecError that names the file and the fault"""
    path = folder / "instance.json"
    experiment_paths = list(folder.parent.glob("experiment_*.json"))
    if len(experiment_paths) != 1:
        raise SpecError(f"{folder.parent}: holds no experiment_<name>.json, which has the prompts.")
    name = experiment_paths[0].stem.removeprefix("experiment_")
    shared, entry = json_object(experiment_paths[0]), json_object(path)
    experiment: Mapping[str, object] = {**shared, "name": name, "game_instances": [entry]}
    _refuse_later_version(path, [experiment])
    if game == "privateshared":
        if checkout is None:
            raise SpecError(f"{folder}: the texts of privateshared are not in the results; name a checkout.")
        experiment = _with_resources(_game_folder(checkout, game), path, experiment)
    (instance,) = read_experiments(path, game, SET_NAME, [experiment])
    READERS[game](instance)
    return instance


def _game_folder(root: Path, game: str) -> Path:
    """Finds a game's folder: in `games/` of a checkout, or at the top of a copy."""
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
                f"{path}: is of a later version than v1.6: its instructions start with 'command:', "
                "not 'instruction:'."
            )


def _objects(experiments: list[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    """Yields the experiments and those of their instances that are objects."""
    for experiment in experiments:
        yield experiment
        entries = experiment.get("game_instances")
        yield from (
            entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict)
        )


def _with_resources(folder: Path, path: Path, experiment: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the experiment with the sentences that privateshared keeps in other files."""
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
    languages = {entry.get("lang") for entry in _objects([experiment]) if "game_id" in entry}
    match list(languages):
        case [str(language)]:
            return language
        case _:
            raise SpecError(
                f"{path}: experiment {experiment.get('name')}: key 'lang' does not name one language "
                "for all its instances."
            )


def _required(holder: Mapping[str, object], key: str, path: Path) -> object:
    if key not in holder:
        raise SpecError(f"{path}: key {key!r} is missing.")
    return holder[key]
