"""Kills workers, and the coordinator, of a run at random moments, and compares the store with an undisturbed
run's.

`lightbulb run --workers 2` plays against a provider in this process that logs what it was asked. Workers
are killed one after the other while the run goes on; a coordinator that is killed is started again. What an
answer in the second before a kill brought, and what was in flight, may be asked again; all else may not.
Needs the extra `ray`.

python -m bench.worker_kills [--workers 20] [--coordinators 4] [--repeats 60] [--seed 0] [--slack 1]"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from bench.kill_loop import DURABLE_S, REPLIES, RESULTS, SWEEP, TWICE, Provider, read, start
from bench.leases import WORKER, descendants

PAUSE_S = (2.0, 6.0)  # of play between two kills
STARTS_WITHIN_S = 120.0  # a busy machine needs a minute to start Ray
LOOKED_EVERY_S = 0.05


async def until_asked(provider: Provider, process: asyncio.subprocess.Process) -> bool:
    """Waits until the provider is asked again; returns whether the run still plays."""
    came = len(provider.came)
    for _ in range(round(STARTS_WITHIN_S / LOOKED_EVERY_S)):
        if process.returncode is not None or len(provider.came) > came:
            break
        await asyncio.sleep(LOOKED_EVERY_S)
    return process.returncode is None


def may_be_asked_again(provider: Provider, killed_s: float, slack_s: float) -> int:
    """Returns how many calls a kill at this moment may cost: those in flight, and those of the second
    before."""
    recent = sum(at_s > killed_s - DURABLE_S - slack_s for at_s in provider.answered)
    return recent + len(provider.came) - len(provider.answered)


async def loop(
    folder: Path, *, workers: int, coordinators: int, repeats: int, seed: int, slack_s: float
) -> None:
    """Plays and kills; slack_s is for the way of an answer through a busy machine."""
    chance, provider = random.Random(seed), Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    sweep = folder / "loop.toml"
    sweep.write_text(SWEEP.format(port=server.sockets[0].getsockname()[1], repeats=repeats))
    whole, store = folder / "whole.duckdb", folder / "killed.duckdb"
    assert await (await start(sweep, whole)).wait() == 0, whole.with_suffix(".log").read_text()
    needed = len(provider.came)
    victims = ["worker"] * workers + ["coordinator"] * coordinators
    chance.shuffle(victims)
    process = await start(sweep, store, "--workers", "2")
    excused, killed = 0, {"worker": 0, "coordinator": 0}
    for victim in victims:
        if not await until_asked(provider, process):
            break
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        playing = [one for one, name in descendants(process.pid).items() if name.startswith(WORKER)]
        if process.returncode is not None or not playing:
            break
        excused += may_be_asked_again(provider, time.monotonic(), slack_s)
        killed[victim] += 1
        if victim == "worker":
            os.kill(chance.choice(playing), signal.SIGKILL)
        else:
            process.kill()
            await process.wait()
            process = await start(sweep, store, "--workers", "2")
    code = await process.wait()
    print(f"killed: {killed}; last exit code {code}")
    if code:
        print(store.with_suffix(".log").read_text("utf-8")[-4000:])
    print("rows twice: " + ", ".join(f"{name} {read(store, query)[0][0]}" for name, query in TWICE))
    print(f"asked {len(provider.came) - needed} where {needed} were needed; {excused} may be asked twice")
    print(f"episodes as undisturbed: {read(store, RESULTS) == read(whole, RESULTS) != []}")
    print(f"replies as undisturbed: {read(store, REPLIES) == read(whole, REPLIES) != []}")
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=20, help="workers that are killed")
    parser.add_argument("--coordinators", type=int, default=4, help="coordinators that are killed")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slack", type=float, default=1.0, help="seconds; a busy machine needs more")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(
            loop(
                Path(name),
                workers=options.workers,
                coordinators=options.coordinators,
                repeats=options.repeats,
                seed=options.seed,
                slack_s=options.slack,
            )
        )


if __name__ == "__main__":
    main()
