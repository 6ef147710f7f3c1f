"""Where a sweep is played, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config.sweep import SweepSpec
    from harness.progress.views import Emit

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Where a sweep is played.

    source    the sweep file: errors name it, a .env beside it is read, relative paths start there
    store     the DuckDB file
    environ   where keys come from
    say       takes one line for a person
    live      stderr is a terminal: how it goes is a table there that changes in place; else a few lines now and then
    emit      takes events for machines, which come instead of either; None: nobody wants them"""

    source: Path
    store: Path
    environ: Mapping[str, str]
    say: Notify
    live: bool = False
    emit: Emit | None = None

    @property
    def folder(self) -> Path:
        return self.source.parent


def default_store_path(source: Path, spec: SweepSpec) -> Path:
    """The store of a sweep for which none is named."""
    return source.parent / f"{spec.name}.duckdb"
