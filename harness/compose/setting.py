"""Where a sweep is played, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.progress.views import Emit
from harness.spec.sweep import SweepSpec

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a sweep is played.

    source    the sweep file: errors name it, a .env beside it is read, relative paths start there
    store     the DuckDB file
    environ   where keys come from
    console   for the live view: a table on a terminal, plain lines elsewhere
    emit      takes events for machines, which come instead of the live view; None: nobody wants them
    say       takes one line for a person"""

    source: Path
    store: Path
    environ: Mapping[str, str]
    console: Console
    say: Say
    emit: Emit | None = None

    @property
    def folder(self) -> Path:
        return self.source.parent


def beside(source: Path, spec: SweepSpec) -> Path:
    """The store of a sweep for which none is named."""
    return source.parent / f"{spec.name}.duckdb"
