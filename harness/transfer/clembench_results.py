"""Published clembench results as they lie on disk: episode folders in both layouts, raw.csv, results.csv.

Knows the files' names, keys and habits (NaN in JSON, `-t0.0` in names, appended rows); nothing of stores.
Keeps: an episode's key comes from where it stands: pair, game, experiment, number. An episode without scores is unscored, never
aborted. What cannot be read is named with its file and place, and does not hide the rest.
Does not promise: to tell clembench 2.0 from v1.6, whose folders look alike; to read plays repeated in epochs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.vocabulary import Outcome, Requests, State, digest
from harness.transfer.clembench_transcripts import Exchange, read_exchanges
from harness.transfer.files import as_object, json_object, json_value, read_text

EPISODE_FOLDER = re.compile(r"(episode|instance)_(\d+)")
REPEATED_PLAYS = re.compile(r"(epoch|episode)_\d+")
EXPERIMENT_INDEX = re.compile(r"^\d+_")
TEMPERATURE = re.compile(r"(.+)-t(\d+(?:\.\d+)?)")
TWO_TEMPERATURES = re.compile(r"(.+-t\d+(?:\.\d+)?)--(.+)")
PLAYED = ", % Played"
RAW_COLUMNS = ("game", "model", "experiment", "episode", "metric", "value")
OUTCOME_METRICS = (
    "Aborted",
    "Main Score",
    "Success",
    "Lose",
    "Request Count",
    "Parsed Request Count",
    "Violated Request Count",
)
DERIVED_METRIC = "Played"  # clembench appends it to raw.csv


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pair:
    """Who played: the folder's name, and its players, without the suffix `-t0.0` that v1.6 gives to all of them.

    temperature   of every player, None where the name does not say or they differ"""

    name: str
    players: tuple[str, ...]
    temperature: float | None

    @property
    def method(self) -> str:
        """The name as an access method: once for a model that plays with itself."""
        return "+".join(dict.fromkeys(self.players))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPlace:
    """Which episode it is: of one pair, no two have the same. `experiment` is without v1.6's leading index."""

    pair: Pair
    game: str
    rules: str
    experiment: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEpisode:
    """content_hash: of the instance where it was published, else of its name; exchanges: none where it has no transcript."""

    place: ResultPlace
    content_hash: str
    outcome: Outcome
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigures:
    """One pair's averages over one game's episodes, rounded as published; quality and its deviation None where nothing was played."""

    pair: Pair
    game: str
    played: float
    quality: float | None
    quality_std: float | None


@dataclass(frozen=True, slots=True)
class Broken:
    """What could not be read: file, place and reason in one line."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One source, opened: its pairs are known, its episodes are read as they are asked for."""

    pairs: tuple[Pair, ...]
    episodes: Iterable[PublishedEpisode | Broken] = ()
    figures: Sequence[PublishedFigures | Broken] = ()


def open_results(path: Path) -> Results:
    """A folder's episodes, or what a table says. A folder without episodes is read by its raw.csv, else its results.csv.

    raises  SpecError if there is nothing to import at this path"""
    if path.is_file():
        return _open_table(path)
    if not path.is_dir():
        raise SpecError(
            f"{path}: no such file or folder; name a folder of results, or its raw.csv or results.csv"
        )
    found = list(_find_episodes(path))
    if found:
        pairs = {one.pair for _, one in found if isinstance(one, ResultPlace)}
        return Results(
            pairs=tuple(sorted(pairs)), episodes=(_read_episode(folder, place) for folder, place in found)
        )
    for name in ("raw.csv", "results.csv"):
        if (path / name).is_file():
            return _open_table(path / name)
    raise SpecError(
        f"{path}: holds no results: neither folders <pair>/<game>/<experiment>/episode_<k> or instance_<id>, nor raw.csv, nor results.csv"
    )


def read_pair(name: str) -> Pair:
    """The pair of a folder's name: `A--B`, with `-t0.0` behind each name in v1.6."""
    half = (len(name) - 2) // 2
    if name == f"{name[:half]}--{name[:half]}":
        halves = [name[:half]] * 2
    elif two := TWO_TEMPERATURES.fullmatch(name):
        halves = [two[1], two[2]]
    else:
        halves = name.split("--", 1)
    told = [TEMPERATURE.fullmatch(one) for one in halves]
    temperatures = {float(one[2]) if one else None for one in told}
    return Pair(
        name=name,
        players=tuple(
            one[1] if one and float(one[2]) == 0 else half for one, half in zip(told, halves, strict=True)
        ),
        temperature=temperatures.pop() if len(temperatures) == 1 else None,
    )


