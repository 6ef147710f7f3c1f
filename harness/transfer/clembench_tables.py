"""Opens the tables of published clembench results: raw.csv with episodes, results.csv with averages.

Knows the tables' columns. Keeps: a row that cannot be read is named with its line and does not hide the
others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_text
from harness.transfer.files import REMEDY
from harness.transfer.published import (
    Pair,
    PublishedEpisode,
    PublishedFigures,
    ResultPlace,
    Results,
    Unreadable,
    read_number,
    read_outcome,
    read_pair,
    read_place,
)

PLAYED = ", % Played"
TABLE_BYTES_MAX = 512 * MIB  # a raw.csv with five million rows
RAW_COLUMNS = ("game", "model", "experiment", "episode", "metric", "value")
DERIVED_METRIC = "Played"  # clembench appends it to raw.csv


def open_table(path: Path) -> Results:
    """Opens raw.csv or results.csv, which differ by their columns.

    raises  SpecError if it is neither"""
    rows = _rows(path)
    columns = next(rows, (0, []))[1]
    named_rows = ((line, dict(zip(columns, row, strict=False))) for line, row in rows)
    if set(RAW_COLUMNS) <= set(columns):
        return _episodes(path, named_rows)
    games = [column.removesuffix(PLAYED) for column in columns if column.endswith(PLAYED)]
    if games:
        return _figures(path, columns[0], games, named_rows)
    raise SpecError(
        f"{path}: line 1: neither the columns of raw.csv ({', '.join(RAW_COLUMNS)}) nor those of results.csv"
        f" (<game>{PLAYED}; ...)"
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields each row that is not blank, with the number of its line."""
    text = read_text(path, bytes_max=TABLE_BYTES_MAX, remedy=REMEDY)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise SpecError(f"{path}: line {reader.line_num}: not CSV: {error}") from error


def _episodes(path: Path, rows: Iterable[tuple[int, Mapping[str, str]]]) -> Results:
    """Collects the rows of each episode, which may be anywhere: the derived ones are at the end."""
    metrics: dict[ResultPlace, dict[str, float]] = {}
    unreadable: dict[ResultPlace, Unreadable] = {}
    without_place: list[Unreadable] = []
    for line, row in rows:
        place = read_place(*(row.get(column, "") for column in ("model", "game", "experiment", "episode")))
        metric, where = row.get("metric", ""), f"{path}: line {line}"
        if place is None:
            name = row.get("episode", "")
            without_place.append(
                Unreadable(f"{where}: episode is {name!r}, neither episode_<k> nor instance_<id>")
            )
        elif metric in metrics.setdefault(place, {}):
            unreadable.setdefault(place, Unreadable(f"{where}: a second {metric} of {place}"))
        elif metric != DERIVED_METRIC:
            try:
                metrics[place][metric] = read_number(row.get("value"), f"{where}: {metric} of {place}")
            except SpecError as error:
                unreadable.setdefault(place, Unreadable(str(error)))
    return Results(
        pairs=tuple(sorted({place.pair for place in metrics})),
        episodes=(
            *without_place,
            *(unreadable.get(place) or _episode(path, place, found) for place, found in metrics.items()),
        ),
    )


def _episode(path: Path, place: ResultPlace, metrics: Mapping[str, float]) -> PublishedEpisode | Unreadable:
    try:
        outcome = read_outcome(metrics, f"{path}: {place}")
    except SpecError as error:
        return Unreadable(str(error))
    return PublishedEpisode(place=place, source=path, instance_hash=None, outcome=outcome)


def _figures(
    path: Path, name_column: str, games: Sequence[str], rows: Iterable[tuple[int, Mapping[str, str]]]
) -> Results:
    figures: list[PublishedFigures | Unreadable] = []
    pairs: set[Pair] = set()
    for line, row in rows:
        pair = read_pair(row[name_column])
        try:
            found = [_game_figures(pair, game, row, f"{path}: line {line}") for game in games]
        except SpecError as error:
            figures.append(Unreadable(str(error)))
            continue
        pairs.add(pair)
        figures += [entry for entry in found if entry is not None]
    return Results(pairs=tuple(sorted(pairs)), figures=figures)


def _game_figures(pair: Pair, game: str, row: Mapping[str, str], where: str) -> PublishedFigures | None:
    """Returns the pair's averages; None if it has no scored episode of the game."""
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
    value = read_number(row.get(column), f"{where}: {column}")
    if isnan(value):
        return None
    if not 0 <= value <= 100:
        raise SpecError(f"{where}: {column} is {value:g}, not in [0, 100]")
    return value
