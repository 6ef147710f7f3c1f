"""Reads a score table and a table of model facts from CSV files, or from a store, for the audit room.

Knows columns and their names. Keeps: every problem of a file is told at once, with its line, its column and
what would be right; a column that nobody asks for is nobody's problem."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from harness.analysis.store_audit import ModelScores, store_scores
from harness.audit.characteristics import GameAverages, ModelFacts, ScoreRow
from harness.audit.scores.clemscore import MethodFigures
from harness.config.problems import suggest
from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_text

METHOD_COLUMNS = ("method", "backend")
QUANTISATION, BITS = "quantisation", "bits"
TABLE_BYTES_MAX = 64 * MIB  # a table has a line for each method or model
SIZE, TOKENS = "parameters_billions", "training_tokens_trillions"
# The makers of commercial models do not state their sizes, so such a size is a guess.
GUESSED_COLUMNS = ("parameters_guessed", "commercial")
FAMILY_COLUMNS = ("family", "provider")  # models of one maker share data and recipes


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table; it collects its problems."""

    line: int
    cells: dict[str, str]
    problems: list[str]

    def number(self, column: str, *, low: float, high: float, unit: str) -> float | None:
        """Returns the cell as a number within bounds; None if it is empty, missing or a problem."""
        text = self.cells.get(column, "").strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not isfinite(value) or not low <= value <= high:
            bounds = f"from {low:g} to {high:g}" if isfinite(high) else f"of at least {low:g}"
            self.problem(
                column, f"{text!r} is not {unit}; write a number {bounds}, or nothing where it is not known"
            )
            return None
        return value

    def needed(self, column: str) -> str:
        """Returns the cell's text; empty after a problem."""
        text = self.cells.get(column, "").strip()
        if not text and column in self.cells:
            self.problem(column, "is empty; every line needs one")
        return text

    def flag(self, column: str) -> bool:
        text = self.cells.get(column, "").strip().lower()
        if text not in ("", "0", "1", "no", "yes", "false", "true"):
            self.problem(column, f"{text!r} is neither 0 nor 1")
        return text in ("1", "yes", "true")

    def problem(self, column: str, what: str) -> None:
        self.problems.append(f"line {self.line}, column {column}: {what}")


@dataclass(slots=True)
class _Table:
    """A CSV file with a header line."""

    path: Path
    columns: list[str]
    rows: list[_Row]
    problems: list[str] = field(default_factory=list)

    def refuse_problems(self) -> None:
        if self.problems:
            raise SpecError("\n".join(f"{self.path}: {problem}" for problem in self.problems))

    def require(self, column: str, *, what: str) -> None:
        if column not in self.columns:
            self.problems.append(f"line 1: no column {column!r}, {what}{suggest(column, self.columns)}")

    def first_of(self, columns: Sequence[str]) -> str | None:
        return next((column for column in columns if column in self.columns), None)


def read_tables(scores: Path, facts: Path) -> tuple[tuple[ScoreRow, ...], tuple[ModelFacts, ...]]:
    """Reads a score table and a table of facts.

    raises  SpecError with the problems of both; StoreError"""
    try:
        rows = score_rows(scores)
    except SpecError as error:
        try:
            model_facts(facts)
        except SpecError as other:
            raise SpecError(f"{error}\n{other}") from error
        raise
    return rows, model_facts(facts)


def score_rows(source: Path) -> tuple[ScoreRow, ...]:
    """Reads a score table: a store, or a CSV file with the columns model, method (or backend), clemscore and,
    where known, quantisation and bits of the weights, and for each game GAME_played, GAME_quality, GAME_std,
    GAME_episodes and GAME_items.

    raises  SpecError, StoreError"""
    if source.suffix.lower() in (".duckdb", ".db"):
        return tuple(rows_of(store_scores(source)))
    table = _read(source)
    table.require("model", what="the model's name, as in the table of facts")
    table.require("clemscore", what="the score, from 0 to 100")
    way = table.first_of(METHOD_COLUMNS)
    games = [
        column.removesuffix("_played")
        for column in table.columns
        if column.endswith("_played") and column != "avg_played"
    ]
    found: list[ScoreRow] = []
    seen: dict[tuple[str, str], int] = {}
    for row in table.rows:
        model, method = row.needed("model"), row.needed(way) if way else "-"
        before = seen.setdefault((model, method), row.line)
        if model and before != row.line:
            row.problem("model", f"{model} through {method} is already in line {before}; keep one of them")
        score, averages = (
            row.number("clemscore", low=0, high=100, unit="a clemscore"),
            tuple(_games(row, games)),
        )
        bits = row.number(BITS, low=0.1, high=64, unit="a number of bits per weight")
        if score is not None:
            stated = row.cells.get(QUANTISATION, "").strip() or None
            found.append(
                ScoreRow(
                    model=model, method=method, clemscore=score, games=averages, stated=stated, bits=bits
                )
            )
    table.refuse_problems()
    return tuple(found)


