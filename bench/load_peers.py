"""Measures `lightbulb bench` beside other load generators, in interleaved pairs on one server.

    python -m bench.load_peers vllm      on a vLLM server: rates, and medians of the latencies
    python -m bench.load_peers emulator  on an emulator in a process of its own: 99th percentiles too, and
                                         the CPU time of a further request

All send the same prompts, those of taboo and privateshared as bots play them, to `/v1/chat/completions`,
streamed, at temperature 0, with so many requests in flight, and each reply has the same number of tokens:
`ignore_eos`. The vLLM server has no prefix cache: what one side asked must not speed up the other. guidellm
runs in an environment of its own (tool_environments.py), `vllm bench serve` in that of the engine."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import numpy as np

from backends.local.child_environ import engine_environ
from backends.local.engine import Engine, EngineSpec
from backends.local.engine_kinds import engine_kind
from backends.local.environments import install
from backends.local.local_server import LocalServer, serve
from backends.local.machine import this_machine
from backends.local.weights import prepare
from bench.tool_environments import environment
from games import GAMES
from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.config.load import parse_sweep
from harness.loadtest.game_traffic import game_prompts
from harness.loadtest.lengths import LengthDistribution
from harness.loadtest.load_profile import LoadProfile
from harness.loadtest.loadtest_sweep import LoadTestPlan, loadtest_sweep
from harness.loadtest.metrics import Objective
from harness.loadtest.prompts import read_prompts, repeat_shuffled
from harness.loadtest.traffic import TrafficSettings

GUIDELLM = ("guidellm==0.8.1",)
SCRIPT = Path(__file__).with_name("load_generators.py")
WEIGHTS = "bundled:smollm2-135m-instruct"
SERVED_NAME = "smollm2-135m"
SWEEP = """
name = "peers"
seed = 3
[games.taboo]
items = 24
[games.privateshared]
items = 4
[models.{name}.methods.here]
provider = "vllm"
base_url = "{url}"
[audit]
again = false
"""
MEASURES = (
    "requests/s", "output tokens/s", "TTFT p50", "TPOT p50", "E2E p50", "TTFT p99", "TPOT p99", "E2E p99",
)  # fmt: skip
TOLERANCE = 0.05
LATENCY = ("latency.first_s=0.05", "latency.spread=0.5", "latency.tokens_per_s=100")
FEW = 100  # requests of a short run; its CPU time is subtracted from that of the long one, to leave out the start


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The work of every generator. prompts: a file with as many lines as a run has requests, or more."""

    url: str
    prompts: Path
    in_flight: int
    ignore_eos: bool
    tokenizer: Path
    folder: Path


Run = Callable[[int], dict[str, Any]]


@asynccontextmanager
async def a_server(dtype: str, folder: Path, *flags: str) -> AsyncIterator[tuple[Engine, LocalServer]]:
    """Yields vLLM with the smallest bundled model."""
    engine = await anyio.to_thread.run_sync(install, engine_kind("vllm", this_machine()), say)
    wanted = EngineSpec(kind="vllm", weights=WEIGHTS, served_name=SERVED_NAME, dtype=dtype, flags=flags)
    async with serve(wanted, engine, log=folder / "vllm.log", notify=say) as server:
        yield engine, server


