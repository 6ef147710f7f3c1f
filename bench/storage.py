"""Measures the speed of the store's writer, and the time until a sweep with a full store sends its first
request.

The writer: rows as a sweep makes them (a call and a turn for each turn, an episode for ten turns) go from the
event loop into DuckDB, at given rates and as fast as possible; the event loop delay is measured at the same
time. Resuming: the store holds a million calls of the reference sweep (10 models x 6 access methods x 5
repeats); one episode in a hundred is missing and some are open; all methods use HTTP. The time runs from the
command's start to the first prompt at the server, and is compared with that of a new store: the difference is
the cost of the million calls. Two references stand beside them: the time that Python takes to import the
libraries, and the number of turns of bench.overhead's bare loop in the same time, from its speed before and
after. On the machine on which the goals were set, one second is 11,500 turns.

    python -m bench.storage [--seconds 20] [--starts 3]"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import duckdb

from bench.overhead import pace
from bench.startup import ENVIRON
from games import GAMES
from harness.access.game_sets import game_sets
from harness.config.episode_plans import lane
from harness.config.load import load_sweep
from harness.config.sweep import Seating
from harness.core.clock import RealClock
from harness.core.records import (
    CallRecord,
    EpisodeRecord,
    MethodRecord,
    PulseRecord,
    Record,
    SweepRecord,
    TurnRecord,
)
from harness.core.vocabulary import EpisodePlan
from harness.progress.event_loop_delay import SLEEP_S
from harness.running.resume import read_stored
from harness.store.file import open_to_write
from harness.store.writer import write_batch, writing

TURNS = 10
REPLY = (
    "CLUE: a thing that people carry when it rains, made of cloth and thin metal, which is easily left behind"
    " on trains"
)
LIBRARIES = "aiohttp, anyio, asyncio_throttle, duckdb, orjson, pydantic, tenacity, typer._adapters, uvloop"
ADDED = json.dumps([{"role": "user", "text": "You are playing a guessing game. " + REPLY * 4}])
METHOD = MethodRecord(
    run_id="0001",
    method="m/a",
    model="m",
    provider="p",
    dialect="openai_chat",
    base_url="https://api.example.com/v1",
    served_model="m",
    sampling_json="{}",
    constrain=False,
    concurrency=64,
    engine_json=None,
)


# --- rows ---------------------------------------------------------------------------------------------------


def call(episode_id: str, turn: int, method: str) -> CallRecord:
    return CallRecord(
        episode_id=episode_id,
        attempt=0,
        turn=turn,
        try_number=0,
        run_id="0001",
        method=method,
        ask_hash=f"{episode_id}{turn:016}",
        reply=REPLY,
        finish_reason="stop",
        prompt_tokens=300 + turn,
        completion_tokens=25,
        served_model="m-2026-11",
        request_id=f"chatcmpl-{episode_id}-{turn}",
        http_status=200,
        error_class=None,
        error_text=None,
        queue_s=0.01,
        latency_s=0.5,
        sent_at=1.7e9 + turn,
        quota_s=0.0,
        rest_s=0.0,
    )


def turn_row(episode_id: str, turn: int, method: str) -> TurnRecord:
    return TurnRecord(
        episode_id=episode_id,
        attempt=0,
        turn=turn,
        seat="guesser",
        method=method,
        ask_hash=f"{episode_id}{turn:016}",
        history_kept=turn,
        added_json=ADDED,
        violation=None,
    )


def episode_row(plan: EpisodePlan) -> EpisodeRecord:
    puzzle = plan.instance
    return EpisodeRecord(
        episode_id=plan.episode_id,
        attempt=0,
        run_id="0001",
        key=plan.key,
        game=puzzle.game,
        rules=plan.rules,
        instance_set=puzzle.set_name,
        experiment=puzzle.experiment,
        instance=puzzle.id,
        content_hash=puzzle.content_hash,
        method=plan.seating[0],
        model=plan.seating[0].split("/")[0],
        seating="+".join(plan.seating),
        arm=plan.arm,
        batch=plan.batch,
        repeat=plan.repeat,
        status="finished",
        outcome="success",
        score=50.0,
        reason="guessed",
        requests=TURNS,
        parsed=TURNS,
        violated=0,
        metrics_json="{}",
        turns=TURNS,
        started_at=1.7e9,
        finished_at=1.7e9 + TURNS,
    )


def rows_of_a_sweep(episodes: int) -> Iterator[tuple[Record, ...]]:
    """Yields the rows of each put: a call; a turn; at an episode's end its last turn with its row."""
    game = GAMES["taboo"]
    ended = episode_row(
        EpisodePlan(instance=game.instances()[0], rules=game.rule_sets[0], seating=("m/a", "m/a"))
    )
    for number in range(episodes):
        name = f"{number:016x}"
        for turn in range(TURNS):
            yield (call(name, turn, "m/a"),)
            if turn < TURNS - 1:
                yield (turn_row(name, turn, "m/a"),)
            else:
                yield (turn_row(name, turn, "m/a"), ended._replace(episode_id=name))


