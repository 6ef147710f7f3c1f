"""Measures the simulation: its speed, how near plans are, how near the engine is to the best that could be
done, and its laws, often.

python -m bench.simulation laws [--seeds 20000]      seeded sweeps under faults; every breach is printed with
                                                     its seed
python -m bench.simulation reference                 the reference sweep, planned in full and in short
python -m bench.simulation makespan [--sweeps 1000]  the engine against the lower bound, lock-step rounds and
                                                     a slot an episode
python -m bench.simulation backtest [--vllm]         plans from an earlier run against what a later one took;
                                                     draws docs/figures"""

from __future__ import annotations

import argparse
import heapq
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from random import Random
from statistics import median

import altair as alt
import duckdb

from backends.emulator.simulated import Behaviour, LatencyModel
from games import GAMES
from harness.access.methods import resolved
from harness.config.episode_plans import GameSet, lane
from harness.config.load import load_sweep
from harness.config.sweep import Seating
from harness.core.seeds import stream
from harness.core.vocabulary import EpisodePlan, Instance
from harness.limits.gate import GateLimits
from harness.planning.episode_lengths import EpisodeLength, TurnLength, episode_length
from harness.planning.plan_sweep import plan_sweep
from harness.planning.simulate import SimulatedGate, SimulatedMethod, simulate_gates
from harness.scheduler.call import RetryPolicy
from tests.simulation.laws import breaches
from tests.world import method

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "planned.svg"

# --- the laws -----------------------------------------------------------------------------------------------


def laws(seeds: int, first: int, processes: int) -> None:
    began, broken = time.process_time(), 0
    with ProcessPoolExecutor(processes) as pool:
        for seed, found in zip(
            range(first, first + seeds),
            pool.map(breaches, range(first, first + seeds), chunksize=50),
            strict=True,
        ):
            if found:
                broken += 1
                print(f"python -m tests.simulation.laws {seed}   # {'; '.join(found[:3])}", flush=True)
    spent = time.process_time() - began + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"{seeds:,} seeds from {first} on: {broken} broke a law; {spent:,.0f} s of CPU")


# --- the reference sweep ------------------------------------------------------------------------------------

REFERENCE_GAMES = """
[games.taboo]
items = 60
[games.wordle]
items = 30
[games.wordle_withclue]
items = 30
[games.wordle_withcritic]
items = 30
[games.imagegame]
items = 40
[games.referencegame]
items = 180
[games.privateshared]
items = 30
"""
WAYS = {
    "a": "requests_per_minute = 600\nexpect = { first_s = 0.3, tokens_per_s = 120.0 }",
    "b": "tokens_per_minute = 400000\nexpect = { first_s = 0.6, tokens_per_s = 60.0 }",
    "c": "requests_per_minute = 1000\noutput_tokens_per_minute = 20000\nexpect = { first_s = 0.2, tokens_per_s = 300.0 }",
    "d": "requests_per_minute = 300\nexpect = { first_s = 1.0, tokens_per_s = 40.0 }",
    "local": "concurrency = 64\nexpect = { first_s = 0.1, tokens_per_s = 50.0, tokens_per_s_in_all = 1200.0 }",
    "small": "concurrency = 16\nexpect = { first_s = 0.4, tokens_per_s = 80.0 }",
}


def reference_sweep(folder: Path) -> Path:
    """Decision: 10 models, 6 access methods each, 5 repeats, 400 items."""
    lines = ['name = "reference"\nrepeats = 5\n[audit]\nagain = false\n', REFERENCE_GAMES]
    for model in range(10):
        for way, said in WAYS.items():
            lines.append(f'[models.m{model}.methods.{way}]\nbase_url = "https://{way}-{model}.example/v1"\n')
            lines.append(f"{said}\n" if "concurrency" in said else f"concurrency = 64\n{said}\n")
    sweep = folder / "reference.toml"
    sweep.write_text("".join(lines))
    return sweep