# --- episode folders ----------------------------------------------------------------------------------------------------------


def _find_episodes(root: Path) -> Iterator[tuple[Path, ResultPlace | Broken]]:
    for name, folders, _ in os.walk(root.resolve()):
        folder = Path(name)
        if EPISODE_FOLDER.fullmatch(folder.name) and len(folder.parts) > 4:
            yield folder, _folder_place(folder, inner=folders)
            folders.clear()
        folders.sort()


def _folder_place(folder: Path, inner: Sequence[str]) -> ResultPlace | Broken:
    pair, game, experiment, episode = folder.parts[-4:]
    if any(map(REPEATED_PLAYS.fullmatch, (pair, game, experiment, *inner))):
        return Broken(
            f"{folder}: one of several plays of an instance; import reads results with one play of each"
        )
    place = _place(pair, game, experiment, episode)
    assert place is not None, "only folders with such a name are looked at"
    if place.rules == "v1.6" and (folder.parent / "experiment.json").is_file():  # clembench 2.2 to 3.2
        return ResultPlace(
            pair=place.pair, game=game, rules="clemcore", experiment=place.experiment, instance=place.instance
        )
    return place


def _place(pair: str, game: str, experiment: str, episode: str) -> ResultPlace | None:
    """From the folders' names; None if the last is not that of an episode."""
    named = EPISODE_FOLDER.fullmatch(episode)
    if not named:
        return None
    early = named[1] == "episode"
    return ResultPlace(
        pair=read_pair(pair),
        game=game,
        rules="v1.6" if early else "clemcore",
        experiment=EXPERIMENT_INDEX.sub("", experiment) if early else experiment,
        instance=str(int(named[2])),
    )


def _read_episode(folder: Path, place: ResultPlace | Broken) -> PublishedEpisode | Broken:
    if isinstance(place, Broken):
        return place
    try:
        return PublishedEpisode(
            place=place,
            content_hash=_content_hash(folder / "instance.json", place),
            outcome=_folder_outcome(folder),
            exchanges=read_exchanges(folder),
        )
    except SpecError as error:
        return Broken(str(error))


def _content_hash(path: Path, place: ResultPlace) -> str:
    """Of the published instance, however its file is laid out; of its name where there is none."""
    if not path.is_file():
        return digest(place.game, place.experiment, place.instance)
    return digest(json.dumps(json_value(path), sort_keys=True))


def _folder_outcome(folder: Path) -> Outcome:
    path = folder / "scores.json"
    if path.is_file():
        scores = json_object(path).get("episode scores")
        if not isinstance(scores, dict):
            raise SpecError(f"{path}: key 'episode scores' is missing or not an object")
        return read_outcome(
            {name: _number(value, f"{path}: {name}") for name, value in scores.items()}, str(path)
        )
    failure = folder / "error.json"
    if failure.is_file():
        return Outcome(
            state="unscored",
            score=None,
            reason=f"no scores: the play ended in {as_object(json_value(failure)).get('error')}",
        )
    return Outcome(state="unscored", score=None, reason="no scores were published")


def _number(value: object, where: str) -> float:
    if value is None or value == "":
        return nan
    try:
        return float(str(value) if not isinstance(value, bool) else value)
    except ValueError as error:
        raise SpecError(f"{where} is {value!r}, not a number") from error


def read_outcome(metrics: Mapping[str, float], where: str) -> Outcome:
    """How the episode ended, by its published metrics; one that was played and has no main score is unscored.

    raises  SpecError naming the metric that no published score has"""
    told, score = metrics.get("Aborted", nan), metrics.get("Main Score", nan)
    if told not in (0, 1):
        raise SpecError(f"{where}: Aborted is {_shown(metrics, 'Aborted')}, not 0 or 1")
    if told and not isnan(score):
        raise SpecError(f"{where}: Aborted is 1, yet Main Score is {score:g}; an aborted episode's is NaN")
    if not told and not isnan(score) and not 0 <= score <= 100:
        raise SpecError(f"{where}: Main Score is {score:g}, not in [0, 100]")
    state = _state(aborted=bool(told), score=score, success=metrics.get("Success", nan))
    return Outcome(
        state=state,
        score=None if isnan(score) else score,
        reason="played, but no main score was published" if state == "unscored" else f"published as {state}",
        requests=Requests(
            total=_count(metrics, "Request Count"),
            parsed=_count(metrics, "Parsed Request Count"),
            violated=_count(metrics, "Violated Request Count"),
        ),
        metrics={name: value for name, value in metrics.items() if name not in OUTCOME_METRICS},
    )


def _shown(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:g}" if name in metrics else "missing"


