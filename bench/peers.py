"""Turns a second of this program, of Inspect and of a loop over OpenAI's SDK, on the same work in one run.

    python -m bench.peers [--episodes 1500] [--peer-episodes 300] [--rounds 3] [--window 256]

The responder of bench.overhead answers from a process of its own; each client has one core. This program
plays episodes of taboo and wordle with everything on: gates, retries, rows in DuckDB. The peers post the
bodies that this program sends: a conversation is what one seat of an episode sees. Inspect evaluates a task
whose samples are the conversations, and writes its log; the SDK's loop stores nothing. The peers' environment
is made first, once: 400 MB. Clients take turns; the medians of the rounds are compared. A second row of this
program, without its store, does what the SDK's loop does."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from bench.overhead import Measured, ours, responder
from bench.tool_environments import environment
from harness.core.event_loop import run_async

PACKAGES = ("inspect-ai==0.3.285", "openai==3.57.0")
CLIENTS = Path(__file__).with_name("peer_clients.py")
GOALS = {"inspect": 50, "sdk": 20}  # this program's turns a second over theirs


def conversations(bodies: Iterable[bytes]) -> list[list[dict[str, Any]]]:
    """Returns the bodies in groups: within a group each one's messages begin with those of the one before."""
    found: list[list[dict[str, Any]]] = []
    for raw in bodies:
        body = orjson.loads(raw)
        for group in reversed(found[-4:]):  # one episode is played after the other; it has at most two seats
            before = group[-1]["messages"]
            if len(body["messages"]) > len(before) and body["messages"][: len(before)] == before:
                group.append(body)
                break
        else:
            found.append([body])
    return found


def measured_peer(
    python: Path, client: str, url: str, *, window: int, groups: list[Any]
) -> tuple[Measured, str]:
    """Returns what the client measured in its own process, and its version."""
    with TemporaryDirectory() as folder:
        job = {
            "client": client,
            "url": url,
            "window": window,
            "core": min(os.sched_getaffinity(0)),
            "folder": folder,
            "conversations": groups,
        }
        ended = subprocess.run(
            [python, CLIENTS], input=json.dumps(job), capture_output=True, text=True, check=False, cwd=folder
        )
    if ended.returncode:
        raise SystemExit(f"{client} failed: {ended.stderr[-2000:]}")
    figures = json.loads(ended.stdout.splitlines()[-1])
    version = figures.pop("version")
    return Measured(**figures), version


def measured_ours(url: str, *, episodes: int, window: int, stored: bool) -> Measured:
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    try:
        with TemporaryDirectory() as folder:
            store = Path(folder) / "peers.duckdb" if stored else None
            return run_async(lambda: ours(url, episodes=episodes, window=window, store=store))
    finally:
        os.sched_setaffinity(0, everywhere)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=1500, help="of this program")
    parser.add_argument("--peer-episodes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=256, help="calls in flight")
    given = parser.parse_args()
    python = environment("peers", PACKAGES)
    rows = {"lightbulb": True, "lightbulb without its store": False}
    speeds: dict[str, list[float]] = {client: [] for client in (*rows, *GOALS)}
    with responder(max(os.sched_getaffinity(0))) as url:
        bodies: list[bytes] = []
        run_async(lambda: ours(url, episodes=given.peer_episodes, window=1, store=None, tap=bodies))
        groups = conversations(bodies)
        print(f"{len(groups):,} conversations, {len(bodies):,} turns for each peer", flush=True)
        for _ in range(given.rounds):
            for name, stored in rows.items():
                own = measured_ours(url, episodes=given.episodes, window=given.window, stored=stored)
                speeds[name].append(own.per_second)
                print(
                    f"{name}: {own.per_second:,.0f} turns/s, {own.cpu_us:,.0f} us of CPU a turn", flush=True
                )
            for client in GOALS:
                theirs, version = measured_peer(python, client, url, window=given.window, groups=groups)
                speeds[client].append(theirs.per_second)
                print(
                    f"{client} {version}: {theirs.per_second:,.0f} turns/s, {theirs.cpu_us:,.0f} us of CPU a turn",
                    flush=True,
                )
    for client, goal in GOALS.items():
        ratios = [f"{median(speeds[name]) / median(speeds[client]):.1f}" for name in rows]
        print(f"over {client}: {ratios[0]} (goal {goal}), without the store {ratios[1]}")


if __name__ == "__main__":
    main()
