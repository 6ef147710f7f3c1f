"""Measures what a turn costs when workers play, beside the same sweep in one process.

A separate process answers on loopback as fast as a small program can. `lightbulb run` plays episodes of
taboo and wordle through one access method, in one process and with workers. Meanwhile this program reads,
once a second, the CPU time of the run's processes and the number of calls. It begins two seconds after the
first call, and ends after --seconds. Everything counts: sockets, gates, messages, rows, and Ray's own
processes. Needs the extra `ray`.

Processes that play at the same time share caches and cores, so that each call takes more CPU time than in
one that plays alone, whether or not they belong to one run. Therefore as many runs of one process each, which
know nothing of each other and have the same number of calls in flight together, are measured as well. The
last column is the ratio to these: what it costs that workers belong to one run.

python -m bench.leases [--seconds 15] [--in-flight 256] [--delay 0.05] [--workers 1 2]"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import orjson

from bench.overhead import responder

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WORKER = "ray::_Actor"  # the name of a worker's process begins so
SETTLED_S = 2.0  # from the first call until connections are open and the window has grown

SWEEP = """
name = "leases"
seed = 1
repeats = 200
[games.taboo]
[games.wordle]
[models.m.methods.loopback]
base_url = "{url}"
dialect = "openai_chat"
served_name = "m"
concurrency = {in_flight}
lists_models = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The calls of a run so far, and the CPU seconds of its processes by kind."""

    at_s: float
    calls: int
    coordinator_s: float
    workers_s: float
    ray_s: float


def descendants(process: int) -> dict[int, str]:
    """Returns the processes that a process has started, and those that they have started, with their
    names."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                name, fields = stat_of(int(folder.name))
                parents[int(folder.name)], names[int(folder.name)] = int(fields[1]), name
    found: dict[int, str] = {}
    for one in parents:
        above = one
        while (above := parents.get(above, 0)) > 1:
            if above == process:
                found[one] = names[one]
                break
    return found


def stat_of(process: int) -> tuple[str, list[str]]:
    """Returns a process's name, and what the kernel tells of it behind the name."""
    name, _, rest = (
        (Path("/proc") / str(process) / "stat").read_text("utf-8").partition("(")[2].rpartition(")")
    )
    return name, rest.split()


def cpu_s(process: int) -> float:
    with suppress(OSError):
        _, fields = stat_of(process)
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return 0.0


def cpu_of(run: int) -> tuple[float, float, float]:
    """Returns the CPU seconds of a run's own process, of its workers and of the rest of its descendants."""
    below = descendants(run)
    workers = [one for one, name in below.items() if name.startswith(WORKER)]
    others = below.keys() - set(workers)
    return cpu_s(run), sum(map(cpu_s, workers)), sum(map(cpu_s, others))


def samples(sweep: Path, store: Path, workers: int, seconds: float) -> list[Sample]:
    """Plays the sweep, and returns the samples of so many seconds, which begin two seconds after the first
    call."""
    command = [sys.executable, "-m", "harness", "run", str(sweep), "--store", str(store), "--json"]
    run = subprocess.Popen(
        command + (["--workers", str(workers)] if workers else []),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    taken: list[Sample] = []
    first_s = None
    assert run.stdout is not None
    for line in run.stdout:
        event = orjson.loads(line)
        calls = sum(method["calls"] for method in event.get("methods", ()))
        if not calls or (taken and taken[-1].at_s - taken[0].at_s >= seconds):
            continue
        now_s = time.monotonic()
        first_s = first_s or now_s
        if now_s - first_s >= SETTLED_S:
            own_s, workers_s, ray_s = cpu_of(run.pid)
            taken.append(
                Sample(at_s=now_s, calls=calls, coordinator_s=own_s, workers_s=workers_s, ray_s=ray_s)
            )
            if taken[-1].at_s - taken[0].at_s >= seconds:
                run.send_signal(signal.SIGINT)
    run.wait()
    return taken


def side_by_side(folder: Path, sweep: Path, runs: int, seconds: float) -> list[list[Sample]]:
    """Plays the sweep in so many runs of one process each, at the same time."""
    with ThreadPoolExecutor(runs) as threads:
        return list(
            threads.map(
                lambda number: samples(sweep, folder / f"beside-{runs}-{number}.duckdb", 0, seconds),
                range(runs),
            )
        )


def cpu_us(runs: Sequence[list[Sample]]) -> list[float]:
    """Returns the CPU microseconds of a call: of the runs' own processes, of their workers, of Ray."""
    calls = sum(taken[-1].calls - taken[0].calls for taken in runs)
    return [
        1e6 * sum(getattr(taken[-1], part) - getattr(taken[0], part) for taken in runs) / calls
        for part in ("coordinator_s", "workers_s", "ray_s")
    ]


def rate(taken: list[Sample]) -> float:
    """Returns the calls of a typical second."""
    return median((b.calls - a.calls) / (b.at_s - a.at_s) for a, b in pairwise(taken))


def row(name: str, runs: Sequence[list[Sample]], baselines: Sequence[float]) -> str:
    """Returns a row of the table.

    baselines   CPU microseconds of a call in the runs to which this one is compared"""
    parts = cpu_us(runs)
    figures = [f"{part:.0f}" for part in (sum(parts), *parts)]
    ratios = [f"{sum(parts) / baseline:.2f}" for baseline in baselines]
    return f"| {' | '.join([name, f'{sum(map(rate, runs)):,.0f}', *figures, *ratios])} |"


def measure(folder: Path, url: str, chosen: argparse.Namespace) -> None:
    """Prints the rows of the table as they are measured."""

    def written(in_flight: int) -> Path:
        path = folder / f"{in_flight}.toml"
        path.write_text(SWEEP.format(url=url, in_flight=in_flight), "utf-8")
        return path

    sweep = written(chosen.in_flight)
    alone = [samples(sweep, folder / "alone.duckdb", 0, chosen.seconds)]
    alone_us = sum(cpu_us(alone))
    print(row("one process", alone, (alone_us, alone_us)), flush=True)
    for workers in chosen.workers:
        beside_us = alone_us
        if workers > 1:
            beside = side_by_side(folder, written(chosen.in_flight // workers), workers, chosen.seconds)
            beside_us = sum(cpu_us(beside))
            print(row(f"{workers} runs side by side", beside, (alone_us, beside_us)), flush=True)
        taken = [samples(sweep, folder / f"workers-{workers}.duckdb", workers, chosen.seconds)]
        print(row(f"{workers} workers", taken, (alone_us, beside_us)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    chosen = parser.parse_args()
    print(
        "| run | calls/s | CPU us a call | its own process | workers | Ray | to one process | to as many runs |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    with responder(0, chosen.delay) as url, TemporaryDirectory() as folder:
        measure(Path(folder), url, chosen)


if __name__ == "__main__":
    main()
