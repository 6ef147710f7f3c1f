"""Measures games of other libraries.

    python -m bench.foreign_games fuzz CHECKOUT [--episodes 1000]   clembench: our way and clemcore's own loop
    python -m bench.foreign_games interleave [--episodes 1000]      TextArena: played together and alone
    python -m bench.foreign_games every CHECKOUT                    a sweep of every game that plays, by bots
    python -m bench.foreign_games speed CHECKOUT                    steps a second of one process
    python -m bench.foreign_games cost [--pairs 5]                  our CPU a turn, natively and in a process
    python -m bench.foreign_games instructions                      the same in instructions; needs valgrind
    python -m bench.foreign_games lag                               the event loop's delay, games in a process

`cost`, `instructions` and `lag` play the same games both ways, as generators and through native_child.py,
against the responder of bench.overhead. CHECKOUT is a clembench checkout; default: the variable
LIGHTBULB_CLEMBENCH_GAMES. No file of it is kept."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import anyio

from bench.clem_own_loop import reply_to
from bench.instructions import counted
from bench.overhead import MEMBERS, Measured, ours, responder
from games import GAMES
from games.instances import stop_words
from harness.core.errors import GameError
from harness.core.event_loop import run_async
from harness.core.steps import Playable
from harness.core.vocabulary import Ask, Instance, Message, Outcome
from harness.foreign_games.catalog import ForeignGame, any_reply
from harness.foreign_games.clembench_games import clem_game, read_specs, why_not
from harness.foreign_games.clembench_games import listed as clembench_listed
from harness.foreign_games.episodes import GameHosts, game_hosts
from harness.foreign_games.libraries import CLEM, TEXTARENA, GameProgram, program_of
from harness.foreign_games.textarena_games import listed as textarena_listed
from harness.foreign_games.textarena_games import table, textarena_game
from harness.store.file import open_to_read

T = TypeVar("T")
HERE = Path(__file__).parent
NATIVE = {"native": GameProgram(python=Path(sys.executable), file=HERE / "native_child.py")}
STEPS_MAX = 120  # of a fuzzed episode: one that goes on longer is left
LAG_SLEEP_S = 0.005
EQUAL = ("equal, scored", "equal, aborted", "equal, unscored", "equal, both raise", "scored by us alone")


def play(programs: Mapping[str, GameProgram], scenario: Callable[[GameHosts], Awaitable[T]]) -> T:
    async def main() -> list[T]:
        async with game_hosts(programs) as hosts:
            return [await scenario(hosts)]

    return run_async(main)[0]


# --- clembench: our way and clemcore's own loop ---------------------------------------------------------


def fuzz(checkout: Path, episodes: int, only: Sequence[str]) -> None:
    """Plays the same instances with the same replies both ways, and compares every prompt and the score."""
    names = [
        name
        for name, spec in read_specs(checkout).items()
        if why_not(spec) is None and (not only or name in only)
    ]
    each = math.ceil(episodes / len(names))
    games = [clem_game(f"{CLEM}:{name}", checkout, stop_words=sorted(stop_words())) for name in names]
    equal = scored = differ = 0
    for game in games:
        instances = list(game.instances(None))
        random.Random(1).shuffle(instances)
        jobs = [(instances[number % len(instances)], number) for number in range(each)]
        mine = play({CLEM: program_of(CLEM)}, partial(_ours, game=game, jobs=jobs))
        theirs = _own_loop(game, jobs)
        kinds: Counter[str] = Counter()
        for (instance, number), a, b in zip(jobs, mine, theirs, strict=True):
            kind = _difference(a, b)
            kinds[kind] += 1
            if kind not in EQUAL:
                differ += 1
                print(
                    "DIFFERS", game.name, instance.experiment, instance.id, number, kind, a[1], str(b)[-300:]
                )
            else:
                equal += 1
                scored += kind == "equal, scored"
        print(f"{game.name}: {dict(kinds)}, {sum(len(a[0]) for a in mine)} prompts", flush=True)
    print(
        f"{equal} of {equal + differ} episodes of {len(names)} games equal in every prompt and the end; "
        f"{scored} of them have a score"
    )


Played = tuple[list[Any], Any]


async def _ours(hosts: GameHosts, game: ForeignGame, jobs: Sequence[tuple[Instance, int]]) -> list[Played]:
    live, played = hosts.playable(game), dict[int, Played]()
    limit = anyio.CapacityLimiter(16)  # many open at once, as in a sweep

    async def one(instance: Instance, number: int) -> None:
        prompts: list[Any] = []
        end: Any = None
        async with limit:
            steps = live.open(instance, game.rule_sets[0])
            try:
                step = await steps.begin()
                while isinstance(step, Ask):
                    texts = [[message.role, message.text] for message in step.messages]
                    prompts.append([step.seat, texts])
                    step = await steps.step(
                        reply_to(game.name.partition(":")[2], step.seat, texts, number).strip()
                    )
                end = step
            except GameError as error:
                end = str(error)
            finally:
                steps.close()
        played[number] = (prompts, end)

    async with anyio.create_task_group() as tasks:
        for instance, number in jobs:
            tasks.start_soon(one, instance, number)
    return [played[number] for _, number in jobs]


def _own_loop(game: ForeignGame, jobs: Sequence[tuple[Instance, int]]) -> list[dict[str, Any]]:
    program = program_of(CLEM)
    command = [str(program.python), "-P", "-s", str(HERE / "clem_own_loop.py"), str(program.file)]
    lines = [
        json.dumps(
            {**game.opening(instance), "seed": int(instance.content_hash[:15], 16), "reply_seed": number}
        )
        for instance, number in jobs
    ]
    with TemporaryDirectory() as folder:  # clemcore writes clembench.log into the current folder
        ended = subprocess.run(
            command,
            input="\n".join(lines),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            cwd=folder,
            check=False,
        )
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    if len(answers) != len(jobs):
        raise SystemExit(f"clemcore's own loop ended early:\n{ended.stderr[-2000:]}")
    return answers


def _difference(mine: Played, theirs: dict[str, Any]) -> str:
    prompts, end = mine
    if prompts != theirs["prompts"]:
        return "prompts"
    if isinstance(end, str) or "error" in theirs:
        return "equal, both raise" if isinstance(end, str) and "error" in theirs else "one raises"
    assert isinstance(end, Outcome)
    if "unscored" in theirs:  # setup logs what the scorer needs, and clemcore's recorder comes after setup
        return "equal, unscored" if end.state == "unscored" else "scored by us alone"
    scores = theirs["scores"]
    main = float(scores.get("Main Score", math.nan))
    if scores.get("Aborted"):
        return "equal, aborted" if end.state == "aborted" else "one aborts"
    if not math.isfinite(main):
        return "equal, unscored" if end.state == "unscored" else "one has no score"
    success = (end.state == "success") == bool(scores.get("Success"))
    return "equal, scored" if end.score == min(100.0, max(0.0, main)) and success else "scores"


# --- TextArena: together and alone ----------------------------------------------------------------------


def interleave(episodes: int) -> None:
    """Plays episodes of many environments at once and one after another; compares all that they said."""
    games = [textarena_game(f"{TEXTARENA}:{name}") for name, row in table().items() if row.plays]
    each = math.ceil(episodes / len(games))
    jobs = [(game, seed) for seed in range(each) for game in games][:episodes]
    programs = {TEXTARENA: program_of(TEXTARENA)}
    alone = play(programs, lambda hosts: _digests(hosts, jobs, at_once=1))
    together = play(programs, lambda hosts: _digests(hosts, jobs, at_once=100))
    same = sum(a == b for a, b in zip(alone, together, strict=True))
    for (game, seed), a, b in zip(jobs, alone, together, strict=True):
        if a != b:
            print("DIFFERS", game.name, seed, a, b)
    ends = Counter(end for _, _, end in together)
    print(
        f"{same} of {len(jobs)} episodes of {len(games)} environments are the same bytes; "
        f"{sum(turns for _, turns, _ in together)} turns; ends {dict(ends)}"
    )


async def _digests(
    hosts: GameHosts, jobs: Sequence[tuple[ForeignGame, int]], *, at_once: int
) -> list[tuple[str, int, str]]:
    found: dict[int, tuple[str, int, str]] = {}
    limit = anyio.CapacityLimiter(at_once)

    async def one(place: int, game: ForeignGame, seed: int) -> None:
        async with limit:
            said, turns, end = blake2b(digest_size=8), 0, "left"
            (instance,) = (
                game.instances(1) if len(game.instances(seed + 1)) <= seed else game.instances(seed + 1)[-1:]
            )
            steps = hosts.playable(game).open(instance, "")
            try:
                step = await steps.begin()
                while isinstance(step, Ask) and turns < STEPS_MAX:
                    said.update(repr(step).encode("utf-8", "replace"))
                    turns += 1
                    step = await steps.step(_mentioned_move(step.messages, seed))
                said.update(repr(step).encode("utf-8", "replace"))
                end = step.state if isinstance(step, Outcome) else "left"
            except GameError as error:
                said.update(str(error).encode())
                end = "raises"
            finally:
                steps.close()
            found[place] = (said.hexdigest(), turns, end)

    async with anyio.create_task_group() as tasks:
        for place, (game, seed) in enumerate(jobs):
            tasks.start_soon(one, place, game, seed)
    return [found[place] for place in range(len(jobs))]


def _mentioned_move(messages: Sequence[Message], seed: int) -> str:
    """Returns a move in brackets that the conversation mentions, or a word in them."""
    text = messages[-1].text
    chance = random.Random(
        int.from_bytes(blake2b(f"{seed} {text}".encode("utf-8", "replace")).digest()[:8], "big")
    )
    mentioned = re.findall(r"\[[^\[\]\n]{1,16}\]", text)[-40:]
    words = [f"[{word}]" for word in re.findall(r"[a-z]{4,6}", text)[-20:]]
    moves: list[str] = [*mentioned, *words, "[0]", "[1 1]", "[4]"]
    return chance.choice(moves)


# --- every game by its name -----------------------------------------------------------------------------


def every(checkout: Path) -> None:
    """Plays one item of each game in one sweep, by bots without meaning; prints how the plays ended, the
    time, the memory of our process and the size of the store."""
    rows = [row for row in (*clembench_listed(checkout), *textarena_listed()) if row.plays]
    text = ['name = "every"', "[models.m.methods.bots]", "bots = {}"]
    for row in rows:
        text += [f'[games."{row.name}"]', "items = 1"]
        text += [f"checkout = {json.dumps(str(checkout))}"] if row.name.startswith(f"{CLEM}:") else []
    with TemporaryDirectory() as folder:
        sweep = Path(folder, "every.toml")
        sweep.write_text("\n".join(text), encoding="utf-8")
        began_s, peak_kib = time.perf_counter(), 0
        with subprocess.Popen([sys.executable, "-m", "harness", "run", str(sweep)]) as run:
            while run.poll() is None:
                peak_kib = _peak_kib(run.pid) or peak_kib
                time.sleep(0.5)
        took_s = time.perf_counter() - began_s
        size_mib = sweep.with_suffix(".duckdb").stat().st_size / 2**20
        query = "SELECT game, status, coalesce(outcome, reason), turns FROM episodes ORDER BY game"
        with open_to_read(sweep.with_suffix(".duckdb")) as connection:
            played = connection.execute(query).fetchall()
    for game, status, end, turns in played:
        print(f"{game}: {status}, {end}, {turns} turns")
    ends = Counter(f"{status} {end}" if status == "finished" else status for _, status, end, _ in played)
    print(f"{len(played)} of {len(rows)} games ended: {dict(ends)}")
    print(f"{took_s:.0f} s; {peak_kib / 1024:,.0f} MiB of memory at most; the store has {size_mib:,.0f} MiB")


def _peak_kib(process: int) -> int | None:
    """Returns the most memory that a process has taken so far; None if it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text("ascii"))
    except OSError:
        return None
    return int(found[1]) if found else None


