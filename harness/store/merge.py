"""Merges stores: writes the rows of several stores into a new one, each row once.

Knows the tables and what identifies a row of each. Keeps: an episode is identified by id and attempt, a turn
and a call also by their numbers; a row that two stores hold is written once; two different rows of one
identity are a conflict, and then nothing is written. Runs are numbered by their time, so the new store's
latest run is the latest of all. Where one reference scored a reply in two stores, the score of the first
stands. A row of any other table belongs to a run and is written as often as the store with the most copies
holds it. A store of an earlier version is read as it is: columns that it lacks are NULL. Does not decide
whether the stores belong together: harness/running/merge_stores.py does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from harness.core.bench_records import BenchStage
from harness.core.errors import SpecError, StoreInUse
from harness.core.records import (
    AuditPlanRecord,
    CallRecord,
    EpisodeRecord,
    LogprobRecord,
    MethodRecord,
    ModelRecord,
    Record,
    RescoreRecord,
    SummaryRecord,
    SweepRecord,
    TurnRecord,
)
from harness.store import schema
from harness.store.file import open_to_merge, open_to_read, source_name, translated
from harness.store.migration import missing_parts
from harness.store.query_server import RunningStore

IDENTITY: dict[type[Record], tuple[str, ...]] = {
    SweepRecord: ("run_id",),
    ModelRecord: ("run_id", "model"),
    MethodRecord: ("run_id", "method"),
    AuditPlanRecord: ("run_id",),
    EpisodeRecord: ("episode_id", "attempt"),
    TurnRecord: ("episode_id", "attempt", "turn"),
    CallRecord: ("episode_id", "attempt", "turn", "try_number"),
    LogprobRecord: ("episode_id", "attempt", "turn", "try_number"),
    RescoreRecord: ("reference", "episode_id", "attempt", "turn"),
    SummaryRecord: ("method", "game"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEnd:
    """The number of rows that a merge took from one store. known: episodes that one before it holds, too."""

    path: Path
    episodes: int
    calls: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A store that is merged.

    missing  the columns, as (table, column), and the tables that its version lacks
    runs     its number of a run -> the number in the new store; bench_runs: the same of load tests"""

    path: Path
    name: str
    missing: frozenset[tuple[str, str]]
    missing_tables: frozenset[str]
    runs: Mapping[str, str]
    bench_runs: Mapping[str, str]


def merge_rows(sources: Sequence[Path], target: Path) -> tuple[SourceEnd, ...]:
    """Writes the rows of the sources into a new store.

    target   must not exist
    raises   SpecError if two stores hold different rows of one play; StoreInUse if a run holds a source;
             StoreError. The target is then not complete: its caller deletes it"""
    lacking = [_lacking(path) for path in sources]
    with open_to_merge(target, sources) as connection, translated(target):
        names = [source_name(number) for number in range(len(sources))]
        runs = _numbered(
            connection,
            [f"SELECT run_id, started_at, spec_hash FROM {name}.sweeps" for name in names],
            "{:04}",
        )
        stages = [
            "SELECT NULL, NULL, NULL LIMIT 0"
            if schema.TABLES[BenchStage] in tables
            else f'SELECT run_id, min("at"), min(method) FROM {name}.bench_stages GROUP BY run_id'
            for name, (_, tables) in zip(names, lacking, strict=True)
        ]
        bench_runs = _numbered(connection, stages, "bench-{:04}")
        connection.begin()
        try:
            ends = tuple(
                _add(
                    connection,
                    _Source(
                        path=path,
                        name=name,
                        missing=columns,
                        missing_tables=tables,
                        runs=runs_of,
                        bench_runs=bench_runs_of,
                    ),
                )
                for path, name, (columns, tables), runs_of, bench_runs_of in zip(
                    sources, names, lacking, runs, bench_runs, strict=True
                )
            )
            connection.commit()
        except BaseException:
            # The first error is the cause: a failed rollback must not replace it.
            with suppress(duckdb.Error):
                connection.rollback()
            raise
        connection.execute("CHECKPOINT")
    return ends


