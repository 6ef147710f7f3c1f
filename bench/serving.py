"""Measures the harness against a real vLLM server. Each row is a sweep through the whole program.

    python -m bench.serving many      the same games one call at a time and 64 at once: what many episodes in
                                      flight are worth
    python -m bench.serving client    64 in flight against vLLM's own benchmark client with the same prompts,
                                      in interleaved pairs
    python -m bench.serving window    throughput with fixed windows, and with the window left to itself

One server stays up for all rows. In `client` it has no prefix cache: what one side asked must not speed up
the other. `python -m bench.load_peers` compares `lightbulb bench` with that client."""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import duckdb

from bench.load_peers import Job, a_server, generator, interval, say
from games import GAMES
from harness.access.context import RunContext
from harness.config.load import parse_sweep
from harness.running.run_sweep import run_sweep

SWEEP = """
name = "serving"
seed = 3
repeats = {repeats}
[games.taboo]
items = {items}
[models.smollm2-135m.methods.vllm]
provider = "vllm"
base_url = "{url}"
{concurrency}
constrain = {constrain}
[audit]
again = false
"""
TOKENS_MAX = 100  # of the rule sets
FIXED = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The figures of one sweep. The rate at the end is over the calls answered between 60 % and 90 % of its
    time."""

    calls: int
    tokens: int
    calls_per_s: float
    tokens_per_s: float
    tokens_per_s_at_end: float
    latency_s: float
    store: Path


async def played(
    url: str, folder: Path, name: str, *, in_flight: int | None, episodes: int, constrain: bool = False
) -> Played:
    """Plays one sweep. in_flight: largest number of calls; None: chosen by the concurrency window."""
    repeats = -(-episodes // 60)
    text = SWEEP.format(
        url=url,
        items=-(-episodes // repeats),
        repeats=repeats,
        concurrency=f"concurrency = {in_flight}" if in_flight else "",
        constrain="true" if constrain else "false",
    )
    spec = parse_sweep(text, source="bench", known_games=list(GAMES))
    store = folder / f"{name}.duckdb"
    await run_sweep(spec, RunContext(source=folder / "serving.toml", store=store, environ={}, notify=say))
    with duckdb.connect(str(store), read_only=True) as connection:
        columns = "sent_at, sent_at + latency_s AS answered, completion_tokens"
        rows = connection.execute(f"SELECT {columns} FROM calls WHERE error_class IS NULL").fetchnumpy()
    sent, answered, tokens = rows.values()
    begun, wall_s = sent.min(), answered.max() - sent.min()
    late = (answered >= begun + 0.6 * wall_s) & (answered < begun + 0.9 * wall_s)
    return Played(
        calls=len(sent),
        tokens=int(tokens.sum()),
        calls_per_s=len(sent) / wall_s,
        tokens_per_s=tokens.sum() / wall_s,
        tokens_per_s_at_end=tokens[late].sum() / (0.3 * wall_s),
        latency_s=float((answered - sent).mean()),
        store=store,
    )


async def many(dtype: str, episodes: int, pairs: int, folder: Path) -> None:
    async with a_server(dtype, folder) as (_, server):
        print(
            "| replies | in flight | calls | calls/s | output tokens/s | latency s | against one at a time |"
        )
        print("|---|---|---|---|---|---|---|")
        for constrain in (False, True):
            base = 0.0
            for in_flight, count in ((1, max(4, episodes // 24)), (64, episodes)):
                one = await played(
                    server.base_url,
                    folder,
                    f"{in_flight}-{constrain}",
                    in_flight=in_flight,
                    episodes=count,
                    constrain=constrain,
                )
                base = base or one.tokens_per_s
                print(
                    f"| {'constrained' if constrain else 'free'} | {in_flight} | {one.calls} | {one.calls_per_s:.2f} |"
                    f" {one.tokens_per_s:.1f} | {one.latency_s:.2f} | {one.tokens_per_s / base:.1f}x |",
                    flush=True,
                )


async def client(dtype: str, episodes: int, pairs: int, folder: Path) -> None:
    """Compares with vLLM's benchmark client, with the prompts of a first sweep, which warms the server up."""
    async with a_server(dtype, folder, "--no-enable-prefix-caching") as (engine, server):
        first = await played(server.base_url, folder, "first", in_flight=64, episodes=episodes)
        prompts = folder / "prompts.jsonl"
        write_prompts(first.store, prompts)
        ratios = []
        job = Job(
            url=server.base_url,
            prompts=prompts,
            in_flight=64,
            ignore_eos=False,
            tokenizer=Path(str(server.facts["weights_root"])),
            folder=folder,
        )
        with generator("vllm", engine.python, job) as theirs_once:
            await anyio.to_thread.run_sync(theirs_once, first.calls)  # it warms up, too
            print(
                "| pair | calls | harness: calls/s | output tokens | client: calls/s | output tokens | ratio |"
            )
            print("|---|---|---|---|---|---|---|", flush=True)
            for pair in range(pairs):
                ours: Played | None = None
                theirs: dict[str, float] = {}
                for turn in (0, 1):
                    if (pair + turn) % 2:
                        ours = await played(
                            server.base_url, folder, f"pair-{pair}", in_flight=64, episodes=episodes
                        )
                    else:
                        theirs = await anyio.to_thread.run_sync(theirs_once, first.calls)
                assert ours is not None
                ratios.append(ours.calls_per_s / theirs["requests_per_s"])
                print(
                    f"| {pair + 1} | {ours.calls} | {ours.calls_per_s:.2f} | {ours.tokens} | {theirs['requests_per_s']:.2f} |"
                    f" {theirs['output_tokens']:.0f} | {ratios[-1]:.3f} |",
                    flush=True,
                )
    low, high = interval(ratios)
    print(
        f"\nmedian {statistics.median(ratios):.3f}, 95 % of bootstrapped medians in {low:.3f} to {high:.3f}"
    )