@contextmanager
def generator(kind: str, python: Path, job: Job) -> Iterator[Run]:
    """Yields a function that lets the generator `kind` send so many requests and returns its figures."""
    told = {
        "url": job.url.removesuffix("/v1"),
        "model": SERVED_NAME,
        "tokenizer": str(job.tokenizer),
        "prompts": str(job.prompts),
        "in_flight": job.in_flight,
        "ignore_eos": job.ignore_eos,
        "folder": str(job.folder),
    }
    file = job.folder / f"{kind}-job.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    # One process sends guidellm's requests: each process imports its packages, for seconds.
    environ = engine_environ(os.environ) | {
        "HF_HUB_OFFLINE": "1",
        "GUIDELLM__MAX_WORKER_PROCESSES": "1",
        "GUIDELLM__LOGGING__CONSOLE_LOG_LEVEL": "ERROR",
    }
    pipe, log = subprocess.PIPE, job.folder / f"{kind}.log"
    with (
        log.open("w") as lines,
        subprocess.Popen(
            [python, SCRIPT, kind, file], stdin=pipe, stdout=pipe, stderr=lines, env=environ, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def answer() -> str:
            if line := answers.readline():
                return line
            raise RuntimeError(f"{kind} ended:\n{log.read_text()[-2000:]}")

        def run(requests: int) -> dict[str, Any]:
            print(requests, file=asked, flush=True)
            found: dict[str, Any] = json.loads(answer())
            assert found["requests"] == requests
            return found

        try:
            assert answer() == "ready\n"
            yield run
        finally:
            process.kill()


def our_run(job: Job, prompts: Path, output_tokens: int) -> Callable[[int], Any]:
    """Returns a function that does the same with `lightbulb bench`, as the command does it."""
    text = SWEEP.format(name=SERVED_NAME, url=job.url)
    spec = parse_sweep(text, source="bench", known_games=list(GAMES))

    async def run(requests: int) -> dict[str, Any]:
        plan = LoadTestPlan(
            methods=(),
            levels=(("closed", job.in_flight),),
            # the other generators leave out no request and no part of the time
            profile=LoadProfile(requests=requests, warm_up_s=0.0, cool_down_s=0.0),
            objective=Objective(),
            traffic=TrafficSettings(
                prompts=prompts,
                output_tokens=LengthDistribution(mean=output_tokens),
                ignore_eos=job.ignore_eos,
            ),
        )
        context = RunContext(
            source=job.folder / "peers.toml", store=job.folder / "bench.duckdb", environ={}, notify=say
        )
        before_s = own_cpu_s()
        ((stage,),) = [found.stages for found in await loadtest_sweep(spec, plan, context)]
        figures = stage.figures
        assert figures is not None, stage.refused
        assert stage.answered == requests
        latencies = {"ttft_s": figures.ttft_s, "tpot_s": figures.tpot_s, "e2e_s": figures.e2e_s}
        return {
            "requests": requests,
            "requests_per_s": figures.requests_per_s,
            "output_tokens_per_s": figures.output_tokens_per_s,
            "output_tokens": (figures.completion_tokens.mean or 0) * requests,
            **{name: {"p50": one.p50, "p99": one.p99} for name, one in latencies.items()},
            "cpu_s": own_cpu_s() - before_s,
        }

    return run


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def figures_of(found: dict[str, Any]) -> list[float | None]:
    """Returns the figures in the order of MEASURES; None: too few requests for it."""
    latencies = [found[f"{name}_s"][place] for place in ("p50", "p99") for name in ("ttft", "tpot", "e2e")]
    return [found["requests_per_s"], found["output_tokens_per_s"], *latencies]


async def compare(name: str, ours: Callable[[int], Any], theirs: Run, requests: int, rounds: int) -> None:
    """Prints the figures of each pair, and the ratios."""
    await ours(requests)
    await anyio.to_thread.run_sync(theirs, requests)  # warm now, all of them
    print(f"\n| pair | by | output tokens | {' | '.join(MEASURES)} |\n|{'---|' * (3 + len(MEASURES))}")
    ratios: list[list[float | None]] = []
    for pair in range(rounds):
        found: dict[str, dict[str, Any]] = {}
        for turn in (0, 1):
            if (pair + turn) % 2:
                found["lightbulb bench"] = await ours(requests)
            else:
                found[name] = await anyio.to_thread.run_sync(theirs, requests)
        for by, one in found.items():
            cells = " | ".join("" if value is None else f"{value:.3g}" for value in figures_of(one))
            print(f"| {pair + 1} | {by} | {one['output_tokens']:.0f} | {cells} |", flush=True)
        both = zip(figures_of(found["lightbulb bench"]), figures_of(found[name]), strict=True)
        ratios.append([None if a is None or b is None else a / b for a, b in both])
    print(
        f"\n| ours over {name} | median of {rounds} pairs | 95 % interval | its width | |\n|---|---|---|---|---|"
    )
    for measure, column in zip(MEASURES, zip(*ratios, strict=True), strict=True):
        values = [value for value in column if value is not None]
        if len(values) == rounds and ("p99" not in measure or requests >= 1000):
            print_ratio(measure, values)


def print_ratio(measure: str, ratios: Sequence[float]) -> None:
    median, (low, high) = statistics.median(ratios), interval(ratios)
    met = abs(median - 1) <= TOLERANCE or low <= 1 <= high
    print(
        f"| {measure} | {median:.3f} | {low:.3f} to {high:.3f} | {high - low:.3f} | {'met' if met else '**not met**'} |",
        flush=True,
    )


async def compare_cpu(names: Sequence[str], runs: Sequence[Callable[[int], Any]], requests: int) -> None:
    """Prints the CPU time of a further request: that of a long run, less that of a short one."""
    print("\n| CPU time of a further request | ms |\n|---|---|")
    for name, run in zip(names, runs, strict=True):
        few, many = await run(FEW), await run(requests)
        print(f"| {name} | {1000 * (many['cpu_s'] - few['cpu_s']) / (requests - FEW):.2f} |", flush=True)


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the median."""
    chance = np.random.default_rng(1)
    medians = np.median(chance.choice(ratios, size=(10_000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def write_prompts(ours: Path, theirs: Path, requests: int, output_tokens: int) -> None:
    """Writes the prompts of the games, again and again, one on each line.

    ours, theirs   two files: `lightbulb bench` shuffles its prompts, and theirs have that order"""
    text = SWEEP.format(name=SERVED_NAME, url="http://127.0.0.1:1/v1")
    spec = parse_sweep(text, source="bench", known_games=list(GAMES))
    prompts = cycle(game_prompts(game_sets(spec, ours), spec.seed))
    texts = ["\n".join(message.text for message in one.messages) for one in islice(prompts, requests)]
    ours.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts), encoding="utf-8")
    order = repeat_shuffled(read_prompts(ours, tokens_max=output_tokens), seed=spec.seed)
    lengths = {"output_tokens": output_tokens, "output_tokens_count": output_tokens}
    lines = [{"prompt": one.messages[0].text, **lengths} for one in islice(order, requests)]
    theirs.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@contextmanager
def an_emulator(*settings: str) -> Iterator[str]:
    """Yields the address of an emulator in a process of its own."""
    command = [sys.executable, "-m", "harness", "emulate", "--port", "0", "--json", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()


async def measure(chosen: argparse.Namespace, folder: Path) -> None:
    engine = await anyio.to_thread.run_sync(install, engine_kind("vllm", this_machine()), say)
    pythons = {"vllm bench serve": engine.python}
    if chosen.peer != "vllm":
        pythons["guidellm"] = environment("guidellm", GUIDELLM)
    if chosen.peer == "guidellm":
        del pythons["vllm bench serve"]
    prompts, theirs_file = folder / "prompts.jsonl", folder / "theirs.jsonl"
    write_prompts(prompts, theirs_file, chosen.requests, chosen.output_tokens)

    async def with_server(url: str, tokenizer: Path) -> None:
        job = Job(
            url=url,
            prompts=theirs_file,
            in_flight=chosen.in_flight,
            ignore_eos=True,
            tokenizer=tokenizer,
            folder=folder,
        )
        ours = our_run(job, prompts, chosen.output_tokens)
        for name, python in pythons.items():
            with generator(name.split()[0], python, job) as theirs:
                await compare(name, ours, theirs, chosen.requests, chosen.rounds)
                if chosen.server == "emulator":

                    async def they(requests: int, run: Run = theirs) -> dict[str, Any]:
                        return await anyio.to_thread.run_sync(run, requests)

                    await compare_cpu(("lightbulb bench", name), (ours, they), chosen.requests)

    if chosen.server == "emulator":
        weights = await anyio.to_thread.run_sync(prepare, WEIGHTS, None, engine, say)
        with an_emulator(*LATENCY) as url:
            await with_server(url, weights.path)
        return
    async with a_server(chosen.dtype, folder, "--no-enable-prefix-caching") as (_, server):
        await with_server(server.base_url, Path(str(server.facts["weights_root"])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", choices=("vllm", "emulator"))
    parser.add_argument("--peer", choices=("vllm", "guidellm", "both"), default="both")
    parser.add_argument("--requests", type=int, help="of each run; 32 for vLLM, 2000 for the emulator")
    parser.add_argument("--in-flight", type=int, help="8 for vLLM, 16 for the emulator")
    parser.add_argument("--output-tokens", type=int, default=16, help="of each reply")
    parser.add_argument("--rounds", type=int, default=5, help="pairs")
    parser.add_argument(
        "--dtype", default="float32", help="bfloat16 is slow on processors that have to imitate it"
    )
    chosen = parser.parse_args()
    chosen.requests = chosen.requests or (32 if chosen.server == "vllm" else 2000)
    chosen.in_flight = chosen.in_flight or (8 if chosen.server == "vllm" else 16)
    with TemporaryDirectory() as name:
        anyio.run(measure, chosen, Path(name), backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
