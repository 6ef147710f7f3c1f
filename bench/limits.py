"""Measures how well a quota is used and kept against providers that enforce it, and what a dead provider
costs the other methods.

Emulators answer on loopback from this process; each sweep is `lightbulb run` in a process of its own, and all
run at the same time. Quotas are of 600 requests a minute. Steady state is what was sent from the second
minute on, in as many whole minutes as end ten seconds before the sweep does: a quota by fixed windows may be
spent in a burst at the beginning of each, so a part of a window says nothing.

    python -m bench.limits [--minutes 6] [--only known-sliding ...]"""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread
import duckdb

from backends.emulator.server import Emulator, serving
from harness.core.emulation import Emulation, Faults, Latency, Quotas

QUOTA = 600
CALLS_AN_EPISODE = 6  # wordle's bots of skill 0.4 need all their guesses


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """quotas: as the provider enforces them; method: lines of the sweep file about it."""

    quotas: Quotas
    method: str = ""


CASES = {
    "known-sliding": Case(quotas=Quotas(requests=QUOTA, told=False), method=f"requests_per_minute = {QUOTA}"),
    "known-fixed": Case(
        quotas=Quotas(requests=QUOTA, told=False, law="fixed", phase_s=17.0),
        method=f"requests_per_minute = {QUOTA}",
    ),
    "known-ceiling": Case(
        quotas=Quotas(requests=QUOTA, told=False),
        method=f"requests_per_minute = {QUOTA}\nrequests_per_second_max = {2 * QUOTA / 60}",
    ),
    "told-sliding": Case(quotas=Quotas(requests=QUOTA)),
    "told-fixed": Case(quotas=Quotas(requests=QUOTA, law="fixed", phase_s=17.0)),
    "told-bucket": Case(quotas=Quotas(requests=QUOTA, law="bucket")),
    "unknown-sliding": Case(quotas=Quotas(requests=QUOTA, told=False)),
    "unknown-fixed": Case(quotas=Quotas(requests=QUOTA, told=False, law="fixed", phase_s=17.0)),
    "unknown-bucket": Case(quotas=Quotas(requests=QUOTA, told=False, law="bucket")),
}
SWEEP = """
name = "limits"
repeats = {repeats}
[games.wordle]
items = 30
[audit]
again = false
"""
DYING = "[retry]\npatience_s = 20  # the dead provider is not waited for longer\n"
METHOD = """
[models.bots.methods.{name}]
provider = "emulator"
base_url = "{base_url}"
{more}
"""


async def run_sweep(folder: Path, name: str, text: str) -> Path:
    """Plays the sweep in a process of its own; returns its store."""
    sweep, store = folder / f"{name}.toml", folder / f"{name}.duckdb"
    sweep.write_text(text)
    command = [sys.executable, "-m", "harness", "run", str(sweep), "--store", str(store)]
    ended = await anyio.to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, text=True))
    assert ended.returncode in (0, 3), ended.stderr
    return store


def ask(store: Path, query: str) -> tuple[float, ...]:
    with duckdb.connect(str(store), read_only=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return tuple(float(value or 0.0) for value in row)


STEADY = """
    WITH bounds AS (SELECT min(sent_at) + 60 AS low, low + 60 * floor((max(sent_at) - 10 - low) / 60) AS high FROM calls),
         steady AS (SELECT calls.*, high - low AS seconds FROM calls, bounds WHERE sent_at >= low AND sent_at < high)
    SELECT any_value(seconds), count(*) FILTER (error_class IS NULL), count(*) FILTER (error_class IS NOT NULL) FROM steady"""


async def measure_quota(folder: Path, name: str, case: Case, minutes: float) -> str:
    provider = Emulation(skill=0.4, quotas=case.quotas, latency=Latency(first_s=0.4, spread=0.4))
    async with serving(provider) as emulator:
        repeats = max(1, round(minutes * QUOTA / CALLS_AN_EPISODE / 30))
        text = SWEEP.format(repeats=repeats) + METHOD.format(
            name="a", base_url=emulator.base_url, more=case.method
        )
        store = await run_sweep(folder, name, text)
        seconds, answered, refused = ask(store, STEADY)
        assert seconds, f"{name}: no whole minute of steady state; give it more --minutes"
        (refused_ever,) = ask(store, "SELECT count(*) FROM calls WHERE error_class IS NOT NULL")
        seen = emulator.statistics
        used = answered / (seconds * QUOTA / 60)
        return (
            f"| {name} | {seconds:.0f} | {100 * used:.1f} % | {100 * refused / max(1.0, answered + refused):.2f} % | {refused_ever:.0f}"
            f" | {seen.peak(60.0)} | {seen.peak(1.0, of=seen.arrivals)} |"
        )


async def measure_makespan(folder: Path) -> list[str]:
    """Plays two providers of different speed beside one that dies; compares the two with the least time their
    work needs."""
    quick = Emulation(skill=0.4, latency=Latency(first_s=0.1, workers=16))
    providers = {
        "quick": quick,
        "slow": replace(quick, latency=Latency(first_s=0.5, workers=16)),
        "dying": replace(quick, faults=Faults(dies_after=300)),
    }
    async with AsyncExitStack() as stack:
        emulators: dict[str, Emulator] = {}
        for name, provider in providers.items():
            emulators[name] = await stack.enter_async_context(serving(provider))
        text = (
            SWEEP.format(repeats=8)
            + DYING
            + "".join(
                METHOD.format(name=name, base_url=emulator.base_url, more="concurrency = 16")
                for name, emulator in emulators.items()
            )
        )
        store = await run_sweep(folder, "makespan", text)
    lines = []
    for name in ("quick", "slow"):
        calls, seconds = ask(
            store,
            f"""SELECT count(*), max(sent_at + latency_s) - min(sent_at) FROM calls
                WHERE method = 'bots/{name}'""",
        )
        bound_s = calls * providers[name].latency.first_s / 16
        lines.append(f"| {name} | {calls:.0f} | {bound_s:.1f} | {seconds:.1f} | {seconds / bound_s:.3f} |")
    return lines


async def measure(minutes: float, only: list[str]) -> None:
    lines: list[str] = []
    with TemporaryDirectory() as folder:
        if not only or "makespan" in only:
            print("| provider | calls | lower bound s | s | ratio |\n|---|---|---|---|---|")
            print("\n".join(await measure_makespan(Path(folder))), flush=True)

        async def one(name: str, case: Case) -> None:
            lines.append(await measure_quota(Path(folder), name, case, minutes))

        async with anyio.create_task_group() as tasks:
            for name, case in CASES.items():
                if not only or name in only:
                    tasks.start_soon(one, name, case)
    print(
        "\n| quota | steady s | of it used | refused | refused ever | most admitted in a minute | most asked in a second |"
    )
    print("|---|---|---|---|---|---|---|")
    print("\n".join(sorted(lines)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="CASE", help=f"of makespan {' '.join(CASES)}"
    )
    arguments = parser.parse_args()
    anyio.run(measure, arguments.minutes, arguments.only)


if __name__ == "__main__":
    main()
