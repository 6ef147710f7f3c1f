"""Measures what readers of a running sweep can do to it, and to each other.

A sweep of bots runs in a process of its own. Measured: which of the tests' attack statements are answered, on
the running and on the closed store; how long the run takes to end after Ctrl-C with endless queries left
behind, and without; how long an ordinary query waits beside endless ones of one process and of several.

    python -m bench.readers"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.core.errors import StoreError
from harness.store.query import QueryResult
from tests.harness.store.test_query_rules import ATTACKS
from tests.harness.store.test_query_server import ENDLESS

SWEEP = """
name = "readers"
repeats = 2000
[games.taboo]
items = 12
[models.bots.methods.a]
bots = { skill = 0.8, latency_s = 0.3 }
concurrency = 128
[audit]
again = false
"""
SECRET_ENV, SECRET = "ATTACK_KEY", "sk-PLANTED-SECRET"


def started(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts a run and waits until it answers queries."""
    sweep, store = folder / "readers.toml", folder / "readers.duckdb"
    sweep.write_text(SWEEP)
    with (folder / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", str(sweep)],
            stdout=log,
            stderr=log,
            env=os.environ | {SECRET_ENV: SECRET},
        )
    while True:
        try:
            if QueryResult(store, "SELECT count(*) FROM calls").rows()[0][0] > 100:
                return process, store
        except StoreError:
            pass
        time.sleep(0.2)


def attack(store: Path) -> list[str]:
    """Returns the statements that were answered, or whose error tells the secret."""
    answered = []
    for text in ATTACKS:
        try:
            QueryResult(store, text.replace("{folder}", str(store.parent))).rows()
            answered.append(text)
        except StoreError as error:
            if SECRET in str(error):
                answered.append(text)
    return answered


def stay(store: Path, count: int) -> None:
    """Asks so many endless queries at once and stays with each; in a process of its own."""
    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(QueryResult(store, ENDLESS).rows)


def left_behind(store: Path, processes: int, each: int) -> list[multiprocessing.Process]:
    left = [multiprocessing.Process(target=stay, args=(store, each), daemon=True) for _ in range(processes)]
    for process in left:
        process.start()
    time.sleep(2.0)
    return left


def wait_s(store: Path) -> float:
    begin_s = time.monotonic()
    QueryResult(store, "SELECT count(*) FROM calls").rows()
    return time.monotonic() - begin_s


def exit_s(run: subprocess.Popen[bytes]) -> float:
    """Returns how long the run takes to end after one Ctrl-C: its calls take 0.3 s."""
    begin_s = time.monotonic()
    run.send_signal(signal.SIGINT)
    run.wait(120)
    return time.monotonic() - begin_s


def end(processes: Sequence[multiprocessing.Process]) -> None:
    for process in processes:
        process.kill()
        process.join()


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with TemporaryDirectory() as name:
        run, store = started(Path(name))
        before = set(Path(name).iterdir())
        print(f"{len(ATTACKS)} statements, answered by a running store: {attack(store)}")
        print(f"an ordinary query alone: {wait_s(store):.2f} s")
        for processes, each in ((1, 10), (10, 1)):
            left = left_behind(store, processes, each)
            print(f"beside {each} endless queries of each of {processes} processes: {wait_s(store):.2f} s")
            end(left)
        time.sleep(1.0)
        print(f"a run's exit after Ctrl-C, without queries: {exit_s(run):.1f} s")
        print(
            f"answered by the closed store: {attack(store)}; files beside it: {set(Path(name).iterdir()) - before}"
        )
    with TemporaryDirectory() as name:
        run, store = started(Path(name))
        left = left_behind(store, 10, 1)
        assert run.poll() is None
        print(f"exit after Ctrl-C, with ten endless queries left behind: {exit_s(run):.1f} s")
        end(left)


if __name__ == "__main__":
    main()
