"""Opens published clembench results: episode folders in both layouts; tables by clembench_tables.py.

Knows the files' names and habits; nothing of stores. Keeps: an episode with interactions and without scores
is unscored; one with an error, or with neither interactions nor requests nor scores, failed; neither is
aborted. A file that cannot be read is named with its place and does not hide the others; a transcript that
cannot be read does not hide its score. Does not promise: to tell clembench 2.0 from v1.6, whose folders are
alike; to read plays that are repeated in epochs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.user_files import is_duckdb_file
from harness.core.vocabulary import Outcome, digest
from harness.transfer.clembench_tables import open_table
from harness.transfer.clembench_transcripts import Exchange, read_recording
from harness.transfer.files import as_object, json_object, json_value
from harness.transfer.published import (
    EPISODE_FOLDER,
    PublishedEpisode,
    ResultPlace,
    Results,
    Unreadable,
    read_number,
    read_outcome,
    read_place,
)
from harness.transfer.rebuilt_transcripts import GameAtHand, rebuild

REPEATED_PLAYS = re.compile(r"(epoch|episode)_\d+")

FindGame = Callable[[str, Path], GameAtHand | None]
"""(game, episode folder) -> the game with this episode's instance; None if the instance is not known."""


def open_results(path: Path, *, find_game: FindGame = lambda game, folder: None) -> Results:
    """Opens a folder of episodes, or a table. A folder without episodes is read by its raw.csv, else its
    results.csv.

    find_game   rebuilds transcripts whose records have no chat messages
    raises      SpecError if there is nothing to import at this path"""
    if path.is_file():
        _refuse_store(path)
        return open_table(path)
    if not path.is_dir():
        what = "neither a file nor a folder" if path.exists() else "no such file or folder"
        raise SpecError(f"{path}: {what}; name a folder of results, or its raw.csv or results.csv")
    found = list(_find_episodes(path))
    if found:
        pairs = {place.pair for _, place in found if isinstance(place, ResultPlace)}
        return Results(
            pairs=tuple(sorted(pairs)),
            episodes=(_read_episode(folder, place, find_game) for folder, place in found),
        )
    for name in ("raw.csv", "results.csv"):
        if (path / name).is_file():
            return open_table(path / name)
    raise SpecError(
        f"{path}: contains no results: neither folders <pair>/<game>/<experiment>/episode_<k> or instance_<id>,"
        " nor raw.csv, nor results.csv"
    )


def _refuse_store(path: Path) -> None:
    if is_duckdb_file(path):
        raise SpecError(
            f"{path}: is a store, not published results. `lightbulb merge` joins the stores of one sweep that"
            " was played in parts, and `lightbulb drift` compares those of different days"
        )


def _find_episodes(root: Path) -> Iterator[tuple[Path, ResultPlace | Unreadable]]:
    for name, folders, _ in os.walk(root.resolve()):
        folder = Path(name)
        if EPISODE_FOLDER.fullmatch(folder.name) and len(folder.parts) > 4:
            yield folder, _folder_place(folder, inner=folders)
            folders.clear()
        folders.sort()


def _folder_place(folder: Path, inner: Sequence[str]) -> ResultPlace | Unreadable:
    pair, game, experiment, episode = folder.parts[-4:]
    if any(map(REPEATED_PLAYS.fullmatch, (pair, game, experiment, *inner))):
        return Unreadable(
            f"{folder}: one of several plays of an instance; import reads results with one play of each"
        )
    if "--" in game and "--" not in pair:
        return Unreadable(
            f"{folder}: looks like <game>/<pair>/<experiment>/<episode>, as clembench before version 1.0"
            " wrote it; import reads <pair>/<game>/<experiment>/<episode>"
        )
    place = read_place(pair, game, experiment, episode)
    assert place is not None, "only folders with such a name are looked at"
    if place.rules == "v1.6" and (folder.parent / "experiment.json").is_file():  # clembench 2.2 to 3.2
        return ResultPlace(
            pair=place.pair, game=game, rules="clemcore", experiment=place.experiment, instance=place.instance
        )
    return place


def _read_episode(
    folder: Path, place: ResultPlace | Unreadable, find_game: FindGame
) -> PublishedEpisode | Unreadable:
    if isinstance(place, Unreadable):
        return place
    try:
        outcome, failure = _folder_outcome(folder)
        instance = folder / "instance.json"
        instance_hash = (
            digest(json.dumps(json_value(instance), sort_keys=True)) if instance.is_file() else None
        )
    except SpecError as error:
        return Unreadable(str(error))
    exchanges, problem = _transcript(folder, place, outcome, find_game)
    return PublishedEpisode(
        place=place,
        source=folder.parents[3],
        instance_hash=instance_hash,
        outcome=outcome,
        failure=failure,
        exchanges=exchanges,
        transcript_problem=problem,
    )


def _folder_outcome(folder: Path) -> tuple[Outcome | None, str]:
    """Returns the outcome, or None with the reason of a failed play."""
    if (folder / "error.json").is_file():
        return None, f"the play ended in {as_object(json_value(folder / 'error.json')).get('error')}"
    path = folder / "scores.json"
    if path.is_file():
        scores = json_object(path).get("episode scores")
        if not isinstance(scores, dict):
            raise SpecError(f"{path}: key 'episode scores' is missing or not an object")
        numbers = {name: read_number(value, f"{path}: {name}") for name, value in scores.items()}
        return read_outcome(numbers, str(path)), ""
    recorded = [folder / "interactions.json", folder / "requests.json", *folder.glob("*.requests.json")]
    if not any(map(Path.is_file, recorded)):
        return None, "neither scores nor a record of the play were published"
    return Outcome(state="unscored", score=None, reason="no scores were published"), ""


def _transcript(
    folder: Path, place: ResultPlace, outcome: Outcome | None, find_game: FindGame
) -> tuple[tuple[Exchange, ...], str | None]:
    """Returns the exchanges, or the reason why those that were published are left out."""
    try:
        recording = read_recording(folder)
        if recording.complete:
            return recording.exchanges, None
        game = find_game(place.game, folder) if place.rules == "v1.6" else None
        exchanges = rebuild(game, recording.exchanges, outcome) if game else None
    except SpecError as error:
        return (), str(error)
    if exchanges is None and recording.has_messages:
        return recording.exchanges, None
    if exchanges is None:
        return (), f"{folder}: its prompts are one long text each and cannot be rebuilt"
    return exchanges, None
