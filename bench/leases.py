"""Measures what a turn costs when workers play, beside the same sweep in one process.

A separate process answers on loopback as fast as a small program can. `lightbulb run` plays episodes of
taboo and wordle through one access method, in one process and with workers. Meanwhile this program reads,
once a second, the CPU time of the run's processes and the number of calls. It begins two seconds after the
first call, and ends after --seconds. Everything counts: sockets, gates, messages, rows, and Ray's own
processes. Needs the extra `ray`.

python -m bench.leases [--seconds 15] [--in-flight 256] [--delay 0.05] [--workers 1 2]"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
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


def line(name: str, taken: list[Sample], alone_us: float | None) -> tuple[str, float]:
    """Returns a row of the table, and the CPU microseconds of a call."""
    first, last = taken[0], taken[-1]
    calls = last.calls - first.calls
    parts = [
        1e6 * (getattr(last, part) - getattr(first, part)) / calls
        for part in ("coordinator_s", "workers_s", "ray_s")
    ]
    rates = sorted((b.calls - a.calls) / (b.at_s - a.at_s) for a, b in pairwise(taken))
    total = sum(parts)
    ratio = f"{total / alone_us:.2f}" if alone_us else "1"
    figures = " | ".join(f"{part:.0f}" for part in (total, *parts))
    return f"| {name} | {rates[len(rates) // 2]:,.0f} | {figures} | {ratio} |", total


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
        "| run | calls/s | CPU us a call | its own process | workers | Ray | ratio |\n|---|---|---|---|---|---|---|"
    )
    alone_us = None
    with responder(0, chosen.delay) as url, TemporaryDirectory() as folder:
        sweep = Path(folder) / "leases.toml"
        sweep.write_text(SWEEP.format(url=url, in_flight=chosen.in_flight), "utf-8")
        for workers in (0, *chosen.workers):
            store = Path(folder) / f"{workers}.duckdb"
            taken = samples(sweep, store, workers, chosen.seconds)
            text, us = line(f"{workers} workers" if workers else "one process", taken, alone_us)
            alone_us = alone_us or us
            print(text, flush=True)


if __name__ == "__main__":
    main()
