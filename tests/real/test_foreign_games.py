"""Games of other libraries as they are: a toy game in clembench's layout through clemcore, three environments
of TextArena, and a sweep of both that is killed and resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import duckdb
import pytest

from backends.local.environments import install_environment
from harness.core.errors import GameFailed
from harness.core.vocabulary import Ask, Outcome
from harness.foreign_games.catalog import ForeignGame
from harness.foreign_games.clembench_games import clem_game
from harness.foreign_games.episodes import GameHosts, game_hosts
from harness.foreign_games.libraries import CLEM, LIBRARIES, TEXTARENA, GameProgram, program_of
from harness.foreign_games.textarena_games import textarena_game

CHECKOUT = Path(__file__).parents[1] / "data" / "clem_games"
pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]  # the first time it installs the libraries


@pytest.fixture(scope="module")
def programs() -> Mapping[str, GameProgram]:
    for library in (CLEM, TEXTARENA):
        install_environment(LIBRARIES[library], print)
    return {library: program_of(library) for library in (CLEM, TEXTARENA)}


Answers = list[Ask | Outcome | str]


async def whole(hosts: GameHosts, game: ForeignGame, number: int, reply: Callable[[Ask], str]) -> Answers:
    """Plays an instance of the game; an exception of the game is its last word."""
    steps = hosts.playable(game).open(game.instances(number + 1)[number], game.rule_sets[0])
    said: Answers = []
    try:
        said.append(await steps.begin())
        while isinstance(ask := said[-1], Ask):
            said.append(await steps.step(reply(ask)))
    except GameFailed as error:
        said.append(str(error))
    return said


def play(
    programs: Mapping[str, GameProgram], *plays: tuple[ForeignGame, int, Callable[[Ask], str]]
) -> list[Answers]:
    """Plays all at once."""

    async def main() -> list[Answers]:
        found: dict[int, Answers] = {}

        async def one(place: int, game: ForeignGame, number: int, reply: Callable[[Ask], str]) -> None:
            found[place] = await whole(hosts, game, number, reply)

        async with game_hosts(programs) as hosts, anyio.create_task_group() as tasks:
            for place, (game, number, reply) in enumerate(plays):
                tasks.start_soon(one, place, game, number, reply)
        return [found[place] for place in range(len(plays))]

    return anyio.run(main)


def toy(name: str) -> ForeignGame:
    return clem_game(f"clem:{name}", CHECKOUT, stop_words=())


def count_on(ask: Ask) -> str:
    number = re.findall(r"number is (\d+)", ask.messages[-1].text)[-1]
    return f"NEXT: {int(number) + 1}"


def test_a_game_in_clembenchs_layout_plays_through_clemcore(programs: Mapping[str, GameProgram]) -> None:
    """Two seats in turn, the initial prompt merged into a seat's first context, scores and flags as the
    game's scorer gives them; a game with a fault fails its own episode alone."""
    right, wrong, broken, faulty = play(
        programs,
        (toy("nextnumber"), 0, count_on),
        (toy("nextnumber"), 1, lambda ask: "NEXT: 9"),
        (toy("nextnumber"), 2, lambda ask: "four"),
        (toy("nextnumber"), 2, lambda ask: "NEXT: raise"),
    )
    asks = [ask for ask in right if isinstance(ask, Ask)]
    assert [ask.seat for ask in asks] == ["player 1", "player 2"] * 2
    assert asks[0].messages[0].text.startswith("Count on.")
    assert asks[0].messages[0].text.endswith("The number is 3.")
    assert [message.role for message in asks[2].messages] == ["user", "assistant", "user"]
    ends = [said[-1] for said in (right, wrong, broken)]
    assert all(isinstance(end, Outcome) for end in ends)
    assert [(end.state, end.score) for end in ends if isinstance(end, Outcome)] == [
        ("success", 100.0),
        ("lost", 50.0),
        ("aborted", None),
    ]
    assert faulty[-1] == "clem:nextnumber: KeyError: 'a game with a fault'"