def reference(*, full: bool) -> None:
    """One plan in this process: its answer, its processor time and its memory; a fixed loop beside it says
    how quick the core was."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = reference_sweep(Path(folder))
        began, wall = time.process_time(), time.perf_counter()
        found = plan_sweep(
            resolved(load_sweep(sweep, known_games=list(GAMES)), source=sweep), source=sweep, full=full
        )
        spent, took = time.process_time() - began, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{'full' if full else 'short'}: {found.wall.value:,.0f} s [{found.wall.low:,.0f}, {found.wall.high:,.0f}] planned,"
        f" {found.calls:,} calls; {found.simulated:,} simulated in {spent:.1f} s of CPU ({took:.1f} s by the clock),"
        f" {1e6 * spent / found.simulated:.0f} us a call, {peak:,.0f} MB; loop of ten million additions {_loop_s():.2f} s",
        flush=True,
    )
    for one in found.methods[:6]:
        print(f"  {one.method}: {one.wall.value:,.0f} s, {one.uses[0].limit} {one.uses[0].share:.3f}")


def _loop_s() -> float:
    began, total = time.process_time(), 0
    for number in range(10_000_000):
        total += number
    return time.process_time() - began


# --- makespan -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """One provider of a sweep, as plain figures: calls in flight, requests a minute (None: no quota), mean
    seconds a call."""

    in_flight: int
    per_minute: float | None
    call_s: float
    spread: float


def makespans(seed: int) -> tuple[float, float, float]:
    """Compares the engine, lock-step rounds and a slot an episode with the lower bound, over one
    heterogeneous sweep.

    The bound: no provider ends before its requests fit its quota, its calls fit its slots, and its longest
    episode is over, calls taking their mean. A sweep ends with its last provider."""
    chance = stream(seed, "makespan")
    servers = [
        Server(
            in_flight=chance.choice([8, 16, 32, 64]),
            per_minute=chance.choice([None, 120.0, 300.0, 600.0]),
            call_s=chance.choice([0.3, 1.0, 3.0]),
            spread=chance.choice([0.2, 0.6]),
        )
        for _ in range(chance.randint(2, 4))
    ]
    episodes = _episodes(chance, seed)
    lengths = [length for _, length in episodes]
    groups = [_group(f"m/{place}", server, episodes) for place, server in enumerate(servers)]
    played = simulate_gates(groups, _GAMES, policy=RetryPolicy(), seed=seed)
    bounds, ours, rounds, slots = [], [], [], []
    for place, server in enumerate(servers):
        mean_s = server.call_s * exp(server.spread**2 / 2)
        calls = sum(lengths)
        by_quota = 0.0 if server.per_minute is None else 60.0 * calls / server.per_minute
        bounds.append(max(by_quota, calls * mean_s / server.in_flight, max(lengths) * mean_s))
        ours.append(played[f"m/{place}"].ended_s)
        rounds.append(_lock_step(server, lengths, stream(seed, "rounds", place)))
        slots.append(_slot_an_episode(server, lengths, stream(seed, "slots", place)))
    bound = max(bounds)
    return max(ours) / bound, max(rounds) / bound, max(slots) / bound


TURNS = {"short": 2, "middle": 6, "long": 20}
_GAMES = {
    name: replace(GAMES["taboo"], name=name, seats=("odd",), turns_typical=turns)
    for name, turns in TURNS.items()
}


def _episodes(chance: Random, seed: int) -> list[tuple[EpisodePlan, int]]:
    """In the order in which a sweep has them, each with its turns: the game's own, a quarter more or less."""
    chosen = Counter(chance.choice(list(TURNS)) for _ in range(600))
    sets = {
        game: GameSet(
            rules="plain",
            seats=1,
            instances=tuple(_puzzle(game, number) for number in range(count)),
            turns=TURNS[game],
        )
        for game, count in chosen.items()
    }
    plans = lane(Seating(("m/0",)), sets, repeats=1, seed=seed, stored=())
    return [
        (one, max(1, round(chance.gauss(TURNS[one.instance.game], 0.25 * TURNS[one.instance.game]))))
        for one in plans
    ]


def _puzzle(game: str, number: int) -> Instance:
    return Instance(
        game=game, set_name="s", experiment="e", id=str(number), fields={}, content_hash=str(number)
    )


def _group(name: str, server: Server, episodes: Sequence[tuple[EpisodePlan, int]]) -> SimulatedGate:
    return SimulatedGate(
        name=name,
        limits=GateLimits(concurrency=server.in_flight, requests=server.per_minute),
        behaviour=Behaviour(latency=LatencyModel(first_s=server.call_s, spread=server.spread)),
        parts=(
            SimulatedMethod(
                method=method(name),
                episodes=[(replace(one, seating=(name,)), _line(length)) for one, length in episodes],
            ),
        ),
    )


