"""Measures `lightbulb merge`: a million calls of the reference sweep, held by two stores, become one.

The store of bench.storage is split by access method into two files. The command merges them in a process of
its own: once into a new file, once more into the file that holds all rows already, and once with a part that
both stores hold. A plain copy of the rows by DuckDB (`COPY FROM DATABASE`), which compares and renumbers
nothing, is the reference. The goal is 30 seconds for a million calls.

    python -m bench.merge"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from bench.startup import ENVIRON
from bench.storage import fill, write_reference_sweep

UNUSED_PORT = 9  # nothing is called
HALF = "w[0-2]"  # of the six access methods of each model, in the first store


def parts(folder: Path) -> tuple[Path, Path, Path, int]:
    """Returns the stores of both halves of the methods, one with all of them, and the number of calls."""
    full, first, second = (folder / f"{name}.duckdb" for name in ("full", "first", "second"))
    _, calls = fill(write_reference_sweep(folder, UNUSED_PORT), full)
    for store, condition in ((first, "SIMILAR TO"), (second, "NOT SIMILAR TO")):
        shutil.copyfile(full, store)
        with duckdb.connect(str(store)) as connection:
            for table in ("methods", "episodes", "turns", "calls"):
                connection.execute(f"DELETE FROM {table} WHERE NOT (method {condition} '.*/{HALF}')")
            # Two runs, not one: the second began later.
            connection.execute("UPDATE sweeps SET started_at = ?", [1.0 if store == second else 0.0])
    with duckdb.connect(str(full)) as connection:
        connection.execute("UPDATE sweeps SET started_at = 0.0")
    return first, second, full, calls


def measured(*arguments: object) -> tuple[float, float]:
    """Runs the command; returns its wall seconds and its CPU seconds."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "harness", "merge", *map(str, arguments)], env=ENVIRON, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def copied(store: Path, target: Path) -> float:
    """Returns the seconds in which DuckDB copies all tables of a store."""
    began = time.monotonic()
    with duckdb.connect(str(target)) as connection:
        connection.execute(f"ATTACH '{store}' AS source (READ_ONLY)")
        for (table,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'source'"
        ).fetchall():
            connection.execute(f"CREATE TABLE {table} AS FROM source.{table}")
        connection.execute("CHECKPOINT")
    return time.monotonic() - began


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        first, second, full, calls = parts(folder)
        target = folder / "both.duckdb"
        plain_s = copied(full, folder / "plain.duckdb")
        print(
            f"{calls:,} calls, {full.stat().st_size / 1e6:.0f} MB; a plain copy of the rows: {plain_s:.1f} s\n"
        )
        print("| merge | wall s | CPU s | of the plain copy |")
        print("|---|---|---|---|")
        for label, arguments in (
            ("two halves into a new file", (first, second, "-o", target)),
            ("the same again", (first, second, "-o", target)),
            ("the whole and a half of it", (full, first, "-o", folder / "overlap.duckdb")),
        ):
            wall_s, cpu_s = measured(*arguments)
            print(f"| {label} | {wall_s:.1f} | {cpu_s:.1f} | {wall_s / plain_s:.1f} |")
        memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        with duckdb.connect(str(target), read_only=True) as connection:
            ((merged,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
        print(f"\n{merged:,} calls in the merged store; {memory_mb:,.0f} MiB of memory at most")


if __name__ == "__main__":
    main()