def _games(row: _Row, games: Sequence[str]) -> Iterator[GameAverages]:
    for game in games:
        played = row.number(f"{game}_played", low=0, high=100, unit="a percentage")
        episodes = row.number(f"{game}_episodes", low=1, high=float("inf"), unit="a number of episodes")
        items = row.number(f"{game}_items", low=1, high=float("inf"), unit="a number of items")
        quality = row.number(f"{game}_quality", low=0, high=100, unit="a mean main score")
        std = row.number(f"{game}_std", low=0, high=100, unit="a standard deviation")
        if played is not None:
            yield GameAverages(
                game=game,
                played=played,
                quality=quality,
                std=std,
                episodes=None if episodes is None else round(episodes),
                items=None if items is None else round(items),
            )


def rows_of(scores: Iterable[ModelScores]) -> Iterator[ScoreRow]:
    """Yields a store's scores as a table; imported averages stand for methods without episodes."""
    for part in scores:
        played = {method.method for method in part.methods}
        for figures in (*part.methods, *(method for method in part.summaries if method.method not in played)):
            if figures.clemscore.value is not None:
                stated, bits = part.weights.get(figures.method, (None, None))
                yield ScoreRow(
                    model=part.model,
                    method=figures.method.removeprefix(f"{part.model}/"),
                    clemscore=figures.clemscore.value,
                    games=tuple(_averages(figures)),
                    stated=stated,
                    bits=bits,
                )


def _averages(figures: MethodFigures) -> Iterator[GameAverages]:
    for game in figures.games:
        if game.played is not None:
            yield GameAverages(
                game=game.game,
                played=game.played,
                quality=game.quality,
                std=game.std,
                episodes=game.episodes or None,
                items=game.items,
                se=game.points_se,
            )


def model_facts(source: Path) -> tuple[ModelFacts, ...]:
    """Reads a table of facts: a CSV file with the columns model, parameters_billions and, where known,
    training_tokens_trillions, parameters_guessed (or commercial: sizes of commercial models count as
    guessed) and family (or provider).

    raises  SpecError"""
    table = _read(source)
    table.require("model", what="the model's name, as in the score table")
    table.require(SIZE, what="how many parameters, in billions")
    guessed, family = table.first_of(GUESSED_COLUMNS), table.first_of(FAMILY_COLUMNS)
    found: dict[str, ModelFacts] = {}
    seen: dict[str, int] = {}
    for row in table.rows:
        model = row.needed("model")
        before = seen.setdefault(model, row.line)
        if model and before != row.line:
            row.problem("model", f"{model} is already in line {before}; keep one of them")
        found[model] = ModelFacts(
            model=model,
            parameters_billions=row.number(
                SIZE, low=1e-6, high=1e6, unit="a number of parameters in billions"
            ),
            tokens_trillions=row.number(
                TOKENS, low=1e-6, high=1e6, unit="a number of training tokens in trillions"
            ),
            guessed=row.flag(guessed) if guessed else False,
            family=(row.cells[family].strip() or None) if family else None,
        )
    table.refuse_problems()
    return tuple(found.values())


def _read(path: Path) -> _Table:
    text = read_text(path, bytes_max=TABLE_BYTES_MAX, remedy="name a CSV file, or a store (.duckdb)")
    reader = csv.reader(text.splitlines(), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        lines.extend((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    except csv.Error as error:
        raise SpecError(
            f"{path}: line {reader.line_num}: is not CSV ({error}); quote a cell that holds commas or quotes"
        ) from error
    if not lines:
        raise SpecError(f"{path}: is empty; a table has a header line and a line for each model")
    columns = [cell.strip() for cell in lines[0][1]]
    table = _Table(path, columns, [])
    for column in sorted({column for column in columns if columns.count(column) > 1}):
        table.problems.append(f"line 1: the column {column!r} occurs twice; give each column its own name")
    for line, cells in lines[1:]:
        if len(cells) != len(columns):
            table.problems.append(
                f"line {line}: has {len(cells)} cells, the header {len(columns)}; "
                "write a comma for each empty cell"
            )
        else:
            table.rows.append(_Row(line, dict(zip(columns, cells, strict=True)), table.problems))
    if not table.rows:
        table.problems.append("has no lines below its header")
    return table
