"""Kills a sweep at random moments, with parts of its own: shares no code with bench.kills and the tests.

A provider of raw asyncio in this process answers each request by the hash of its last messages and logs what
it was asked and what it answered, with times. `lightbulb run` plays a sweep in a process of its own, which
SIGKILL ends: at a random moment of play, while it starts, or after one Ctrl-C while it waits for its calls.
An undisturbed run of the same sweep is the standard. Rows are read by the duckdb command of Python only.

    python -m bench.kill_loop [--kills 60] [--repeats 20] [--seed 0] [--slack 1]

bench.worker_kills uses these parts, too."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

SWEEP = """
name = "loop"
seed = 5
repeats = {repeats}
[games.wordle]
items = 10
[games.referencegame]
items = 10
[models.m.methods.a]
base_url = "http://127.0.0.1:{port}/v1"
served_name = "toy"
concurrency = 12
[models.m.methods.b]
base_url = "http://127.0.0.1:{port}/v1"
served_name = "toy"
concurrency = 12
[audit]
again = false
"""
WORDS = ("crane", "slate", "pound", "light", "berry", "house", "mount", "fjord", "vivid", "zesty")
LATENCY_S = (0.05, 0.4)
AT_ONCE_S = (0.0, 0.0)  # seconds; for a run in which nothing is killed, so that it ends soon
DURABLE_S = 1.0  # a row that is older must be on disk
RESULTS = "SELECT key, status, outcome, score, turns FROM last_episodes ORDER BY key"
REPLIES = """
    SELECT key, c.turn, any_value(reply) FROM calls c JOIN last_episodes e USING (episode_id, attempt)
    WHERE error_class IS NULL GROUP BY ALL ORDER BY ALL"""
TWICE = (
    ("episodes", "SELECT count(*) - count(DISTINCT episode_id) FROM episodes"),
    ("turns", "SELECT count(*) - count(DISTINCT (episode_id, attempt, turn)) FROM turns"),
    (
        "calls",
        "SELECT count(*) - count(DISTINCT (episode_id, attempt, turn)) FROM calls WHERE error_class IS NULL",
    ),
)
LAST_LIFE_S = 900.0  # the last run plays what is left; minutes on a busy machine


def reply_to(body: bytes) -> str:
    """Returns a reply that depends on the messages only: the same ask always gets the same reply."""
    number = int.from_bytes(hashlib.sha256(json.dumps(json.loads(body)["messages"]).encode()).digest()[:4])
    text = body.decode()
    if "guess:" in text:
        return f"guess: {WORDS[number % len(WORDS)]}\nexplanation: because {number % 97}"
    return f"Answer: {('first', 'second', 'third')[number % 3]}"


class Provider:
    """The log: when each request came, and when each answer was sent.

    latency_s   shortest and longest time to an answer"""

    def __init__(self) -> None:
        self.came: list[float] = []
        self.answered: list[float] = []
        self.latency_s = AT_ONCE_S

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                length = 0
                while (header := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = await reader.readexactly(length)
                if line.startswith(b"GET"):
                    text = json.dumps({"object": "list", "data": [{"id": "toy", "object": "model"}]})
                else:
                    text = await self.answer(body)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write(head.encode() + text.encode())
                await writer.drain()
                if not line.startswith(b"GET"):
                    self.answered.append(time.monotonic())
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, body: bytes) -> str:
        self.came.append(time.monotonic())
        await asyncio.sleep(random.uniform(*self.latency_s))
        message = {"role": "assistant", "content": reply_to(body)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        return json.dumps(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "toy"}
            | {"choices": [choice], "usage": usage}
        )


async def start(sweep: Path, store: Path, *options: str) -> asyncio.subprocess.Process:
    command = ("-m", "harness", "run", str(sweep), "--store", str(store), *options)
    with store.with_suffix(".log").open("ab") as log:
        return await asyncio.create_subprocess_exec(sys.executable, *command, stdout=log, stderr=log)


def read(store: Path, query: str) -> list[tuple[object, ...]]:
    if not store.exists() or not store.stat().st_size:
        return []
    with duckdb.connect(str(store)) as connection:
        tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        return connection.execute(query).fetchall() if "calls" in tables else []


def log_left(store: Path) -> bool:
    return store.with_name(f"{store.name}.wal").exists()


def answered_calls(store: Path) -> int:
    rows = read(store, "SELECT count(*) FROM calls WHERE error_class IS NULL")
    return int(str(rows[0][0])) if rows else 0


class Trial(NamedTuple):
    """A sweep of which one store is of an undisturbed run, and the other of runs that are killed.

    needed   calls that the undisturbed run made"""

    provider: Provider
    sweep: Path
    whole: Path
    store: Path
    needed: int

    def compare(self, excused: int) -> None:
        """Prints what is twice or different in the killed runs' store, and the calls that were made again."""
        print("rows twice: " + ", ".join(f"{name} {read(self.store, query)[0][0]}" for name, query in TWICE))
        asked = len(self.provider.came) - self.needed
        print(f"asked {asked} where {self.needed} were needed; {excused} may be asked twice")
        for name, query in (("episodes", RESULTS), ("replies", REPLIES)):
            print(f"{name} as undisturbed: {read(self.store, query) == read(self.whole, query) != []}")


