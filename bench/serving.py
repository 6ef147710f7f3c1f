"""What keeping many episodes in flight is worth: one real vLLM server, the same games one call at a time and 64 at once.

Each row is a sweep of its own through the whole program, against one server that stays up; constrained replies and free ones.

    python -m bench.serving [--dtype float32] [--one 8] [--many 192]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import duckdb
from rich.console import Console

from backends.engine_kinds import engine_kind
from backends.engines import EngineSpec, install, this_machine
from backends.local_server import serve
from games import GAMES
from harness.compose import Setting, run_sweep
from harness.spec.load import parse_sweep

SWEEP = """
name = "serving"
seed = 3
repeats = {repeats}
[games.taboo]
items = {items}
[models.smollm2-135m.methods.vllm]
base_url = "{url}"
concurrency = {in_flight}
constrain = {constrain}
"""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def measured(url: str, folder: Path, *, in_flight: int, episodes: int, constrain: bool) -> tuple[int, float, float, float]:
    """Calls, calls a second, output tokens a second, and mean latency in seconds of one sweep's play."""
    repeats = -(-episodes // 60)
    text = SWEEP.format(
        url=url, items=-(-episodes // repeats), repeats=repeats, in_flight=in_flight, constrain="true" if constrain else "false"
    )
    spec = parse_sweep(text, source="bench", known_games=list(GAMES))
    store = folder / f"{in_flight}-{constrain}.duckdb"
    await run_sweep(spec, Setting(source=folder / "serving.toml", store=store, environ={}, console=Console(stderr=True), say=say))
    with duckdb.connect(str(store), read_only=True) as connection:
        ((calls, tokens, wall_s, latency_s),) = connection.execute(
            "SELECT count(*), sum(completion_tokens), max(sent_at + latency_s) - min(sent_at), avg(latency_s) FROM calls"
            " WHERE error_class IS NULL"
        ).fetchall()
    return calls, calls / wall_s, tokens / wall_s, latency_s


async def bench(dtype: str, one: int, many: int) -> None:
    engine = await anyio.to_thread.run_sync(install, engine_kind("vllm", this_machine()), say)
    wanted = EngineSpec(kind="vllm", weights="bundled:smollm2-135m-instruct", served_name="smollm2-135m", dtype=dtype)
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with serve(wanted, engine, log=folder / "vllm.log", say=say) as server:
            print("| replies | in flight | calls | calls/s | output tokens/s | latency s | against one at a time |")
            print("|---|---|---|---|---|---|---|")
            for constrain in (False, True):
                base = 0.0
                for in_flight, episodes in ((1, one), (64, many)):
                    calls, per_s, tokens_s, latency_s = await measured(
                        server.base_url, folder, in_flight=in_flight, episodes=episodes, constrain=constrain
                    )
                    base = base or tokens_s
                    print(
                        f"| {'constrained' if constrain else 'free'} | {in_flight} | {calls} | {per_s:.2f} | {tokens_s:.1f}"
                        f" | {latency_s:.2f} | {tokens_s / base:.1f}x |",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float32", help="bfloat16 is slow on processors that have to imitate it")
    parser.add_argument("--one", type=int, default=8, help="episodes one at a time")
    parser.add_argument("--many", type=int, default=192, help="episodes with 64 in flight")
    arguments = parser.parse_args()
    anyio.run(bench, arguments.dtype, arguments.one, arguments.many, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
