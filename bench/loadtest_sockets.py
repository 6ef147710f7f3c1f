"""Measures whether `lightbulb bench` finds the truth over real sockets.

    python -m bench.loadtest_sockets          rates, TTFT, TPOT and mean in flight of an emulator with eight
                                              workers, in a process of its own
    python -m bench.loadtest_sockets --knees  the knee of the same emulator

A worker needs .05 s before the first token of a reply and .01 s for each further one; other requests wait in
order of arrival. Replies have 8 to 24 tokens, as the requests ask, so the service time of each request is
known. In a closed loop with twice as many requests as workers, the rate is that of busy workers, and the
latency follows by Little's law. An open loop at 70 % of that rate is compared with what its own arrivals and
services make of the queue."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import duckdb

from bench.load_peers import an_emulator
from bench.loadtest import own_queue, print_ratios
from games import GAMES
from harness.access.context import RunContext
from harness.config.load import parse_sweep
from harness.loadtest.ladder import LevelGoal, MethodLoadTest
from harness.loadtest.lengths import LengthDistribution
from harness.loadtest.load_profile import LoadProfile
from harness.loadtest.loadtest_sweep import LoadTestPlan, loadtest_sweep
from harness.loadtest.metrics import Objective
from harness.loadtest.traffic import TrafficSettings

SWEEP = """
name = "sockets"
seed = {seed}
[games.taboo]
items = 1
[models.m.methods.here]
provider = "vllm"
base_url = "{url}"
"""
WORKERS, FIRST_S, TOKEN_S = 8, 0.05, 0.01
PLACES, RATE = 2 * WORKERS, 28.0
LENGTHS = LengthDistribution(mean=16, sd=4, least=8, most=24)
TOLERANCE = 0.05


def service_s(tokens: int) -> float:
    return FIRST_S + TOKEN_S * (tokens - 1)


async def load_test(
    url: str, folder: Path, seed: int, requests: int, goal: LevelGoal | None
) -> MethodLoadTest:
    """Runs the two levels, or the search for the knee, as the command does."""
    spec = parse_sweep(SWEEP.format(seed=seed, url=url), source="bench", known_games=list(GAMES))
    plan = LoadTestPlan(
        methods=(),
        levels=() if goal else (("closed", PLACES), ("open", RATE)),
        goal=goal,
        profile=LoadProfile(requests=requests),
        objective=Objective(),
        traffic=TrafficSettings(prompt_tokens=LengthDistribution(mean=50), output_tokens=LENGTHS),
    )
    store = folder / f"{seed}.duckdb"
    context = RunContext(source=folder / "sockets.toml", store=store, environ={}, notify=lambda line: None)
    (found,) = await loadtest_sweep(spec, plan, context)
    return found


def served(store: Path, stage: int) -> list[tuple[float, int]]:
    """Returns when each request of a stage was due, and the tokens of its reply."""
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(
            "SELECT due_s, completion_tokens FROM bench_requests WHERE run_id = 'bench-0001' AND stage = ? ORDER BY due_s",
            [stage],
        ).fetchall()


def ratios(found: MethodLoadTest, store: Path) -> Iterator[tuple[str, float]]:
    """Yields each estimate over its truth."""
    closed, opened = (stage.figures for stage in found.stages)
    assert closed is not None, found.stages[0].refused
    assert opened is not None, found.stages[1].refused
    windows = [(stage.window.from_s, stage.window.to_s) for stage in found.stages]
    inside = [tokens for due_s, tokens in served(store, 0) if windows[0][0] <= due_s <= windows[0][1]]
    tokens = statistics.fmean(inside)
    rate = WORKERS / statistics.fmean(map(service_s, inside))
    name = f"{PLACES} in flight"
    yield f"{name}: requests/s", closed.requests_per_s / rate
    yield f"{name}: output tokens/s", (closed.output_tokens_per_s or 0) / (rate * tokens)
    yield f"{name}: TTFT mean", (closed.ttft_s.mean or 0) / (PLACES / rate - TOKEN_S * (tokens - 1))
    yield f"{name}: TPOT mean", (closed.tpot_s.mean or 0) / TOKEN_S
    own = own_queue(
        ((due_s, service_s(count)) for due_s, count in served(store, 1)),
        windows[1],
        workers=WORKERS,
        delay_s=0.0,
        first_s=FIRST_S,
    )
    name = f"{RATE:g} a second"
    yield f"{name}: requests/s", opened.requests_per_s / own.requests_per_s
    yield f"{name}: TTFT mean", (opened.ttft_s.mean or 0) / own.ttft_s
    yield f"{name}: TPOT mean", (opened.tpot_s.mean or 0) / TOKEN_S
    yield f"{name}: in flight", opened.in_flight / own.in_flight


def knee_is_near(found: MethodLoadTest) -> bool:
    """Says whether the knee is within one measured level of the number of workers."""
    levels = sorted(level.level for level in found.levels)
    if found.knee is None:
        return False
    true_place = next(place for place, level in enumerate(levels) if level >= WORKERS)
    return abs(levels.index(found.knee) - true_place) <= 1


async def measure(seeds: range, requests: int, *, knees: bool) -> None:
    """Prints, over all seeds, the ratios of estimates to the truth, or how often the knee was found."""
    found, named, near = [], [], 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        for seed in seeds:
            settings = (f"latency.first_s={FIRST_S}", f"latency.tokens_per_s={1 / TOKEN_S}")
            with an_emulator(*settings, f"latency.workers={WORKERS}", f"seed={seed}") as url:
                if knees:
                    goal = LevelGoal(loop="closed", slo_share=None, start=4, most=64)
                    one = await load_test(url, folder, seed, requests, goal)
                    named.append(one.knee)
                    near += knee_is_near(one)
                else:
                    one = await load_test(url, folder, seed, requests, None)
                    found.append(dict(ratios(one, folder / f"{seed}.duckdb")))
    if knees:
        print(f"knee: true {WORKERS}, named {named}: within one level in {near} of {len(seeds)}")
    else:
        print_ratios(found, TOLERANCE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=160, help="of each level")
    parser.add_argument("--knees", action="store_true", help="search for the knee instead")
    chosen = parser.parse_args()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    anyio.run(
        lambda: measure(seeds, chosen.requests, knees=chosen.knees), backend_options={"use_uvloop": True}
    )


if __name__ == "__main__":
    main()
