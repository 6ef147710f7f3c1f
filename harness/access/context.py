"""The context of a verb: the sweep file, the store, the environment, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config.sweep import SweepSpec
    from harness.progress.notebook_bar import Display
    from harness.progress.views import Emit

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The place where a sweep is played, and the receivers of its notices.

    source    the sweep file: errors name it, a .env beside it is read, relative paths start there
    store     the DuckDB file
    environ   holds the keys
    notify    takes one line for a person
    live      stderr is a terminal: progress is a table there that changes in place; else a few lines now and
              then
    display   shows HTML in a notebook's cell, in place of the last; None: this is no notebook
    emit      takes events for machines, instead of either; None: nobody reads them"""

    source: Path
    store: Path
    environ: Mapping[str, str]
    notify: Notify
    live: bool = False
    display: Display | None = None
    emit: Emit | None = None


def default_store_path(source: Path, spec: SweepSpec) -> Path:
    """Returns the store of a sweep for which none is named: beside the file, after the sweep's name."""
    return source.parent / f"{spec.name}.duckdb"