def _lacking(path: Path) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Returns the columns and the tables that a store's version does not have.

    raises  StoreInUse if a run holds the store; StoreError"""
    with open_to_read(path) as connection:
        if isinstance(connection, RunningStore):
            raise StoreInUse(
                f"{path}: a run writes this store now; wait until it ends, or merge a copy of it, which"
                f" `lightbulb backup {path} COPY.duckdb` makes"
            )
        missing = missing_parts(connection)
    return (
        frozenset((schema.TABLES[record], name) for record, name in missing.columns),
        frozenset(schema.TABLES[record] for record in missing.tables),
    )


def _numbered(
    connection: duckdb.DuckDBPyConnection, queries: Sequence[str], form: str
) -> list[dict[str, str]]:
    """Returns for each source its number of a run -> the number in the new store.

    queries  for each source: number, time, and what tells runs of one time apart. Equal runs are one run"""
    found = [connection.execute(query).fetchall() for query in queries]
    order = sorted({(at, what) for rows in found for _, at, what in rows})
    number = {run: form.format(place) for place, run in enumerate(order, 1)}
    return [{run_id: number[at, what] for run_id, at, what in rows} for rows in found]


def _add(connection: duckdb.DuckDBPyConnection, source: _Source) -> SourceEnd:
    """Adds the rows of a source that the new store does not hold."""
    added: dict[type[Record], int] = {}
    for record, table in schema.TABLES.items():
        if table in source.missing_tables:
            continue
        rows, parameters = _rows(source, record)
        if identity := IDENTITY.get(record):
            if record is not RescoreRecord:  # weights that score a reply twice differ in the last digits
                _refuse_conflicts(connection, source, record, identity)
            new = f"{rows} ANTI JOIN {table} USING ({', '.join(identity)})"
            if record in (ModelRecord, MethodRecord):  # readers take them in the order in which they came
                new += " ORDER BY place"
        else:
            new = f"{rows} EXCEPT ALL SELECT * FROM {table}"
        ((added[record],),) = connection.execute(f"INSERT INTO {table} {new}", parameters).fetchall()
    ((held,),) = connection.execute(f"SELECT count(*) FROM {source.name}.episodes").fetchall()
    return SourceEnd(
        path=source.path,
        episodes=added[EpisodeRecord],
        calls=added[CallRecord],
        known=held - added[EpisodeRecord],
    )


def _rows(source: _Source, record: type[Record]) -> tuple[str, list[object]]:
    """Returns a query of a source's rows as the new store has them, and its parameters. Behind it a join may
    stand, and an order by `place`, the source's own."""
    table = schema.TABLES[record]
    names = schema.columns(record)
    runs = {**source.runs, **source.bench_runs}  # a load test writes rows of common tables too
    values = ", ".join(_value(source, record, name) for name in names)
    rows = f"SELECT {values}, row.rowid AS place FROM {source.name}.{table} AS row"
    parameters: list[object] = []
    if "run_id" in names:
        numbers = "SELECT unnest(CAST(? AS VARCHAR[])) AS run_id, unnest(CAST(? AS VARCHAR[])) AS number"
        rows += f" LEFT JOIN ({numbers}) AS runs ON row.run_id = runs.run_id"
        parameters = [list(runs), list(runs.values())]
    return f"SELECT * EXCLUDE (place) FROM ({rows}) AS new", parameters


def _value(source: _Source, record: type[Record], name: str) -> str:
    if name == "run_id":  # a run that was killed before its first row has no number
        return 'coalesce(runs.number, row.run_id) AS "run_id"'
    if (schema.TABLES[record], name) in source.missing:
        return f'CAST(NULL AS {schema.nullable_type(record, name)}) AS "{name}"'
    return f'row."{name}"'


def _refuse_conflicts(
    connection: duckdb.DuckDBPyConnection, source: _Source, record: type[Record], identity: Sequence[str]
) -> None:
    """Refuses a source with rows that the new store holds with another content.

    raises  SpecError that names the first of them"""
    table, key = schema.TABLES[record], ", ".join(identity)
    rows, parameters = _rows(source, record)
    other_run = "run_id" in schema.columns(record) and "run_id" not in identity  # it may be played in any run
    compared = "* EXCLUDE (run_id)" if other_run else "*"
    different = connection.execute(
        f"SELECT {key} FROM (SELECT {compared} FROM ({rows} SEMI JOIN {table} USING ({key}))"
        f" EXCEPT SELECT {compared} FROM {table}) ORDER BY ALL",
        parameters,
    ).fetchall()
    if different:
        raise SpecError(_conflict(connection, source, record, different))


def _conflict(
    connection: duckdb.DuckDBPyConnection,
    source: _Source,
    record: type[Record],
    different: Sequence[tuple[object, ...]],
) -> str:
    first = different[0]
    if record is SummaryRecord:
        return (
            f"{source.path}: has other averages of {first[0]} in {first[1]} than a store before it, so nothing is"
            " merged. Leave one of the stores out"
        )
    assert record in (EpisodeRecord, TurnRecord, CallRecord, LogprobRecord), (
        "one process writes the rows of a run"
    )
    played = len({episode for episode, *_ in different})
    ((method,),) = connection.execute(
        f"SELECT min(method) FROM {source.name}.{schema.TABLES[record]} WHERE episode_id = ?", [first[0]]
    ).fetchall()
    return (
        f"{source.path}: {played:,} of its episodes are in a store before it, too, and the rows"
        f" of `{schema.TABLES[record]}` differ; the first is {first[0]} of {method}. One store cannot hold two plays of"
        " one episode, so nothing is merged. Leave one of the stores out, or give the method another name in one"
        " sweep file and play it again"
    )
