"""Measures the live page: how soon it shows a large store, and what an open page costs a run.

python -m bench.view paint [--calls 1000000]      from opening the address to the figures of all calls
python -m bench.view cost [--rounds 3]            thirty emulated methods without and with an open page

The first paint is the page's frame; the figures follow when the rows have been summed. `bench.view_minute`
tests what an open page shows."""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from playwright.sync_api import sync_playwright

from bench.report import large_store

METHOD = """
[models.model-{model}.methods.provider-{number}]
emulator = {{ skill = 0.8, latency = {{ first_s = 0.5 }} }}
concurrency = 4
"""
SWEEP = 'name = "cost"\nseed = 1\nrepeats = 2\n[games.referencegame]\nitems = 50\n'
METHODS = 30


@contextmanager
def started(*arguments: object) -> Iterator[tuple[str | None, subprocess.Popen[str]]]:
    """Starts a command; gives the address of its page, None if it has none, and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address = None
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
            address = found[0]
            break
        if "--view" not in arguments and "view" not in arguments:
            break
    try:
        yield address, process
    finally:
        process.terminate()
        process.communicate()


def paint(calls: int) -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        store = large_store(Path(name), calls // 4)
        with duckdb.connect(str(store), read_only=True) as connection:
            ((held,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        painted, shown, results = [], [], []
        for _ in range(3):
            with started("view", store) as (address, _process):
                tab = browser.new_context().new_page()
                began = time.perf_counter()
                tab.goto(str(address), wait_until="load")
                paints = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
                tab.wait_for_selector("#overview [data-rows]")
                shown.append(time.perf_counter() - began)
                painted.append(tab.evaluate(paints) / 1000)
                tab.wait_for_selector("#cost table")
                results.append(time.perf_counter() - began)
                tab.context.close()
        browser.close()
    print(
        f"{held:,} calls, median of 3: first paint {statistics.median(painted):.2f} s, figures of all calls"
        f" {statistics.median(shown):.2f} s, costs, games and causes {statistics.median(results):.2f} s"
    )


def cost(rounds: int) -> None:
    ratios = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        sweep = folder / "cost.toml"
        parts = [METHOD.format(model=number % 6, number=number) for number in range(METHODS)]
        sweep.write_text(SWEEP + "".join(parts), "utf-8")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for number in range(rounds):
            rates = []
            for view in (False, True):
                store = folder / f"{number}-{view}.duckdb"
                options = ["--view"] if view else []
                with started("run", sweep, "--store", store, *options) as (address, process):
                    tab = browser.new_context().new_page()
                    if address:
                        tab.goto(address)
                    assert process.stderr is not None
                    for _ in process.stderr:
                        pass
                    process.wait()
                    tab.context.close()
                with duckdb.connect(str(store), read_only=True) as connection:
                    ((calls, seconds),) = connection.execute(
                        "SELECT count(*), max(sent_at + latency_s) - min(sent_at) FROM calls"
                    ).fetchall()
                rates.append(calls / seconds)
            ratios.append(rates[1] / rates[0])
            print(f"{rates[0]:.0f} calls/s without, {rates[1]:.0f} with: {ratios[-1]:.3f}", flush=True)
        browser.close()
    print(f"median ratio {statistics.median(ratios):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("paint").add_argument("--calls", type=int, default=1_000_000)
    verbs.add_parser("cost").add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    paint(chosen.calls) if chosen.verb == "paint" else cost(chosen.rounds)


if __name__ == "__main__":
    main()
