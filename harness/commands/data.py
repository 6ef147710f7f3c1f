"""The commands show, sql, import, export and backup: a store's rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands.arguments import AsJson, StoreFile
from harness.commands.terminal import FAILED, notify, stdout_console
from harness.core.errors import SpecError

ExportFormat = Literal["parquet", "csv", "clembench", "hub"]


def show(
    store: StoreFile,
    episode: Annotated[str, typer.Argument(help="An episode's id or key, or the beginning of one.")] = "",
) -> None:
    """One transcript, as each seat saw it.

    Example: lightbulb show demo.duckdb 3f2a"""
    from harness.report.transcript import print_transcript
    from harness.store.file import open_to_read
    from harness.store.reader import transcript

    with open_to_read(store) as connection:
        if not episode:
            listed = f'lightbulb sql {store} "SELECT episode_id, method, game, outcome FROM scores"'
            raise SpecError(f"name an episode by the beginning of its id; to list them: {listed}")
        print_transcript(transcript(connection, episode), stdout_console())


def sql(
    store: StoreFile,
    query: Annotated[str, typer.Argument(help="One SQL statement; it can only read.")],
    as_json: AsJson = False,
) -> None:
    """Query the store in SQL, read only. Tables: sweeps, models, methods, episodes, turns, calls, summaries,
    gate_events, pulses, engine_samples; views: scores, clemscores, calls_by_method, time_by_method,
    transcripts, last_episodes.

    Example: lightbulb sql demo.duckdb "SELECT method, avg(score) FROM scores GROUP BY ALL" """
    from harness.report.table import table
    from harness.report.text import unique_names
    from harness.store.query import QueryResult

    if not query.strip(" \n\t;"):
        raise SpecError("the query is empty; write one, as: FROM scores")
    names, rows = QueryResult(store, query).read()
    if as_json:
        for row in rows:
            print(json.dumps(dict(zip(unique_names(names), row, strict=True)), default=str))
    else:
        stdout_console().print(table(names, rows, left=len(names)))


def import_results(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS", help="Folders of published clembench results, raw.csv or results.csv."
        ),
    ],
    store: Annotated[Path, typer.Option(help="The DuckDB file; made if it is not there.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL[=PAIRS]",
            help="These pairs are access methods of one model; repeatable. Default: each is its own model.",
        ),
    ] = None,
) -> None:
    """Import published clembench results into a store, for scores and audits. Import again to add more: no
    episode is added twice.

    A folder is read episode by episode, with transcripts where it has them; raw.csv gives episodes without
    transcripts; results.csv gives averages only, which are enough for scores, but not for an audit. A pair
    such as A-t0.0--A-t0.0 becomes the access method A. PAIRS is a pattern of such names, with * and ?, in
    upper or lower case; a MODEL without a pattern takes all pairs.

    Example: lightbulb import runs/v1.6_backends --store b.duckdb --model 'llama-3-70b=Llama-3-70B-*'"""
    from harness.core.clock import RealClock
    from harness.transfer import into_store

    end = into_store.import_results(
        results, store, into_store.Grouping.read(model or []), wall_s=RealClock().wall(), say=notify
    )
    for line in end.broken:
        notify(f"not imported: {line}")
    notify(
        f"{end.episodes} episodes imported, {end.aborted} of them aborted and {end.unscored} unscored, and"
        f" {end.summaries} averages, of {len(end.methods)} access methods; {end.known} were in the store"
        f" already; {len(end.broken)} not imported; the store is {store}"
    )
    raise typer.Exit(FAILED if end.broken else 0)


def export_store(
    store: StoreFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write; new, or empty.")],
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--as", help="parquet, csv: a file for each table; clembench: results folders; hub: a dataset."
        ),
    ],
) -> None:
    """Export a store's rows to files that other programs read.

    parquet and csv: one file for each table, and the views scores and transcripts. clembench:
    <pair>/<game>/<experiment>/<episode>, as `lightbulb import` reads it; one folder for each repeat. hub:
    Parquet and a README.md, as the Hugging Face hub takes them; nothing is uploaded.

    Example: lightbulb export demo.duckdb --as parquet -o demo-tables"""
    from games import GAMES
    from harness.transfer import out_of_store

    if form == "clembench":
        end = out_of_store.export_clembench(
            store, output, seats={game.name: game.seats for game in GAMES.values()}
        )
        notify(
            f"{end.episodes} episodes in {', '.join(map(str, end.folders)) or 'no folder'}; left out:"
            f" {end.failed} failed and {end.again} second plays of the reference"
        )
        return
    rows = (
        out_of_store.export_hub(store, output)
        if form == "hub"
        else out_of_store.export_tables(store, output, form)
    )
    notify(f"{output}: {', '.join(f'{table} {count}' for table, count in rows.items())}")


def back_up(
    store: StoreFile,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The new file.")],
) -> None:
    """Copy a store to a new file, also while a run writes it: the run then writes nothing for the time of the copy.

    Example: lightbulb backup mine.duckdb mine-backup.duckdb"""
    from harness.store import backup

    size = backup.back_up(store, target)
    notify(f"{target}: {size / 1e6:,.1f} MB; a complete copy of {store}")