def _line(length: int) -> EpisodeLength:
    return episode_length([TurnLength(seat="odd", prompt_tokens=100, reply_tokens=10)] * length)


def _lock_step(server: Server, lengths: Sequence[int], chance: object) -> float:
    """Every round asks each live episode once and waits for all of them before the next."""
    now, quota_s, free = 0.0, 0.0 if server.per_minute is None else 60.0 / server.per_minute, 0.0
    for turn in range(max(lengths)):
        slots = [now] * server.in_flight
        ended = now
        for _ in (length for length in lengths if length > turn):
            begin = max(heapq.heappop(slots), free)
            free = begin + quota_s if quota_s else free
            end = begin + server.call_s * chance.lognormvariate(0.0, server.spread)  # type: ignore[attr-defined]
            heapq.heappush(slots, end)
            ended = max(ended, end)
        now = ended
    return now


def _slot_an_episode(server: Server, lengths: Sequence[int], chance: object) -> float:
    """So many episodes at a time as calls may be in flight, each from its first call to its last."""
    quota_s, free = 0.0 if server.per_minute is None else 60.0 / server.per_minute, 0.0
    waiting = iter(lengths)
    live = [(0.0, number, length) for number, length in enumerate(next_few(waiting, server.in_flight))]
    heapq.heapify(live)
    count, ended = len(live), 0.0
    while live:
        ready, number, left = heapq.heappop(live)
        begin = max(ready, free)
        free = begin + quota_s if quota_s else free
        end = begin + server.call_s * chance.lognormvariate(0.0, server.spread)  # type: ignore[attr-defined]
        ended = max(ended, end)
        if left > 1:
            heapq.heappush(live, (end, number, left - 1))
        elif (following := next(waiting, None)) is not None:
            heapq.heappush(live, (end, count, following))
            count += 1
    return ended


def next_few(items: object, count: int) -> list[int]:
    return [item for _, item in zip(range(count), items, strict=False)]  # type: ignore[call-overload]


def makespan(sweeps: int, processes: int) -> None:
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(makespans, range(sweeps), chunksize=5))
    print("| of the lower bound | median | 95 % | worst |\n|---|---|---|---|")
    for name, ratios in zip(
        ("the engine", "lock-step rounds", "a slot an episode"), zip(*found, strict=True), strict=True
    ):
        in_order = sorted(ratios)
        print(
            f"| {name} | {median(in_order):.3f} | {in_order[int(0.95 * len(in_order))]:.3f} | {in_order[-1]:.3f} |"
        )


# --- backtest -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sweep that can be played here: its method, and how large the earlier and the later run are."""

    method: str
    earlier: tuple[int, int, int]
    later: tuple[int, int, int]


KINDS = {
    "emulator with quotas": Kind(
        method=(
            "emulator = { skill = 0.7, quotas = { requests = 120 }, latency = { first_s = 1.0, spread = 0.3, tokens_per_s = 60.0 } }\n"
            "concurrency = 12"
        ),
        earlier=(1, 40, 16),
        later=(2, 50, 16),
    ),
    "emulator without": Kind(
        method="emulator = { skill = 0.7, latency = { first_s = 1.0, spread = 0.3, tokens_per_s = 60.0 } }\nconcurrency = 12",
        earlier=(2, 20, 8),
        later=(5, 40, 12),
    ),
    "vLLM": Kind(
        method='engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32", context_max = 2048 }\n'
        "concurrency = 16\nconstrain = true",
        earlier=(1, 24, 10),
        later=(2, 36, 14),
    ),
}


