"""Makes the table of TextArena's environments, foreign_games/textarena.json, and docs/textarena.md.

Each environment is started and played with moves that its own observations mention, offline. The table says
how many seats it has, whether it plays and why not, and whether chance has a part in it: a game that never
draws a random number has one item only. Run it after a change of the release in
harness/foreign_games/libraries.py.

    lightbulb games install textarena && python -m bench.textarena_table"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TABLE, PAGE = ROOT / "harness" / "foreign_games" / "textarena.json", ROOT / "docs" / "textarena.md"
PLAYS, STEPS_MAX, LIMIT_S = 6, 60, 20
SEATS_MAX = 15
CHANCE = r"\b(random|np\.random|numpy\.random|rng)\.\w+\(|default_rng|RandomState"  # in an environment's code
REASONS = (
    (r"No module named 'textarena", "needs files that the package lacks"),
    (r"No module named '?([\w.]+)", r"needs the package \1"),
    (r"Resource .*?(\w+).*? not found|nltk", "needs data of nltk"),
    (r"directory not found", "needs files that the package lacks"),
    (r"API key|api_key|OPENROUTER|OPENAI", "needs a key for a judging model"),
    (r"SyntaxError", "needs Python 3.12"),
    (r"FileNotFoundError.*?([\w.-]+)'", r"needs the file \1, which the package lacks"),
    (r"TimeoutError: too slow", f"does not start within {2 * LIMIT_S} s"),
    (r"Timeout|ConnectionError|URLError|getaddrinfo|Max retries", "needs the network"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--look", nargs="*", help=argparse.SUPPRESS)  # run by TextArena's Python
    given = parser.parse_args()
    if given.look is None:
        make_table()
    else:
        look(given.look)


def make_table() -> None:
    """Writes the table and the page."""
    from harness.foreign_games.libraries import TEXTARENA, program_of

    command = [str(program_of(TEXTARENA).python), "-P", "-s", __file__, "--look"]
    rows: dict[str, dict[str, Any]] = {}
    names = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for name in names:  # a process each: some end it, some hang in native code
        try:
            ended = subprocess.run(
                [*command, name], capture_output=True, text=True, timeout=4 * LIMIT_S, check=False
            )
            lines = ended.stdout.splitlines()
            row = json.loads(lines[-1]) if lines else {"error": ended.stderr[-300:] or "the process ended"}
        except subprocess.TimeoutExpired:
            row = {"error": "it did not end"}
        rows[name] = described(row)
        print(name, rows[name])
    text = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    TABLE.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
    PAGE.write_text(page(rows), encoding="utf-8")
    print(sum(row["plays"] for row in rows.values()), "of", len(rows), "play")


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the table as a page of the documentation: environments of one kind in one row."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, row in rows.items():
        kind = ("yes" if row["plays"] else "no", str(row["seats"] or "-"))
        reason = row["reason"] or ("" if row["chance"] else "no chance: one item")
        groups.setdefault((re.sub(r"-v\d.*", "", name), *kind, reason), []).append(name)
    playable = sum(row["plays"] for row in rows.values())
    lines = [
        "# TextArena's environments\n",
        f"`python -m bench.textarena_table` made this table: {playable} of {len(rows)} environments play. A game without chance is the",
        "same with every seed, so that it has one item. [Games of other libraries](other-games.md) says how to play them.\n",
        "| plays | seats | environments | note |",
        "|---|---|---|---|",
    ]
    for (_, plays, seats, reason), names in groups.items():
        lines.append(f"| {plays} | {seats} | {', '.join(f'`{name}`' for name in names)} | {reason} |")
    return "\n".join(lines) + "\n"


def described(row: dict[str, Any]) -> dict[str, Any]:
    """Returns the table's row."""
    seats = row.get("seats", 0)
    if "error" in row:
        reason = next(
            (
                re.sub(f".*(?:{p}).*", to, row["error"], flags=re.S)
                for p, to in REASONS
                if re.search(p, row["error"], re.S)
            ),
            f"does not start: {row['error'][:100]}",
        )
        return {"seats": seats, "plays": False, "reason": reason, "chance": True}
    if seats > 2:
        return {"seats": seats, "plays": False, "reason": "has more than two seats", "chance": True}
    return {"seats": seats, "plays": True, "reason": "", "chance": row["chance"]}


# --- in TextArena's environment -------------------------------------------------------------------------


def look(names: list[str]) -> None:
    import inspect

    import textarena

    if not names:
        known = textarena.envs.registration.ENV_REGISTRY
        print(json.dumps([name for name in known if not name.endswith(("-raw", "-train"))]))
        return
    (name,) = names
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(2 * LIMIT_S)
    try:
        seats = seats_of(textarena, name)
        drawn, beginnings = False, set()
        for number in range(PLAYS if seats <= 2 else 0):
            draws_here, beginning = draws(textarena, name, seats, number)
            drawn |= draws_here
            beginnings.add(beginning)
        folder = Path(inspect.getfile(type(unwrapped(textarena.make(name))))).parent
        source = "".join(file.read_text("utf-8", "replace") for file in folder.rglob("*.py"))
        chance = drawn or len(beginnings) > 1 or re.search(CHANCE, source) is not None
        row: dict[str, Any] = {"seats": seats, "chance": chance}
    except BaseException as error:
        row = {"error": f"{type(error).__name__}: {error}"[:400]}
    print()
    print(json.dumps(row))


def _too_slow(*_: object) -> None:
    raise TimeoutError("too slow")


def unwrapped(env: Any) -> Any:
    while hasattr(env, "env"):
        env = env.env
    return env


def seats_of(textarena: Any, name: str) -> int:
    """Returns the smallest number of players that the environment accepts."""
    first: Exception | None = None
    for seats in range(1, SEATS_MAX + 1):
        env = textarena.make(name)
        try:
            env.reset(num_players=seats, seed=1)
            kind = type(env.state).__name__
            if {"SinglePlayerState": 1, "TwoPlayerState": 2}.get(kind, seats) != seats:
                continue
            _, observation = env.get_observation()
            if not isinstance(observation, str):
                raise TypeError(f"its observation is a {type(observation).__name__}")
            return seats
        except Exception as error:
            if first is None or not isinstance(error, AssertionError):
                first = error
    assert first is not None
    raise first


def draws(textarena: Any, name: str, seats: int, number: int) -> tuple[bool, str]:
    """Plays once; returns whether a random number was drawn from Python's generator, and the first
    observation."""
    moves = random.Random(number)
    env = textarena.make(name)
    random.seed(number)
    env.reset(num_players=seats, seed=number)
    drawn, first = False, ""
    for _ in range(STEPS_MAX):
        _, observation = env.get_observation()
        first = first or observation
        mentioned = re.findall(r"\[[^\[\]\n]{1,16}\]", observation)[-40:]
        before = random.getstate()
        done, _ = env.step(action=moves.choice([*mentioned, "[0]", "[1 1]", "[4]", "hello"]))
        drawn |= random.getstate() != before
        if done:
            break
    env.close()
    fresh = random.Random(number).getstate()
    return drawn or random.getstate() != fresh, first


if __name__ == "__main__":
    main()
