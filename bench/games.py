"""Measures the cost of the rules: game steps a second on one core, and the memory of ten thousand games in
progress.

`python -m bench.games` plays our own instance sets with replies that bots of medium skill gave before;
nothing is read or written while the clock runs. Goals: 50,000 steps a second over the mix, 200 MB. The mix is
every instance of every game once, as in a full run. A step is one reply to a game, up to its next ask or
outcome. The first round does not count: it fills the stemmer's cache, as a long run does."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

from games import GAMES
from games.playthrough import play_by_bots
from harness.core.protocols import Game
from harness.core.seeds import stream
from harness.core.vocabulary import Ask, Instance, Play

ROUNDS = 5
LIVE = 10_000
SKILL = 0.7

Prepared = tuple[Game, Instance, tuple[str, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().memory:  # in a process of its own, whose memory holds nothing else
        print_memory()
        return
    prepared = {name: prepare(game) for name, game in GAMES.items()}
    print(f"{'game':20} {'steps':>8} {'steps/s':>10}  best of {ROUNDS} rounds")
    for name, plays in prepared.items():
        print_speed(name, plays)
    print_speed("mix", [play for plays in prepared.values() for play in plays])
    print(
        subprocess.run(
            [sys.executable, "-m", "bench.games", "--memory"], check=True, capture_output=True, text=True
        ).stdout,
        end="",
    )


def prepare(game: Game) -> list[Prepared]:
    return [
        (
            game,
            instance,
            play_by_bots(game, instance, "v1.6b", skill=SKILL, chance=stream(0, game.name, number)).replies,
        )
        for number, instance in enumerate(game.instances())
    ]


def print_speed(name: str, plays: Sequence[Prepared]) -> None:
    steps = sum(len(replies) for _, _, replies in plays)
    seconds = min([seconds_for(plays) for _ in range(ROUNDS + 1)][1:])
    print(f"{name:20} {steps:8} {steps / seconds:10,.0f}")


def seconds_for(plays: Sequence[Prepared]) -> float:
    begun = perf_counter()
    for game, instance, replies in plays:
        play = game.play(instance, "v1.6b")
        next(play)
        try:
            for reply in replies:
                play.send(reply)
        except StopIteration:
            continue
    return perf_counter() - begun


def print_memory() -> None:
    """Prints the memory of unfinished games, each with its open ask and copies of its replies, as from a
    server."""
    plays = [play for game in GAMES.values() for play in prepare(game)]
    before = resident_bytes()
    live: list[tuple[Play, Ask]] = []
    for game, instance, replies in islice(cycle(plays), LIVE):
        play = game.play(instance, "v1.6b")
        ask = next(play)
        for reply in replies[: len(replies) // 2]:
            ask = play.send(reply.encode().decode())
        live.append((play, ask))
    print(f"{len(live):,} live episodes of the mix: {(resident_bytes() - before) / 1e6:.0f} MB")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