def test_chance_and_programmatic_seats(programs: Mapping[str, GameProgram]) -> None:
    """A programmatic seat is never asked; two games with a module of one name, and episodes that draw from
    one global generator, do not disturb each other."""
    plays = [(toy("dice"), number, lambda ask: "3") for number in (0, 1, 0)]
    first, second, again, *_ = play(programs, *plays, (toy("nextnumber"), 0, count_on))
    assert first == again
    assert first == play(programs, plays[0])[0]
    assert first[:3] != second[:3]
    assert {ask.seat for ask in first if isinstance(ask, Ask)} == {"player 1"}
    end = first[-1]
    assert isinstance(end, Outcome)
    assert (end.state, end.requests.total) == (
        "success",
        12,
    )  # clemcore counts those of the programmatic seat


def test_three_environments_of_textarena(programs: Mapping[str, GameProgram]) -> None:
    """One seat with a score by its reward, two seats against each other, and an invalid move."""

    def tic(ask: Ask) -> str:
        taken = re.findall(r"\[(\d)\]", " ".join(re.findall(r"Player \d\] *\[\d\]", ask.messages[-1].text)))
        return f"[{next(cell for cell in '048261357' if cell not in taken)}]"

    def guess(ask: Ask) -> str:
        return f"[{1 + len(re.findall(r'Your|higher|lower', ask.messages[-1].text)) % 20}]"

    tictactoe, number, nim = (
        textarena_game(f"textarena:{name}") for name in ("TicTacToe-v0", "GuessTheNumber-v0", "Nim-v0")
    )
    first, second, third, again = play(
        programs,
        (tictactoe, 0, tic),
        (number, 1, guess),
        (nim, 0, lambda ask: "I pass"),
        (number, 1, guess),
    )
    assert [ask.seat for ask in first if isinstance(ask, Ask)][:2] == ["player 1", "player 2"]
    assert all(ask.messages[0].role == "system" for ask in first if isinstance(ask, Ask))
    for said in (first, second):
        assert isinstance(said[-1], Outcome)
        assert said[-1].score is None or 0 <= said[-1].score <= 100
    assert second == again
    end = third[-1]
    assert isinstance(end, Outcome)
    assert (end.state, end.score, end.reason) == ("aborted", None, "invalid move of player 1")


SWEEP = f"""
name = "others"
repeats = 4
[games."clem:nextnumber"]
checkout = "{CHECKOUT}"
[games."clem:dice"]
checkout = "{CHECKOUT}"
turns_max = 4
[games."textarena:GuessTheNumber-v0"]
items = 3
[models.m.methods.a]
bots = {{ latency_s = 0.3 }}
[models.m.methods.b]
emulator = {{}}
[audit]
again = false
"""


def test_a_sweep_is_killed_and_resumed(programs: Mapping[str, GameProgram], tmp_path: Path) -> None:
    """A run that is killed in mid-episode leaves no process behind; the same command goes on from the stored
    replies, asks nothing twice, and every item is played once. Also in a resumed play an episode ends at its
    limit of turns."""
    (tmp_path / "s.toml").write_text(SWEEP, encoding="utf-8")
    command = [sys.executable, "-m", "harness", "run", "s.toml"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if re.search(r"m/a, done [1-9]", line):
                break
        children = _children(run.pid)
        assert children
        run.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 60
    while any(_runs(process) for process in children) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not any(_runs(process) for process in children)
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with duckdb.connect(str(tmp_path / "others.duckdb"), read_only=True) as store:
        rows = store.sql(
            "SELECT game, method, count(*), count(DISTINCT key) FROM episodes GROUP BY ALL"
        ).fetchall()
        twice = store.sql(
            "SELECT episode_id, turn FROM calls WHERE error_class IS NULL GROUP BY ALL HAVING count(*) > 1"
        ).fetchall()
        statuses = store.sql("SELECT DISTINCT status FROM episodes").fetchall()
        limited = store.sql(
            "SELECT DISTINCT outcome, score, turns, requests, reason FROM episodes WHERE game = 'clem:dice'"
        ).fetchall()
    assert {(game, method): counts for game, method, *counts in rows} == {
        (game, f"m/{method}"): [4 * items] * 2
        for game, items in (("clem:nextnumber", 3), ("clem:dice", 2), ("textarena:GuessTheNumber-v0", 3))
        for method in "ab"
    }
    assert twice == []
    assert statuses == [("finished",)]
    assert limited == [("aborted", None, 4, 4, "no end after 4 turns (turns_max)")]


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    return [int(process) for process in found]


def _runs(process: int) -> bool:
    try:
        return "child.py" in Path(f"/proc/{process}/cmdline").read_text("utf-8")
    except OSError:
        return False
