"""Kills workers, and the coordinator, of a run at random moments, and compares the store with an undisturbed
run's.

`lightbulb run --workers 2` plays against a provider in this process that logs what it was asked. Workers
are killed one after the other while the run goes on; a coordinator that is killed is started again. What an
answer in the second before a kill brought, and what was in flight, may be asked again; all else may not.
After the last kill the provider answers at once. Needs the extra `ray`.

python -m bench.worker_kills [--workers 20] [--coordinators 4] [--repeats 60] [--seed 0] [--slack 1]"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import time
from pathlib import Path

from bench.kill_loop import AT_ONCE_S, DURABLE_S, Provider, Trial, run_loop, start, trial
from bench.leases import WORKER, descendants

PAUSE_S = (2.0, 6.0)  # of play between two kills
STARTS_WITHIN_S = 1200.0  # a busy machine needs minutes to start Ray
LOOKED_EVERY_S = 0.05
NOT_STARTED = 2  # the exit code of a run in which Ray did not start
STARTS_MAX = 10  # such a run is started so often


async def begin(made: Trial) -> asyncio.subprocess.Process:
    return await start(made.sweep, made.store, "--workers", "2")


def playing_workers(process: asyncio.subprocess.Process) -> list[int]:
    """Returns the process ids of the run's workers."""
    return [one for one, name in descendants(process.pid).items() if name.startswith(WORKER)]


async def until_played(made: Trial, process: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
    """Waits until the run has workers and the provider is asked after that, or the run has ended; returns it.

    Workers whose coordinator was killed go on for a moment, so a call alone does not show that the new run
    plays. A run in which Ray did not start in time is started again, as its message says."""
    came, starts = None, 1
    for _ in range(round(STARTS_WITHIN_S / LOOKED_EVERY_S)):
        if process.returncode == NOT_STARTED and starts < STARTS_MAX:
            process, starts = await begin(made), starts + 1
        if process.returncode is not None or (came is not None and len(made.provider.came) > came):
            break
        if came is None and playing_workers(process):
            came = len(made.provider.came)
        await asyncio.sleep(LOOKED_EVERY_S)
    return process


def may_be_asked_again(provider: Provider, killed_s: float, slack_s: float) -> int:
    """Returns how many calls a kill at this moment may cost: those in flight, and those of the second
    before."""
    recent = sum(at_s > killed_s - DURABLE_S - slack_s for at_s in provider.answered)
    return recent + len(provider.came) - len(provider.answered)


async def loop(
    folder: Path, *, workers: int, coordinators: int, repeats: int, seed: int, slack_s: float
) -> None:
    """Plays and kills; slack_s is for the way of an answer through a busy machine."""
    chance = random.Random(seed)
    victims = ["worker"] * workers + ["coordinator"] * coordinators
    chance.shuffle(victims)
    async with trial(folder, repeats) as made:
        provider, process = made.provider, await begin(made)
        excused, killed = 0, {"worker": 0, "coordinator": 0}
        for number, victim in enumerate(victims, 1):
            process = await until_played(made, process)
            await asyncio.sleep(chance.uniform(*PAUSE_S))
            playing = playing_workers(process)
            if process.returncode is not None or not playing:
                print(f"stopped: the run has {len(playing)} workers and the exit code {process.returncode}")
                break
            excused += may_be_asked_again(provider, time.monotonic(), slack_s)
            killed[victim] += 1
            print(
                f"kill {number} of {len(victims)}: a {victim}, after {len(provider.came)} calls", flush=True
            )
            if victim == "worker":
                os.kill(chance.choice(playing), signal.SIGKILL)
            else:
                process.kill()
                await process.wait()
                process = await begin(made)
        process = await until_played(made, process)
        provider.latency_s = AT_ONCE_S
        code = await process.wait()
        print(f"killed: {killed}; last exit code {code}")
        if code:
            print(made.store.with_suffix(".log").read_text("utf-8")[-4000:])
        made.compare(excused)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=20, help="workers that are killed")
    parser.add_argument("--coordinators", type=int, default=4, help="coordinators that are killed")
    run_loop(parser, loop, repeats=60)


if __name__ == "__main__":
    main()