# --- the writer ---------------------------------------------------------------------------------------------


async def write_for(seconds: float, store: Path, rate: float | None) -> tuple[float, list[float], float]:
    """Returns rows a second, the last commit included; the delays of a small task; the most rows that waited.

    seconds   duration
    store     the file
    rate      rows a second; None: as fast as the writer takes them"""
    late: list[float] = []
    clock = RealClock()
    most = written = 0
    rows = cycle(list(rows_of_a_sweep(1_000)))  # made before the clock runs: to make them is the sweep's work

    async def beat() -> None:
        while True:
            due = clock.now() + SLEEP_S / 10
            await anyio.sleep(SLEEP_S / 10)
            late.append(clock.now() - due)

    with open_to_write(store) as connection:
        began = clock.now()
        async with anyio.create_task_group() as tasks:
            async with writing(connection, store) as writer:
                tasks.start_soon(beat)
                while (passed := clock.now() - began) < seconds:
                    due = written + 100 if rate is None else int(rate * passed)
                    while written < due:
                        records = next(rows)
                        await writer.put(*records)
                        written += len(records)
                    most = max(most, writer.rows_behind)
                    await anyio.sleep(0.0 if rate is None else 0.002)
                tasks.cancel_scope.cancel()
        return written / (clock.now() - began), sorted(late), most


def measure_writer(seconds: float, folder: Path) -> None:
    print("| rows asked for /s | written /s | loop delay ms: median | p99 | max | rows behind, at most |")
    print("|---|---|---|---|---|---|")
    for rate in (0.0, 10_000.0, 30_000.0, None):
        store = folder / f"w{rate}.duckdb"
        speed, late, most = anyio.run(write_for, seconds, store, rate, backend_options={"use_uvloop": True})
        p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
        asked = "no limit" if rate is None else f"{rate:,.0f}"
        delays = " | ".join(f"{1e3 * delay:.1f}" for delay in (p50, p99, late[-1]))
        print(f"| {asked} | {speed:,.0f} | {delays} | {most:,.0f} |")
        store.unlink()


# --- resuming -----------------------------------------------------------------------------------------------


class Listener(ThreadingHTTPServer):
    """A server that answers prompts with useless replies. first_at: time of the first prompt."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.first_at: float | None = None
        self.anything = threading.Event()


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        self._answer(404, {})

    def do_POST(self) -> None:
        if self.server.first_at is None:
            self.server.first_at = time.time()
        self.server.anything.set()
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(
            200, {"model": "m", "choices": [{"message": {"content": REPLY}, "finish_reason": "stop"}]}
        )

    def _answer(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Writes no log."""


@contextmanager
def listening() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def write_reference_sweep(folder: Path, port: int) -> Path:
    """Writes the reference sweep, by which planning is measured too."""
    lines = ['name = "reference"', "repeats = 5", "[audit]", "again = false"]
    for game, items in (("taboo", 60), ("wordle", 30), ("wordle_withclue", 30), ("wordle_withcritic", 30)):
        lines += [f"[games.{game}]", f"items = {items}"]
    for game, items in (("imagegame", 40), ("referencegame", 180), ("privateshared", 30)):
        lines += [f"[games.{game}]", f"items = {items}"]
    for model in range(10):
        for method in range(6):
            address = f"http://127.0.0.1:{port}/{method}/v1"
            lines += [f"[models.m{model}.methods.w{method}]", f'base_url = "{address}"']
    path = folder / "reference.toml"
    path.write_text("\n".join(lines))
    return path


