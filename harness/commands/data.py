"""The commands show, sql, import, merge, export and backup: a store's rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.commands.arguments import AsJson, StoreFile
from harness.commands.terminal import FAILED, notify, stdout_console
from harness.core.errors import SpecError

if TYPE_CHECKING:
    from harness.transfer.clembench_results import FindGame
    from harness.transfer.into_store import ImportEnd

ExportFormat = Literal["parquet", "csv", "clembench", "hub"]


def show(
    store: StoreFile,
    episode: Annotated[
        str, typer.Argument(help="The id or key of an episode, or the first characters of it.")
    ] = "",
) -> None:
    """Print the transcript of one episode, as each seat saw it.

    Example: lightbulb show demo.duckdb 3f2a"""
    from harness.report.transcript import print_transcript
    from harness.store.file import open_to_read
    from harness.store.reader import transcript

    with open_to_read(store) as connection:
        if not episode:
            listed = f'lightbulb sql {store} "SELECT episode_id, method, game, outcome FROM scores"'
            raise SpecError(f"name an episode by the beginning of its id; to list all episodes: {listed}")
        print_transcript(transcript(connection, episode), stdout_console())


def sql(
    store: StoreFile,
    query: Annotated[str, typer.Argument(help="One SQL statement that reads.")],
    as_json: AsJson = False,
) -> None:
    """Run one SQL statement that reads the store, and print the rows.

    The view `scores` has a row for each episode, `calls_full` for each call, and `transcripts` for each turn.
    SHOW TABLES lists all tables and views; docs/columns.md explains every column.

    Example: lightbulb sql demo.duckdb "SELECT method, avg(score) FROM scores GROUP BY ALL" """
    from harness.report.table import table
    from harness.report.text import unique_names
    from harness.store.query import QueryResult

    if not query.strip(" \n\t;"):
        raise SpecError("the query is empty; write one, for example: FROM scores")
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
    store: Annotated[Path, typer.Option(help="The DuckDB file to add to; it is made if it does not exist.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL[=PAIRS]",
            help="These pairs are access methods of one model; repeatable. Default: each pair is a model.",
        ),
    ] = None,
    checkout: Annotated[
        Path | None,
        typer.Option(help="A clembench checkout at v1.6, for transcripts of privateshared without messages."),
    ] = None,
    reprompts: Annotated[
        Path | None,
        typer.Option(help="JSON: kind of mistake -> v1.6's text, for wordle transcripts without messages."),
    ] = None,
) -> None:
    """Import published clembench results into a store, for scores and audits. Import again to add more: no
    episode is added twice.

    A folder is read episode by episode, with transcripts where it has them; raw.csv gives episodes without
    transcripts; results.csv gives averages only, which are enough for scores, but not for an audit. A pair
    such as A-t0.0--A-t0.0 becomes the access method A. PAIRS is a pattern of such names, with * and ?, in
    upper or lower case; a MODEL without a pattern takes all pairs.

    If one access method of a model has an item of a game and another one lacks it, the item is a failed play
    of the other one. An episode with an error, or without any record, is a failed play too. v1.6 recorded
    some prompts in other formats than chat messages. These are rebuilt: the game is played with the recorded
    replies.

    Example: lightbulb import runs/v1.6_backends --store b.duckdb --model 'llama-3-70b=Llama-3-70B-*'"""
    from harness.core.clock import RealClock
    from harness.transfer import into_store

    end = into_store.import_results(
        results,
        store,
        into_store.Grouping.read(model or []),
        wall_s=RealClock().wall(),
        notify=notify,
        find_game=_game_finder(checkout, reprompts),
    )
    for line in _import_lines(end, store):
        notify(line)
    raise typer.Exit(FAILED if end.problems else 0)


def _import_lines(end: ImportEnd, store: Path) -> Iterator[str]:
    yield from (f"not imported: {line}" for line in end.problems)
    yield (
        f"{len(end.methods)} access methods: {end.episodes} episodes imported ({end.aborted} aborted,"
        f" {end.unscored} unscored, {end.failed} failed; {end.missing} of the failed have no record), and"
        f" {end.summaries} averages. {end.known} were already in the store, which is {store}"
    )
    if end.without_transcript:
        yield f"{end.without_transcript} of the played episodes have no transcript, so their replies cannot be compared"
    if end.transcripts:
        yield f"{end.transcripts} transcripts were added to episodes that had none in the store"


def _game_finder(checkout: Path | None, reprompts: Path | None) -> FindGame:
    """Returns what finds the game of a published episode, by the texts that the user has."""
    from games import GAMES
    from games.clembench import read_published_instance
    from harness.access.game_sets import reworded
    from harness.transfer.files import json_object
    from harness.transfer.rebuilt_transcripts import GameAtHand

    texts = {kind: str(text) for kind, text in json_object(reprompts).items()} if reprompts else {}

    def find(name: str, folder: Path) -> GameAtHand | None:
        if name not in GAMES:
            return None
        game, instance = GAMES[name], read_published_instance(folder, name, checkout=checkout)
        wording = {kind: texts[kind] for kind in game.reprompts if kind in texts}
        if wording:
            instance = reworded(instance, wording)
        return GameAtHand(play=game.play(instance, "v1.6"), seats=game.seats)

    return find


def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORES", help="The DuckDB files of the parts of a sweep.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The merged DuckDB file. If it exists, its rows are kept and merged too."
        ),
    ],
) -> None:
    """Merge the stores of one sweep that was played in parts: other access methods or repeats of the same
    items, for example on two machines.

    A row that several stores hold is written once, so the same command can be repeated. Nothing is merged if
    two stores hold different plays of one episode, or belong to sweeps that differ in items, margins or the
    settings of a method.

    Example: lightbulb merge here.duckdb there.duckdb -o both.duckdb"""
    from harness.running.merge_stores import merge_stores
    from harness.store.worker_stores import refuse_unmerged

    refuse_unmerged([*stores, output])
    for end in merge_stores(stores, output, notify=notify):
        known = f"; {end.known:,} episodes were already there" if end.known else ""
        notify(f"{output}: {end.episodes:,} episodes and {end.calls:,} calls of {end.path}{known}")


def export_store(
    store: StoreFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to; it must be new or empty.")
    ],
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
            f" {end.failed} failed episodes and {end.again} episodes of the reference's second run"
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
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The file to write; it must not exist yet.")
    ],
) -> None:
    """Copy a store to a new file. A run may be writing the store: it goes on, and writes its rows after the
    copy.

    Example: lightbulb backup mine.duckdb mine-backup.duckdb"""
    from harness.store import backup

    size = backup.back_up(store, target)
    notify(f"{target}: a complete copy of {store} ({size / 1e6:,.1f} MB)")
