"""A commented sweep file for a new user: what must be said is said, what may be said stands behind a #.

Knows the keys; test_template.py reads what it writes with load.py, as it is and with every # taken away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import SpecError

WHERE = "NAME=https://host/v1, NAME=vllm:WEIGHTS or NAME=bots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the new file is about.

    methods   (name, where): where is a web address, "vllm:WEIGHTS" or "bots"
    key_env   the variable that holds the key of the methods with an address; None: they need none"""

    name: str
    games: Sequence[str]
    model: str
    methods: Sequence[tuple[str, str]]
    key_env: str | None = None
    repeats: int = 3


def read_method(option: str) -> tuple[str, str]:
    """From "NAME=WHERE".

    raises  SpecError if it says no such thing"""
    name, _, where = option.partition("=")
    if not name or not (where == "bots" or where.startswith(("http://", "https://", "vllm:"))):
        raise SpecError(f"--method {option!r}: write {WHERE}")
    return name, where


def sweep_text(choices: Choices) -> str:
    """The file's text."""
    model = _key(choices.model)
    parts = [_HEAD.format(name=_text(choices.name), repeats=choices.repeats)]
    parts += [_FIRST_GAME.format(game=choices.games[0]), *(f"[games.{game}]\n" for game in choices.games[1:])]
    parts.append(_MODEL.format(model=model))
    parts += [
        _method(model, name, where, choices.key_env, first=place == 0)
        for place, (name, where) in enumerate(choices.methods)
    ]
    parts.append(_TAIL.format(reference=_text(f"{choices.model}/{choices.methods[0][0]}")))
    return "\n".join(parts)


def _method(model: str, name: str, where: str, key_env: str | None, *, first: bool) -> str:
    lines = [f"[models.{model}.methods.{_key(name)}]"]
    if where == "bots":
        lines += [
            "bots = { skill = 0.9, form_errors = 0.02 }   # the games' own programmatic players, no model at all"
        ]
    elif where.startswith("vllm:"):
        weights = _text(where.removeprefix("vllm:"))
        lines += [
            f'engine = {{ kind = "vllm", weights = {weights}, dtype = "auto" }}   # a server that the run starts and stops'
        ]
    else:
        lines += [f"base_url = {_text(where)}"]
        lines += [f"{'' if key_env else '# '}key_env = {_text(key_env or 'MY_API_KEY')}   # {_KEY}"]
    lines += [_METHOD_KEYS.rstrip()] if first else []
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """As TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else _text(name)


_KEY = "the variable's name; the key itself stands in the environment or in .env, never in a file of ours"

_HEAD = """\
# A sweep: games x the ways to reach a model x repeats. Every key: docs/sweep-file.md, or `lightbulb schema` for your editor.
#   lightbulb run THIS_FILE      plays it, and goes on where it stopped
#   lightbulb audit STORE        says whether the ways lead to the same model

name = {name}      # the store is this name with .duckdb, beside this file
repeats = {repeats}         # plays of each puzzle by each way: one tells little about a model that samples
# seed = 0            # root of all chance of ours: order, pauses, bots
"""

_FIRST_GAME = """\
# `lightbulb games` lists them.
[games.{game}]
# items = 30                    # at most so many puzzles; all, where it is left out
# experiments = []              # only these
# instances = "own"             # or "clembench:/path/to/checkout" of v1.6
"""

_MODEL = """\
# The model under audit, and under it each way to reach it.
[models.{model}]
# parameters = 8e9
"""

_METHOD_KEYS = """\
# served_name = "the-server's-name-for-it"
# concurrency = 32              # calls in flight at most
# requests_per_minute = 60      # quotas, as far as you know them
# tokens_per_minute = 100000
# temperature = 0.0
# constrain = false             # true: the server holds replies to the game's form (vLLM)
"""

_TAIL = """\
# Fixed before the first call, and refused if it changes afterwards.
[audit]
reference = {reference}
margin = 3.0                    # points of difference too small to matter
# alpha = 0.05

# [retry]
# tries_max = 6                 # requests that one call may cost
# timeout_s = 300               # one request, from connecting to the last byte
"""