@asynccontextmanager
async def trial(folder: Path, repeats: int) -> AsyncIterator[Trial]:
    """Serves the provider for as long as the block lasts, after an undisturbed run against it, which it
    answers at once."""
    provider = Provider()
    async with await asyncio.start_server(provider.serve, "127.0.0.1", 0) as server:
        sweep = folder / "loop.toml"
        sweep.write_text(SWEEP.format(port=server.sockets[0].getsockname()[1], repeats=repeats))
        whole = folder / "whole.duckdb"
        assert await (await start(sweep, whole)).wait() == 0, whole.with_suffix(".log").read_text()
        provider.latency_s = LATENCY_S
        yield Trial(provider, sweep, whole, folder / "killed.duckdb", len(provider.came))


def run_loop(
    parser: argparse.ArgumentParser, loop: Callable[..., Coroutine[None, None, None]], *, repeats: int
) -> None:
    """Adds the options that both benches have, and runs the loop with all options in a folder of its own."""
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--slack", dest="slack_s", type=float, default=1.0, help="seconds; a busy machine needs more"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(loop(Path(name), **vars(options)))


async def end_by_kill(process: asyncio.subprocess.Process, provider: Provider, chance: random.Random) -> str:
    """Kills the process in one of three ways; returns which, or "ended" if it ended before."""
    way = chance.choice(("play", "play", "start", "draining"))
    came = len(provider.came)
    until_s = time.monotonic() + (chance.uniform(0.0, 1.5) if way == "start" else 120.0)
    while time.monotonic() < until_s and process.returncode is None:
        if way != "start" and len(provider.came) > came:
            break
        await asyncio.sleep(0.01)
    if way != "start":
        await asyncio.sleep(chance.uniform(0.0, 3.0))
    if way == "draining" and process.returncode is None:
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(chance.uniform(0.0, 0.4))
    if process.returncode is not None:
        return "ended"
    process.kill()
    await process.wait()
    return way


async def loop(folder: Path, *, kills: int, repeats: int, seed: int, slack_s: float) -> None:
    """Plays and kills; slack_s is for the way of an answer through a busy machine."""
    chance = random.Random(seed)
    async with trial(folder, repeats) as made:
        provider, sweep, store = made.provider, made.sweep, made.store
        ways: dict[str, int] = {}
        lost = excused = logs_left = 0
        for _ in range(kills):
            came, answered, held = len(provider.came), len(provider.answered), answered_calls(store)
            way = await end_by_kill(await start(sweep, store), provider, chance)
            killed_s = time.monotonic()
            ways[way] = ways.get(way, 0) + 1
            logs_left += log_left(store)
            await asyncio.sleep(LATENCY_S[1] + 0.2)  # what was in flight is over
            durable = sum(at_s < killed_s - DURABLE_S - slack_s for at_s in provider.answered[answered:])
            lost += max(0, durable - (answered_calls(store) - held))
            excused += len(provider.came) - came - durable
            if way == "ended":
                break
        code = await asyncio.wait_for((await start(sweep, store)).wait(), LAST_LIFE_S)
        print(
            f"{sum(ways.values())} kills: {ways}; write-ahead log left {logs_left} times; last exit code {code}"
        )
        print(f"answers older than a second lost: {lost}")
        made.compare(excused)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=60)
    run_loop(parser, loop, repeats=20)


if __name__ == "__main__":
    main()
