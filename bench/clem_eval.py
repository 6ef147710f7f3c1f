"""Compares clemscores: ours of a store, and those that clembench's own evaluation computes from its export.

`python -m bench.clem_eval --clem PATH_TO_CLEM` needs the command `clem` of clemcore, in an environment of its
own (`pip install clemcore`). The store has played, aborted and unscored episodes of two methods and three
games, drawn with a seed. The goal: every figure that clembench writes is the same with and without the way
through our store, and each clemscore is ours to two decimals."""

from __future__ import annotations

import argparse
import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from harness.analysis.store_audit import store_scores
from harness.core.records import Record
from harness.core.seeds import stream
from harness.core.vocabulary import Outcome, State
from harness.store.file import open_to_write
from harness.store.writer import write_batch
from harness.transfer.out_of_store import export_clembench
from harness.transfer.published import PublishedEpisode, ResultPlace, read_pair
from harness.transfer.rows import episode_rows, method_row

GAMES = ("taboo", "wordle", "imagegame")
EPISODES = 40  # of each game and method
METHODS = ("toy-big", "toy-small")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clem", type=Path, required=True, help="the command clem of clemcore")
    clem = parser.parse_args().clem
    with TemporaryDirectory() as folder:
        store, export = Path(folder) / "s.duckdb", Path(folder) / "export"
        write_store(store)
        export_clembench(store, export, seats={})
        subprocess.run([clem, "eval", "-r", export], check=True, capture_output=True, cwd=folder)
        with (export / "results.csv").open(newline="") as file:
            theirs = {row[""].split("--")[0]: float(row["-, clemscore"]) for row in csv.DictReader(file)}
        ours = {part.methods[0].method: part.methods[0] for part in store_scores(store)}
    print("| method | unscored | our clemscore | clem eval | difference |")
    print("|---|---|---|---|---|")
    for name, method in ours.items():
        value = method.clemscore.value or 0.0
        print(f"| {name} | {method.unscored} | {value} | {theirs[name]} | {value - theirs[name]:+.2f} |")


def write_store(store: Path) -> None:
    chance = stream(0, "clem eval")
    with open_to_write(store) as connection:
        for name in METHODS:
            pair = read_pair(f"{name}--{name}")
            rows: list[Record] = [method_row(pair, run_id="0001", model=name)]
            for episode in episodes(name, chance):
                content_hash = episode.place.name_hash
                rows += episode_rows(episode, run_id="0001", model=name, content_hash=content_hash, attempt=0)
            write_batch(connection, store, rows)


def episodes(name: str, chance: Random) -> Iterator[PublishedEpisode]:
    for game in GAMES:
        for number in range(EPISODES):
            state, score = ending(chance)
            yield PublishedEpisode(
                place=ResultPlace(
                    pair=read_pair(f"{name}--{name}"),
                    game=game,
                    rules="clemcore",
                    experiment="x",
                    instance=str(number),
                ),
                source=Path(),
                instance_hash=None,
                outcome=Outcome(state=state, score=score, reason=""),
            )


def ending(chance: Random) -> tuple[State, float | None]:
    """Draws an end: a fifth aborted, a tenth unscored."""
    draw = chance.random()
    if draw < 0.2:
        return "aborted", None
    if draw < 0.3:
        return "unscored", None
    score = chance.choice((0.0, 33.33, 50.0, 100.0))
    return ("success" if score == 100 else "lost"), score


if __name__ == "__main__":
    main()