def write_prompts(store: Path, file: Path) -> None:
    with duckdb.connect(str(store), read_only=True) as connection:
        asked = connection.execute(
            "SELECT added_json FROM turns JOIN calls USING (episode_id, attempt, turn) WHERE error_class IS NULL ORDER BY sent_at"
        ).fetchall()
    with file.open("w", encoding="utf-8") as lines:
        for (added,) in asked:
            (message,) = json.loads(
                added
            )  # free of constraint this model's first reply ends every game: one message, one call
            lines.write(json.dumps({"prompt": message["text"], "output_tokens": TOKENS_MAX}) + "\n")


async def window(dtype: str, episodes: int, rounds: int, folder: Path) -> None:
    """Plays each fixed window in every round, and the free window before each of them."""
    async with a_server(dtype, folder) as (_, server):
        await played(server.base_url, folder, "first", in_flight=64, episodes=episodes // 2)
        rates: dict[int | None, list[Played]] = {}
        ends: list[int] = []
        for turn in range(rounds):
            for fixed in FIXED:
                for in_flight in (None, fixed):
                    name = f"{turn}-{fixed}-{in_flight}"
                    one = await played(server.base_url, folder, name, in_flight=in_flight, episodes=episodes)
                    rates.setdefault(in_flight, []).append(one)
                    say(
                        f"{name}: {one.tokens_per_s_at_end:.1f} output tokens/s at the end, {one.tokens_per_s:.1f} in all"
                    )
                    if in_flight is None:
                        ends.append(most_in_flight(one.store))
    print("| window | runs | output tokens/s of whole runs, median | least | most | late in a run, median |")
    print("|---|---|---|---|---|---|")
    for in_flight, runs in rates.items():
        label = (
            f"left to itself (most in flight late: {statistics.median(ends):.0f})"
            if in_flight is None
            else str(in_flight)
        )
        whole, late = (
            [one.tokens_per_s for one in runs],
            statistics.median(one.tokens_per_s_at_end for one in runs),
        )
        print(
            f"| {label} | {len(runs)} | {statistics.median(whole):.1f} | {min(whole):.1f} | {max(whole):.1f} | {late:.1f} |"
        )
    for name, rate in (
        ("whole runs", lambda one: one.tokens_per_s),
        ("late in a run", lambda one: one.tokens_per_s_at_end),
    ):
        best = max(
            statistics.median(map(rate, runs)) for in_flight, runs in rates.items() if in_flight is not None
        )
        print(
            f"left to itself against the best fixed, {name}: {statistics.median(map(rate, rates[None])) / best:.3f}"
        )


def most_in_flight(store: Path) -> int:
    """Returns the most calls in flight between 60 % and 80 % of the sweep's time."""
    with duckdb.connect(str(store), read_only=True) as connection:
        ((most,),) = connection.execute(
            "WITH play AS (SELECT min(sent_at) AS t0, max(sent_at + latency_s) - min(sent_at) AS wall FROM calls),"
            " looks AS (SELECT t0 + wall * (0.6 + i / 100) AS moment FROM play, range(21) t(i))"
            " SELECT max(n) FROM (SELECT count(*) AS n FROM looks JOIN calls"
            " ON sent_at <= moment AND sent_at + latency_s > moment GROUP BY moment)"
        ).fetchall()
    return int(most)


QUESTIONS = {"many": many, "client": client, "window": window}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument(
        "--dtype", default="float32", help="bfloat16 is slow on processors that have to imitate it"
    )
    parser.add_argument("--episodes", type=int, default=192, help="of one sweep")
    parser.add_argument("--rounds", type=int, default=5, help="pairs, or times each window is tried")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        anyio.run(
            QUESTIONS[arguments.question],
            arguments.dtype,
            arguments.episodes,
            arguments.rounds,
            Path(name),
            backend_options={"use_uvloop": True},
        )


if __name__ == "__main__":
    main()