# --- speed and cost -------------------------------------------------------------------------------------


def speed(checkout: Path) -> None:
    """Measures steps a second of one process, 64 episodes at once, and its CPU a step."""
    cases: list[tuple[ForeignGame, Callable[[Ask, int], str]]] = [
        (clem_game(f"{CLEM}:{name}", checkout, stop_words=sorted(stop_words())), _fuzzed(name))
        for name in ("taboo", "referencegame", "guesswhat", "wordle", "imagegame")
    ]
    cases += [
        (textarena_game(f"{TEXTARENA}:{name}"), lambda ask, number: _mentioned_move(ask.messages, number))
        for name in ("Mastermind-v0", "TicTacToe-v0", "GuessTheNumber-v0", "ConnectFour-v0", "Nim-v0")
    ]
    for game, reply in cases:
        programs = {game.library: program_of(game.library)}
        steps, wall_s, cpu_s = play(programs, partial(_timed, game=game, reply=reply))
        print(
            f"{game.name}: {steps / wall_s:,.0f} steps/s, {steps / cpu_s:,.0f} a CPU second of the process "
            f"({steps} steps in {wall_s:.1f} s)",
            flush=True,
        )


def _fuzzed(name: str) -> Callable[[Ask, int], str]:
    return lambda ask, number: reply_to(name, ask.seat, [[m.role, m.text] for m in ask.messages], number)


