"""Writes a commented sweep file for a new user: required keys as they are, optional keys after a #.

Knows the keys. test_template.py reads the file with load.py, as it is and with every # removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.core.errors import SpecError
from harness.core.vocabulary import GAME_LIBRARIES, LIBRARY_TURNS_MAX, game_library

CLEM = GAME_LIBRARIES[0]
METHOD_FORM = "NAME=https://host/v1, NAME=vllm:WEIGHTS or NAME=bots"


class NewMethod(NamedTuple):
    """An access method of the new file.

    place    a web address, "vllm:WEIGHTS", "bots", or "provider:NAME" for a provider that has an address
    key_env  the variable in which this provider's key is looked for
    router   whether this provider asks others"""

    name: str
    place: str
    key_env: str | None = None
    router: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The user's choices for the new file.

    key_env   the environment variable with the key of the methods with an address; None: they need none"""

    name: str
    games: Sequence[str]
    model: str
    methods: Sequence[NewMethod]
    key_env: str | None = None
    repeats: int = 3


def read_method(option: str) -> NewMethod:
    """Returns the method of an option "NAME=PLACE".

    raises  SpecError if it has another form"""
    name, _, place = option.partition("=")
    if not name or not (place == "bots" or place.startswith(("http://", "https://", "vllm:"))):
        raise SpecError(f"--method {option!r}: write {METHOD_FORM}")
    return NewMethod(name, place)


def sweep_text(choices: Choices) -> str:
    """Returns the file's text."""
    model = _key(choices.model)
    parts = [_HEAD.format(name=_text(choices.name), repeats=choices.repeats)]
    parts += [_game(game, first=number == 0) for number, game in enumerate(choices.games)]
    parts.append(_MODEL.format(model=model))
    parts += [
        _method(model, method, choices.key_env, first=number == 0)
        for number, method in enumerate(choices.methods)
    ]
    parts.append(_TAIL.format(reference=_text(f"{choices.model}/{choices.methods[0].name}")))
    return "\n".join(parts)


def _game(name: str, *, first: bool) -> str:
    """Returns one game's table; the first one of our own and those of other libraries list optional keys."""
    key, library = _key(name), game_library(name)
    if library is None:
        return _FIRST_GAME.format(game=key) if first else f"[games.{key}]\n"
    checkout = 'checkout = "/path/to/clembench"\n' if library == CLEM else ""
    return f"[games.{key}]\n{checkout}{_LIBRARY_GAME_KEYS.format(turns_max=LIBRARY_TURNS_MAX)}"


def _method(model: str, method: NewMethod, key_env: str | None, *, first: bool) -> str:
    """Returns one method's table; the first one also lists optional keys.

    key_env   of the methods with an address"""
    place = method.place
    lines = [f"[models.{model}.methods.{_key(method.name)}]"]
    if place.startswith("provider:"):
        lines += [f"provider = {_text(place.removeprefix('provider:'))}"]
        if method.key_env:
            lines += [f"# key_env = {_text(method.key_env)}   # {_KEY}"]
        if method.router:
            lines += ["allow_fallbacks = true        # or name the providers behind it: upstreams = [...]"]
    elif place == "bots":
        lines += ["bots = { skill = 0.9, form_errors = 0.02 }   # programmatic players in place of a model"]
    elif place.startswith("vllm:"):
        weights = _text(place.removeprefix("vllm:"))
        engine = f'{{ kind = "vllm", weights = {weights}, dtype = "auto" }}'
        lines += [f"engine = {engine}   # a server that the run starts and stops"]
    else:
        lines += [f"base_url = {_text(place)}"]
        lines += [f"{'' if key_env else '# '}key_env = {_text(key_env or 'MY_API_KEY')}   # {_KEY}"]
    lines += [_METHOD_KEYS.rstrip()] if first else []
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Returns the value as a TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def _key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else _text(name)


_KEY = "name of the environment variable, which may be set in .env; the key itself is never stored"

_HEAD = """\
# A sweep: games x access methods of a model x repeats.
# All keys: docs/sweep-file.md, or `lightbulb schema` for your editor.
#   lightbulb run THIS_FILE      plays the sweep; run it again to continue
#   lightbulb audit STORE        tells whether the access methods lead to the same model

name = {name}      # the store is NAME.duckdb, beside this file
repeats = {repeats}         # plays of each item by each method; one is too few for a model that samples
# seed = 0            # root of our random draws: order, pauses, bots
"""

_FIRST_GAME = """\
# `lightbulb games` lists them.
[games.{game}]
# items = 30                    # maximum number of items; all without this key
# experiments = []              # names of experiments; all without this key
# instances = "own"             # or "clembench:/path/to/checkout" of v1.6
"""

_LIBRARY_GAME_KEYS = """\
# items = 20                    # maximum number of items
# turns_max = {turns_max}              # asks after which an episode without an end is aborted
"""

_MODEL = """\
# The model under audit, and below it each access method.
[models.{model}]
# parameters = 8e9
"""

_METHOD_KEYS = """\
# served_name = "the-server's-name-for-it"
# concurrency = 32              # maximum number of calls in flight
# requests_per_minute = 60      # quotas, as far as you know them
# tokens_per_minute = 100000
# temperature = 0.0
# constrain = false             # true: the server enforces the game's format of replies (vLLM)
"""

_TAIL = """\
# Fixed before the first call; a change after it is refused.
[audit]
reference = {reference}
margin = 3.0                    # difference in points that is too small to matter
# alpha = 0.05

# [retry]
# tries_max = 6                 # failed tries that end a call; an outage's do not count
# patience_s = 900              # a provider that serves no call for so long is left for a later run
# timeout_s = 300               # limit of one request, from connecting to the last byte
"""