def _state(*, aborted: bool, score: float, success: float) -> State:
    """A game that logs no Success is won at full score."""
    if aborted:
        return "aborted"
    if isnan(score):
        return "unscored"
    won = score == 100 if isnan(success) else success == 1
    return "success" if won else "lost"


def _count(metrics: Mapping[str, float], name: str) -> int:
    value = metrics.get(name, 0.0)
    return 0 if not abs(value) < 2**53 else int(value)  # NaN and Infinity count nothing


# --- tables -------------------------------------------------------------------------------------------------------------------


def _open_table(path: Path) -> Results:
    rows = _rows(path)
    columns = next(rows, (0, []))[1]
    if set(RAW_COLUMNS) <= set(columns):
        return _raw_results(path, ((line, dict(zip(columns, row, strict=False))) for line, row in rows))
    games = [column.removesuffix(PLAYED) for column in columns if column.endswith(PLAYED)]
    if games:
        return _figures(
            path, columns[0], games, ((line, dict(zip(columns, row, strict=False))) for line, row in rows)
        )
    raise SpecError(
        f"{path}: line 1: neither the columns of raw.csv ({', '.join(RAW_COLUMNS)}) nor those of results.csv (<game>{PLAYED}; ...)"
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of its line."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise SpecError(f"{path}: line {reader.line_num}: not CSV: {error}") from error


def _raw_results(path: Path, rows: Iterable[tuple[int, Mapping[str, str]]]) -> Results:
    """Rows of one episode may stand anywhere: the derived ones come last."""
    metrics: dict[ResultPlace, dict[str, float]] = {}
    broken: dict[ResultPlace, Broken] = {}
    lost: list[Broken] = []
    for line, row in rows:
        place = _place(*(row.get(column, "") for column in ("model", "game", "experiment", "episode")))
        metric, where = row.get("metric", ""), f"{path}: line {line}"
        if place is None:
            lost.append(
                Broken(
                    f"{where}: episode is {row.get('episode', '')!r}, neither episode_<k> nor instance_<id>"
                )
            )
        elif metric in metrics.setdefault(place, {}):
            broken.setdefault(place, Broken(f"{where}: a second {metric} of {_named(place)}"))
        elif metric != DERIVED_METRIC:
            try:
                metrics[place][metric] = _number(row.get("value"), f"{where}: {metric} of {_named(place)}")
            except SpecError as error:
                broken.setdefault(place, Broken(str(error)))
    return Results(
        pairs=tuple(sorted({place.pair for place in metrics})),
        episodes=(
            *lost,
            *(broken.get(place) or _raw_episode(path, place, found) for place, found in metrics.items()),
        ),
    )


def _raw_episode(path: Path, place: ResultPlace, metrics: Mapping[str, float]) -> PublishedEpisode | Broken:
    try:
        outcome = read_outcome(metrics, f"{path}: {_named(place)}")
    except SpecError as error:
        return Broken(str(error))
    return PublishedEpisode(
        place=place, content_hash=digest(place.game, place.experiment, place.instance), outcome=outcome
    )


def _named(place: ResultPlace) -> str:
    return f"{place.pair.name}/{place.game}/{place.experiment}/{place.instance}"


def _figures(
    path: Path, name_column: str, games: Sequence[str], rows: Iterable[tuple[int, Mapping[str, str]]]
) -> Results:
    figures: list[PublishedFigures | Broken] = []
    pairs: set[Pair] = set()
    for line, row in rows:
        pair = read_pair(row[name_column])
        try:
            found = [_game_figures(pair, game, row, f"{path}: line {line}") for game in games]
        except SpecError as error:
            figures.append(Broken(str(error)))
            continue
        pairs.add(pair)
        figures += [one for one in found if one is not None]
    return Results(pairs=tuple(sorted(pairs)), figures=figures)


def _game_figures(pair: Pair, game: str, row: Mapping[str, str], where: str) -> PublishedFigures | None:
    """None where the pair has no scored episode of the game."""
    if not pair.name:
        raise SpecError(f"{where}: the first column names no pair")
    played = _percent(row, f"{game}{PLAYED}", where)
    if played is None:
        return None
    return PublishedFigures(
        pair=pair,
        game=game,
        played=played,
        quality=_percent(row, f"{game}, Quality Score", where),
        quality_std=_percent(row, f"{game}, Quality Score (std)", where),
    )


def _percent(row: Mapping[str, str], column: str, where: str) -> float | None:
    value = _number(row.get(column), f"{where}: {column}")
    if isnan(value):
        return None
    if not 0 <= value <= 100:
        raise SpecError(f"{where}: {column} is {value:g}, not in [0, 100]")
    return value
