"""The arguments that several commands take, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.core.errors import SpecError

if TYPE_CHECKING:
    from harness.config.sweep import SweepSpec

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.")]
StoreFile = Annotated[Path, typer.Argument(metavar="STORE", help="The DuckDB file that a run wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable lines on stdout.")]


def load(sweep: Path) -> SweepSpec:
    """The sweep in this file, every default filled in."""
    from games import GAMES
    from harness.access.methods import resolved
    from harness.config.load import load_sweep

    return resolved(load_sweep(sweep, known_games=list(GAMES)), source=sweep)


def numbers(text: str, option: str, *, whole: bool) -> list[float]:
    """A list such as 1,4,16."""
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise SpecError(f"{option} {text!r}: write numbers with commas between, as 1,4,16") from error
    if any(not 0 < value <= 100_000 or (whole and value != int(value)) for value in values):
        raise SpecError(
            f"{option} {text!r}: each {'a whole number ' if whole else ''}above 0 and at most 100,000"
        )
    return values
