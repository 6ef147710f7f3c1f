"""Arguments that several commands share, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from harness.commands.terminal import notify
from harness.core.errors import SpecError

if TYPE_CHECKING:
    from harness.config.sweep import SweepSpec

StoreArgument = TypeVar("StoreArgument", Path | None, list[Path] | None)


def note_unmerged(stores: StoreArgument) -> StoreArgument:
    """Says of each of these stores whether rows of workers are not in it yet; for arguments that are read."""
    from harness.store.worker_stores import has_unmerged, unmerged_line

    for store in [stores] if isinstance(stores, Path) else stores or ():
        if has_unmerged(store):
            notify(unmerged_line(store))
    return stores


SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.")]
StoreFile = Annotated[
    Path,
    typer.Argument(metavar="STORE", help="The DuckDB file that a run wrote.", callback=note_unmerged),
]
RunStore = Annotated[
    Path | None,
    typer.Option(
        help="The DuckDB file; default: NAME.duckdb in the folder of the sweep file, with the sweep's name."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout; all else goes to stderr.")]
Reference = Annotated[
    str | None,
    typer.Option(
        help='The access method that the others are compared with, as "model/method"; default: the one that the'
        " sweep file names."
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        help="The largest difference in score that does not matter, in points of 100; default: the one that the"
        " sweep file names.",
        min=0.01,
        max=100,
    ),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-out",
        metavar="METHOD",
        help='Do not compare this access method, "model/method"; repeatable. The adjustment of p-values for several'
        " methods still counts it.",
    ),
]

FailOnDifference = Annotated[
    bool,
    typer.Option(
        "--fail-on-difference",
        help="Exit with 5 if a verdict is DIFFERENT, or if the two runs of the reference differ.",
    ),
]
VerdictsThatCount = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="scores|replies|weights",
        help="With --fail-on-difference: look at these verdicts only; repeatable. Default: scores and replies.",
    ),
]


def load(sweep: Path) -> SweepSpec:
    """Returns the sweep in this file, with every default filled in."""
    from games import GAMES
    from harness.access.methods import provider_problems, resolved
    from harness.config.load import load_sweep

    return resolved(load_sweep(sweep, known_games=GAMES, check=provider_problems), source=sweep)


def parse_numbers(text: str, option: str, *, whole: bool) -> list[float]:
    """Returns the numbers of a list such as 1,4,16.

    raises  SpecError if one is not above 0 and at most 100,000, or has to be whole and is not"""
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise SpecError(
            f"{option} {text!r}: write numbers with commas between them, such as 1,4,16"
        ) from error
    if any(not 0 < value <= 100_000 or (whole and value != int(value)) for value in values):
        kind = "a whole number " if whole else ""
        raise SpecError(f"{option} {text!r}: each must be {kind}above 0 and at most 100,000")
    return values
