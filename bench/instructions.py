"""Counts the instructions of a turn: the plays of bench.overhead under valgrind, for machines on which
seconds are no measure.

Each play is run twice, short and long, and what the long run took more is divided by the turns that it played
more, so the start cancels out. Only user space is counted; the kernel's part is about the same for all three.
A program so slowed down would commit fifty times as often, so its rows are committed once: the figure holds
the cost of a row, not of a commit.

    python -m bench.instructions [--window 256]       needs valgrind"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.overhead import Measured, bare, ours, responder
from harness.core.event_loop import run_async
from harness.store import writer

LENGTHS = {"bare": (1_000, 3_000), "on": (170, 510), "off": (170, 510)}  # requests; episodes
NAMES = {"bare": "the bare loop", "on": "all on", "off": "without the store"}


def play(kind: str, url: str, length: int, window: int) -> Measured:
    if kind == "bare":
        bodies: list[bytes] = []
        run_async(lambda: ours(url, episodes=20, window=64, store=None, tap=bodies))
        return uvloop.run(bare(url, bodies=list(islice(cycle(bodies), length)), window=window))
    writer.BATCH_PERIOD_S = 600.0
    with TemporaryDirectory() as folder:
        store = Path(folder) / "s.duckdb" if kind == "on" else None
        return run_async(lambda: ours(url, episodes=length, window=window, store=store))


def counted(bench: str, *arguments: object) -> tuple[int, int]:
    """Runs a bench that prints how many turns it played; returns its instructions and that number."""
    command = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
        sys.executable,
    ]
    command += ["-m", bench, *map(str, arguments)]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    instructions = re.search(r"I +refs: +([\d,]+)", ended.stderr)
    assert instructions is not None, ended.stderr
    return int(instructions[1].replace(",", "")), int(ended.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--play", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        kind, url, length = arguments.play
        print(play(kind, url, int(length), arguments.window).turns)
        return
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not there: apt install valgrind")
    costs: dict[str, float] = {}
    with responder(max(os.sched_getaffinity(0))) as url:
        for kind, (short, long) in LENGTHS.items():
            (few, few_turns), (many, many_turns) = (
                counted("bench.instructions", "--window", arguments.window, "--play", kind, url, length)
                for length in (short, long)
            )
            costs[kind] = (many - few) / (many_turns - few_turns)
            print(
                f"{NAMES[kind]}: {costs[kind] / 1000:,.0f} thousand a turn, {costs['bare'] / costs[kind]:.2f} of the bare loop's pace"
            )


if __name__ == "__main__":
    main()
