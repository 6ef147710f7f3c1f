"""Kills a sweep again and again, and counts what is lost, what is asked twice and which results differ from
an undisturbed run's.

The emulator answers on loopback from this process; the sweep is `lightbulb run` in a process of its own,
which SIGKILL ends at random moments of play. Each time it is started again on the same store. Nothing is
patched: real sockets, a real file, real kills.

    python -m bench.kills [--kills 200] [--seed 0] [--slack 0.5]"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread
import duckdb

from backends.emulator.server import serving
from backends.emulator.statistics import Statistics
from harness.core.emulation import Emulation, Latency

SWEEP = """
name = "killed"
seed = 3
repeats = {repeats}
[games.wordle]
items = 12
[games.privateshared]
items = 6
[models.bots.methods.a]
provider = "emulator"
base_url = "{base_url}"
concurrency = 16
[audit]
again = false
"""
RESULTS = "SELECT key, status, outcome, score, reason, turns, requests, parsed, violated FROM last_episodes ORDER BY key"
TWICE = (
    "SELECT count(*) - count(DISTINCT episode_id) FROM episodes",
    "SELECT count(*) - count(DISTINCT (episode_id, attempt, turn)) FROM turns",
    "SELECT count(*) - count(DISTINCT (episode_id, attempt, turn)) FROM calls WHERE error_class IS NULL",
)
ANSWER_S = 0.1  # median; one in a thousand takes five times as long
# of play at most: rows are on disk within a second, so that some lives bring the sweep on and some do not
LIFE_S = 2.0
DURABLE_S = 1.0  # what is older than that when the kill comes must be on disk
SETTLED_S = 0.1  # so long without a request: nothing of a killed process is under way any more


@dataclass(slots=True, kw_only=True)
class Account:
    """The counts over all kills.

    kept         calls that killed processes left in the store, so that the last process need not ask them
    lost         answers older than a second at a kill whose calls were not in the store after it
    asked        requests of all processes together
    needed       requests of an undisturbed run
    excused      requests in flight or younger than a second at a kill: as many may be asked twice
    duplicates   episodes, turns or answered calls that stand in the store twice
    agrees       whether every result is the undisturbed run's
    lives_s      how long each process lived"""

    kept: int = 0
    lost: int = 0
    asked: int = 0
    needed: int = 0
    excused: int = 0
    duplicates: int = 0
    agrees: bool = False
    lives_s: list[float] = field(default_factory=list)


async def killed(folder: Path, *, kills: int, repeats: int, seed: int, slack_s: float = 0.5) -> Account:
    """Plays one sweep undisturbed and the same sweep with so many kills.

    slack_s  time for an answer to get through two processes; a busy machine needs more"""
    chance, account = Random(seed), Account()
    provider = Emulation(skill=0.7, latency=Latency(first_s=ANSWER_S, spread=0.5))
    began_s = time.monotonic()
    async with serving(provider) as emulator:
        statistics = emulator.statistics
        sweep = folder / "killed.toml"
        sweep.write_text(SWEEP.format(repeats=repeats, base_url=emulator.base_url))
        whole, store = folder / "whole.duckdb", folder / "killed.duckdb"
        await play_to_end(sweep, whole)
        account.needed = statistics.requests
        for _ in range(kills):
            before, stored_before = statistics.requests, calls_in(store)
            with sweep_process(sweep, store) as process:
                born_s = time.monotonic()
                if not await wait_for_requests(statistics, before + 1, process):
                    break  # it came to its end first
                await anyio.sleep(chance.uniform(0.0, LIFE_S))
                process.send_signal(signal.SIGKILL)
                killed_s = time.monotonic()
                account.lives_s.append(killed_s - born_s)
            await settled(statistics)
            young = sum(
                1 for at_s in statistics.arrivals[before:] if at_s > killed_s - began_s - DURABLE_S - slack_s
            )
            account.excused += young
            account.lost += max(0, statistics.requests - before - young - (calls_in(store) - stored_before))
        account.kept = calls_in(store)
        await play_to_end(sweep, store)
        account.asked = statistics.requests - account.needed
    account.duplicates = sum(count(store, query) for query in TWICE)
    account.agrees = rows(store, RESULTS) == rows(whole, RESULTS)
    return account


async def play_to_end(sweep: Path, store: Path) -> None:
    with sweep_process(sweep, store) as process:
        code = await anyio.to_thread.run_sync(process.wait)
        assert code == 0, store.with_suffix(".log").read_text()


@contextlib.contextmanager
def sweep_process(sweep: Path, store: Path) -> Iterator[subprocess.Popen[bytes]]:
    with store.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", str(sweep), "--store", str(store)],
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


async def wait_for_requests(statistics: Statistics, requests: int, process: subprocess.Popen[bytes]) -> bool:
    """Waits until the provider has received so many; False if the process ended first."""
    while statistics.requests < requests:
        if process.poll() is not None:
            return False
        await anyio.sleep(0.005)
    return True


async def settled(statistics: Statistics) -> None:
    """Waits until no request of the killed process arrives any more: the next process's are counted apart."""
    requests = -1
    while requests != statistics.requests:
        requests = statistics.requests
        await anyio.sleep(SETTLED_S)


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(
        str(store)
    ) as connection:  # not read only: what a kill left in the write-ahead log is brought in
        return connection.execute(query).fetchall()


def count(store: Path, query: str) -> int:
    return int(str(rows(store, query)[0][0]))


def calls_in(store: Path) -> int:
    return count(store, "SELECT count(*) FROM calls") if store.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=45)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slack", type=float, default=0.5, help="seconds; a busy machine needs more")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        account = anyio.run(
            lambda: killed(
                Path(folder),
                kills=arguments.kills,
                repeats=arguments.repeats,
                seed=arguments.seed,
                slack_s=arguments.slack,
            )
        )
    lives = sorted(account.lives_s)
    print(f"{len(lives)} kills; a process lived {lives[0]:.1f} to {lives[-1]:.1f} s")
    print(f"kept by the killed: {account.kept} calls")
    print(f"answers older than a second lost: {account.lost}; rows there twice: {account.duplicates}")
    print(
        f"asked {account.asked} where {account.needed} were needed: {account.asked - account.needed} twice, {account.excused} excused"
    )
    print(f"results as undisturbed: {account.agrees}")


if __name__ == "__main__":
    main()