def backtest(names: Sequence[str], folder: Path) -> list[dict[str, float | str]]:
    """For each kind: an earlier run, a plan of a larger later one from its store alone, the later run; a line
    each."""
    rows: list[dict[str, float | str]] = []
    folder.mkdir(parents=True, exist_ok=True)
    print(
        "| sweep | wall s planned | measured | off | calls planned | measured | off | tokens off |\n|---|---|---|---|---|---|---|---|"
    )
    for name in names:
        kind, stem = KINDS[name], name.replace(" ", "-")
        earlier, later = folder / f"{stem}-earlier.toml", folder / f"{stem}-later.toml"
        _write(earlier, kind.method, kind.earlier, seed=1)
        _write(later, kind.method, kind.later, seed=2)
        _run(earlier)
        store = earlier.with_suffix(".duckdb")
        found = plan_sweep(
            resolved(load_sweep(later, known_games=list(GAMES)), source=later), source=later, stores=[store]
        )
        _run(later)
        wall_s, calls, tokens = _measured(later.with_suffix(".duckdb"))
        planned_tokens = found.prompt_tokens + found.reply_tokens
        row: dict[str, float | str] = {
            "sweep": name,
            "planned": found.wall.value,
            "low": found.wall.low,
            "high": found.wall.high,
            "measured": wall_s,
        }
        rows.append(row)
        print(
            f"| {name} | {found.wall.value:.1f} [{found.wall.low:.1f}, {found.wall.high:.1f}] | {wall_s:.1f} |"
            f" {found.wall.value / wall_s - 1:+.1%} | {found.calls} | {calls} | {found.calls / calls - 1:+.1%} |"
            f" {planned_tokens / tokens - 1:+.1%} |",
            flush=True,
        )
    return rows


def _write(path: Path, said: str, size: tuple[int, int, int], *, seed: int) -> None:
    repeats, taboo, wordle = size
    path.write_text(
        f'name = "{path.stem}"\nseed = {seed}\nrepeats = {repeats}\n[games.taboo]\nitems = {taboo}\n[games.wordle]\nitems = {wordle}\n'
        f"[models.smollm2-135m-instruct.methods.a]\n{said}\n"
    )


def _run(sweep: Path) -> None:
    subprocess.run([sys.executable, "-m", "harness", "run", str(sweep)], check=True, capture_output=True)


def _measured(store: Path) -> tuple[float, int, int]:
    """Seconds from the first call to the last episode's end, calls, tokens."""
    with duckdb.connect(str(store), read_only=True) as connection:
        calls = connection.execute(
            "SELECT min(sent_at - queue_s), count(*), sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0))::BIGINT FROM calls"
        ).fetchall()
        ended = connection.execute("SELECT max(finished_at) FROM episodes").fetchall()
    began, count, tokens = calls[0]
    return ended[0][0] - began, count, tokens


def draw(rows: Sequence[dict[str, float | str]], path: Path) -> None:
    """Planned (a point with its 80 % interval) against measured (a tick), a row each."""
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(y=alt.Y("sweep:N", title=None, sort=None))
    chart = alt.layer(
        base.mark_rule(strokeWidth=3, color="#9ecae1").encode(x=alt.X("low:Q", title="seconds"), x2="high:Q"),
        base.mark_point(filled=True, size=90, color="#3182bd").encode(x="planned:Q"),
        base.mark_tick(thickness=3, size=26, color="#e6550d").encode(x="measured:Q"),
    ).properties(
        width=560,
        height=150,
        padding={
            "left": 30,
            "right": 15,
            "top": 5,
            "bottom": 5,
        },  # names are wider in some fonts than in the one that it measures with
        title="Planned from an earlier run (blue, 80 %) and measured (orange)",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.save(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    chosen = what.add_parser("laws")
    chosen.add_argument("--seeds", type=int, default=20_000)
    chosen.add_argument("--first", type=int, default=0)
    chosen.add_argument("--processes", type=int, default=2)
    chosen = what.add_parser("reference")
    chosen.add_argument("--only", choices=("full", "short"))
    chosen = what.add_parser("makespan")
    chosen.add_argument("--sweeps", type=int, default=1_000)
    chosen.add_argument("--processes", type=int, default=2)
    chosen = what.add_parser("backtest")
    chosen.add_argument(
        "--keep",
        type=Path,
        help="a folder for the sweeps and stores; what is played there already is not played again",
    )
    chosen.add_argument("--vllm", action="store_true", help="the real model too")
    told = parser.parse_args()
    if told.what == "laws":
        laws(told.seeds, told.first, told.processes)
    elif told.what == "reference" and told.only:
        reference(full=told.only == "full")
    elif told.what == "reference":
        for only in ("short", "full"):  # each in a process of its own: memory is a process's
            subprocess.run(
                [sys.executable, "-m", "bench.simulation", "reference", "--only", only], check=True
            )
    elif told.what == "makespan":
        makespan(told.sweeps, told.processes)
    else:
        with tempfile.TemporaryDirectory() as folder:
            draw(
                backtest([name for name in KINDS if told.vllm or name != "vLLM"], told.keep or Path(folder)),
                FIGURE,
            )


if __name__ == "__main__":
    main()