async def _timed(
    hosts: GameHosts, game: ForeignGame, reply: Callable[[Ask, int], str]
) -> tuple[int, float, float]:
    live, steps = hosts.playable(game), 0
    instances = game.instances(64)
    until_s = math.inf

    async def worker(number: int) -> None:
        nonlocal steps
        while time.perf_counter() < until_s:
            number += 64
            episode = live.open(instances[number % len(instances)], "")
            try:
                step = await episode.begin()
                steps += 1
                while isinstance(step, Ask) and time.perf_counter() < until_s:
                    step = await episode.step(reply(step, number))
                    steps += 1
            except GameError:
                steps += 1
            finally:
                episode.close()

    first = live.open(instances[0], "")
    await first.begin()  # the library and the game are loaded
    process = (await hosts.host(game)).process_id
    began, cpu_s = time.perf_counter(), _cpu_s(process)
    until_s = began + 5.0
    async with anyio.create_task_group() as tasks:
        for number in range(64):
            tasks.start_soon(worker, number)
    return steps, time.perf_counter() - began, _cpu_s(process) - cpu_s


def _cpu_s(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def in_a_process(name: str) -> ForeignGame:
    """Returns a game of ours as one of another library."""
    game = GAMES[name]
    numbers = {one.content_hash: number for number, one in enumerate(game.instances())}

    def opening(instance: Instance) -> Mapping[str, object]:
        return {"name": name, "number": numbers[instance.content_hash]}

    return ForeignGame(
        name=name,
        library="native",
        summary="",
        seats=game.seats,
        rule_sets=game.rule_sets,
        turns_typical=game.turns_typical,
        instances=lambda wanted: game.instances(),
        opening=opening,
        process="native",
        reply_format=any_reply(100),
    )


async def both_ways(
    kind: str, url: str, *, episodes: int, window: int, lags: list[float] | None = None
) -> Measured:
    """Plays with the games as generators ("native") or in a process ("process"); all without a store.

    lags  gets the delays of the event loop"""

    async def measure_lag() -> None:
        assert lags is not None
        while True:
            due = time.perf_counter() + LAG_SLEEP_S
            await anyio.sleep(LAG_SLEEP_S)
            lags.append(time.perf_counter() - due)

    async with game_hosts(NATIVE) as hosts:
        games: dict[str, Playable] = dict(GAMES)
        if kind == "process":
            games |= {name: hosts.playable(in_a_process(name)) for name in MEMBERS}
            await hosts.host(in_a_process(MEMBERS[0]))
        async with anyio.create_task_group() as tasks:
            if lags is not None:
                tasks.start_soon(measure_lag)
            measured = await ours(url, episodes=episodes, window=window, store=None, games=games)
            tasks.cancel_scope.cancel()
        return measured


def cost(pairs: int, episodes: int, window: int) -> None:
    """Prints the ratio of our CPU a turn, process to native: the median of pairs taken in turns."""
    ratios = []
    with responder(max(os.sched_getaffinity(0))) as url:
        for _ in range(pairs):
            children_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            process, native = (
                run_async(partial(both_ways, kind, url, episodes=episodes, window=window))
                for kind in ("process", "native")
            )
            children_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - children_s
            ratios.append(process.cpu_us / native.cpu_us)
            print(
                f"native {native.cpu_us:.0f} us a turn, process {process.cpu_us:.0f}: {ratios[-1]:.3f}; "
                f"the child {children_s * 1e6 / process.turns:.0f} us a turn, its start included",
                flush=True,
            )
    print(f"median {median(ratios):.3f} of {pairs} pairs, {window} in flight")


def lag(episodes: int, window: int) -> None:
    """Prints quantiles of the event loop's delay, native and in a process."""
    with responder(max(os.sched_getaffinity(0))) as url:
        for kind in ("native", "process"):
            lags: list[float] = []
            run_async(partial(both_ways, kind, url, episodes=episodes, window=window, lags=lags))
            lags.sort()
            print(
                f"{kind}: p50 {1e3 * lags[len(lags) // 2]:.2f} ms, p99 {1e3 * lags[int(0.99 * len(lags))]:.2f} ms, "
                f"max {1e3 * lags[-1]:.2f} ms of {len(lags)} sleeps"
            )


def instructions(window: int) -> None:
    """Prints instructions a turn of our process, both ways: a long play less a short one."""
    lengths, costs = (170, 510), dict[str, float]()
    with responder(max(os.sched_getaffinity(0))) as url:
        for kind in ("native", "process"):
            options = ("--kind", kind, "--url", url, "--window", window, "--episodes")
            (few, few_turns), (many, many_turns) = (
                counted("bench.foreign_games", "count", *options, length) for length in lengths
            )
            costs[kind] = (many - few) / (many_turns - few_turns)
            print(f"{kind}: {costs[kind] / 1000:,.0f} thousand a turn", flush=True)
    print(f"ratio {costs['process'] / costs['native']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["every", "fuzz", "interleave", "speed", "cost", "instructions", "lag", "count"]
    )
    parser.add_argument(
        "checkout", type=Path, nargs="?", default=Path(os.environ.get("LIGHTBULB_CLEMBENCH_GAMES", "."))
    )
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--games", nargs="*", default=[], help="of fuzz; default: all that play")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    match given.what:
        case "every":
            every(given.checkout)
        case "fuzz":
            fuzz(given.checkout, given.episodes, given.games)
        case "interleave":
            interleave(given.episodes)
        case "speed":
            speed(given.checkout)
        case "cost":
            cost(given.pairs, given.episodes, given.window)
        case "lag":
            lag(given.episodes, given.window)
        case "instructions":
            instructions(given.window)
        case _:
            scenario = partial(both_ways, given.kind, given.url, episodes=given.episodes, window=given.window)
            print(run_async(scenario).turns)


if __name__ == "__main__":
    main()