def fill(sweep: Path, store: Path) -> tuple[int, int]:
    """Fills a store with nearly the whole sweep; returns the numbers of episodes and calls."""
    spec = load_sweep(sweep, known_games=list(GAMES))
    sets = game_sets(spec, sweep)
    spec_json = json.dumps({"audit": {}, "seed": spec.seed})
    with open_to_write(store) as connection:
        write_batch(
            connection,
            store,
            [
                SweepRecord(
                    run_id="0001",
                    name="s",
                    spec_json=spec_json,
                    spec_hash="",
                    seed=0,
                    version="0",
                    started_at=0.0,
                ),
                PulseRecord(run_id="0001", at=0.0, lag_s=0.0, lag_s_max=0.0),
            ],
        )
        for method in spec.methods():
            plans = list(lane(Seating((method,)), sets, repeats=spec.repeats, seed=spec.seed, stored=()))
            played = plans[: -len(plans) // 100]
            write_batch(connection, store, [episode_row(plan) for plan in played])
            cut_off = [call(plan.episode_id, 0, method) for plan in plans[-5:]]
            write_batch(connection, store, [METHOD._replace(method=method), *cut_off])
        connection.execute(
            f"""INSERT INTO calls BY NAME SELECT episode_id, attempt, turn, 0 AS try_number, run_id, method,
            episode_id || printf('%016d', turn) AS ask_hash, '{REPLY}' || hash(episode_id, turn) AS reply,
            'stop' AS finish_reason,
            300 AS prompt_tokens, 25 AS completion_tokens, 'm-2026-11' AS served_model,
            'chatcmpl-' || episode_id || turn AS request_id, 200 AS http_status, 0.01 AS queue_s,
            0.5 AS latency_s, started_at + turn AS sent_at FROM episodes, range({TURNS}) AS all_turns(turn)"""
        )
        connection.execute(
            f"""INSERT INTO turns BY NAME SELECT episode_id, attempt, turn, 'guesser' AS seat, method,
            episode_id || printf('%016d', turn) AS ask_hash, turn AS history_kept, '{ADDED}' AS added_json
            FROM episodes, range({TURNS}) AS all_turns(turn)"""
        )
        return counted(connection, "episodes"), counted(connection, "calls")


def counted(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    ((number,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(number)


def start_to_first_request(sweep: Path, store: Path, server: Listener) -> float:
    """Returns the seconds from the command's start to its first prompt, and stops the run then."""
    server.first_at = None
    server.anything.clear()
    command = [sys.executable, "-m", "harness", "run", str(sweep), "--store", str(store)]
    began = time.time()
    with subprocess.Popen(command, env=ENVIRON, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        server.anything.wait(60.0)
        run.send_signal(signal.SIGINT)
    assert server.first_at is not None, "no prompt came within a minute"
    return server.first_at - began


def seconds_of_imports() -> float:
    began = time.time()
    subprocess.run([sys.executable, "-c", f"import {LIBRARIES}"], env=ENVIRON, check=True)
    return time.time() - began


def print_cpu_of_resuming(sweep: Path, store: Path) -> None:
    """Prints the CPU seconds of resuming without processes and imports: a busy machine distorts them less."""
    spec = load_sweep(sweep, known_games=list(GAMES))
    sets = game_sets(spec, sweep)
    began = time.process_time()
    with open_to_write(store) as connection:
        opened = time.process_time()
        stored = read_stored(connection, spec, sets, retry_failed=False)
        read = time.process_time()
        for method, ended in stored.ended.items():
            next(lane(Seating((method,)), sets, repeats=spec.repeats, seed=spec.seed, stored=ended))
        found = time.process_time()
    print(
        f"\nCPU s: open {opened - began:.2f}, what is left {read - opened:.2f},"
        f" each lane's first episode {found - read:.2f}"
    )


def measure_resume(starts: int, folder: Path) -> None:
    with listening() as server, pace() as bare_turn_us:
        sweep = write_reference_sweep(folder, server.server_port)
        full = folder / "full.duckdb"
        episodes, calls = fill(sweep, full)
        print_cpu_of_resuming(sweep, full)
        times: dict[str, list[float]] = {"the libraries alone": [], "a new store": [], "the full store": []}
        paces_us = [bare_turn_us()]
        for number in range(starts):
            new, copy = folder / f"new{number}.duckdb", folder / "copy.duckdb"
            shutil.copyfile(full, copy)
            times["the libraries alone"].append(seconds_of_imports())
            times["a new store"].append(start_to_first_request(sweep, new, server))
            times["the full store"].append(start_to_first_request(sweep, copy, server))
            paces_us.append(bare_turn_us())
    print(
        f"\n{episodes:,} episodes, {calls:,} calls, {full.stat().st_size / 1e6:.0f} MB;"
        " seconds from start to first prompt:\n"
    )
    for name, seconds in times.items():
        print(
            f"- {name}: median {statistics.median(seconds):.2f} ({', '.join(f'{one:.2f}' for one in seconds)})"
        )
    against = [b / a for a, _, b in zip(*times.values(), strict=True)]
    extra = [b - a for _, a, b in zip(*times.values(), strict=True)]
    print(f"- what the store costs: median {statistics.median(extra):.2f}")
    print(f"- the full store against the libraries alone: median {statistics.median(against):.2f}x")
    turns = sorted(
        2e6 * one / sum(around)
        for one, around in zip(times["the full store"], pairwise(paces_us), strict=True)
    )
    each = ", ".join(f"{one:,.0f}" for one in turns)
    bare_us = statistics.median(paces_us)
    print(
        f"- the full store in turns of the bare loop ({bare_us:.0f} µs):"
        f" median {statistics.median(turns):,.0f} ({each})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--starts", type=int, default=3)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        measure_writer(arguments.seconds, Path(folder))
        measure_resume(arguments.starts, Path(folder))


if __name__ == "__main__":
    main()
