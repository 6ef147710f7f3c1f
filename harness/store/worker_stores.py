"""Names the folder beside a store in which the workers of a run write stores of their own.

Knows paths only. A run merges these stores when it ends, and the next run does it after one that was killed:
until then their rows are not in the store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import StoreError


def workers_folder(store: Path) -> Path:
    """Returns the folder of the stores that workers write for this store."""
    return Path(f"{store}.workers")


def has_unmerged(store: Path) -> bool:
    """Says whether stores of workers lie beside this store."""
    try:
        return any(name.endswith(".duckdb") for name in os.listdir(workers_folder(store)))
    except OSError:  # there is no such folder, or none can have this name
        return False


def unmerged_line(store: Path) -> str:
    """Returns what a reader of a store with unmerged stores of workers has to know."""
    return (
        f"{store}: lacks the rows in {workers_folder(store)}, which workers wrote. A run takes them in when it ends;"
        " after a kill or an error, give the command of the run again"
    )


def refuse_unmerged(stores: Iterable[Path]) -> None:
    """raises  StoreError if stores of workers lie beside one of these stores"""
    for store in stores:
        if has_unmerged(store):
            raise StoreError(unmerged_line(store))
