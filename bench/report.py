"""The report of a large store: how long it takes to make, how many bytes it has, how soon Chromium shows it.

    python -m bench.report [--episodes 100000] [--opens 5]

A small sweep of bots is played and its rows are multiplied in SQL, each copy an item of its own with texts of
its own, until the store has that many episodes. Opened means: loaded and painted, and then the first
transcript on the screen after scrolling to it."""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from playwright.sync_api import sync_playwright

SWEEP = """
name = "seed"
seed = 3
repeats = 2
[games.taboo]
items = 15
[games.wordle]
items = 15
[games.referencegame]
items = 15
[games.imagegame]
items = 5
[models.strong]
parameters = 7e10
[models.strong.methods.local]
bots = { skill = 0.85 }
[models.strong.methods.east]
bots = { skill = 0.85 }
[models.strong.methods.west]
bots = { skill = 0.85, form_errors = 0.03 }
[models.middle]
parameters = 8e9
[models.middle.methods.local]
bots = { skill = 0.6 }
[models.middle.methods.east]
bots = { skill = 0.5, form_errors = 0.01 }
[models.small]
parameters = 1.35e8
[models.small.methods.local]
bots = { skill = 0.2, form_errors = 0.1 }
"""


def large_store(folder: Path, episodes: int) -> Path:
    """A store with at least so many episodes."""
    (folder / "seed.toml").write_text(SWEEP)
    _lightbulb("run", folder / "seed.toml")
    store = folder / "seed.duckdb"
    with duckdb.connect(str(store)) as connection:
        ((played,),) = connection.execute("SELECT count(*) FROM episodes").fetchall()
        copies = -(-episodes // played) - 1
        for table, more in (
            (
                "episodes",
                "key || '#' || n AS key, instance || '-' || n AS instance, content_hash || n AS content_hash",
            ),
            (
                "turns",
                """ask_hash || n AS ask_hash, replace(added_json, '"text":"', '"text":"(' || n || ') ') AS added_json""",
            ),
            ("calls", "ask_hash || n AS ask_hash, reply || ' (' || n || ')' AS reply"),
        ):
            connection.execute(
                f"INSERT INTO {table} SELECT * EXCLUDE (n) REPLACE (md5(episode_id || n)[:16] AS episode_id, {more})"
                f" FROM {table}, range({copies}) AS copies(n)"
            )
    return store


def _lightbulb(*arguments: object) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "harness", *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - began


def opening_times(page: Path, opens: int) -> list[tuple[float, float]]:
    """Seconds to the loaded and painted page, and from there to the first transcript."""
    times = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(opens):
            tab = browser.new_context().new_page()
            began = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="load")
            tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            loaded = time.perf_counter()
            tab.locator("#episode-list a").first.click()
            tab.wait_for_selector("#talk .bubble")
            times.append((loaded - began, time.perf_counter() - loaded))
            tab.context.close()
        browser.close()
    return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--episodes", type=int, default=100_000)
    options.add_argument("--opens", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = large_store(folder, chosen.episodes)
        with duckdb.connect(str(store), read_only=True) as connection:
            ((episodes, calls),) = connection.execute(
                "SELECT (SELECT count(*) FROM episodes), (SELECT count(*) FROM calls)"
            ).fetchall()
        made_s = _lightbulb("report", store, "-o", folder / "report.html")
        size = (folder / "report.html").stat().st_size
        times = opening_times(folder / "report.html", chosen.opens)
    opened, first = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{episodes:,} episodes, {calls:,} calls: made in {made_s:.1f} s, {size / 1e6:.1f} MB")
    print(
        f"Chromium, median of {len(times)}: opened in {opened:.2f} s, the first transcript {first:.2f} s later;"
        f" slowest {max(map(sum, times)):.2f} s"
    )


if __name__ == "__main__":
    main()
