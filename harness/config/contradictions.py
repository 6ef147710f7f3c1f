"""Finds the contradictions between the keys of a sweep that is valid key by key.

Knows the classes of sweep.py. Keeps: each problem has the place where the file should be changed, and a
remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from harness.config.library_games import library_contradictions
from harness.config.problems import Key, Problem, method_place, suggest
from harness.config.sweep import ANY_PROVIDER, EnginePart, MethodPart, SweepSpec
from harness.core.addresses import is_loopback
from harness.core.durations import duration_s
from harness.core.emulation import Emulation
from harness.core.vocabulary import game_library

_ENDPOINTS = ("/chat/completions", "/completions", "/messages", "/models", "/embeddings")
_SECRET_PARAMETER = re.compile(r"key|token|secret|password|credential|^(sig|auth|code)$", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(("content-type", "content-length", "transfer-encoding", "connection", "host"))
NAME_BYTES_MAX = 200  # file systems take 255, and endings are added
METHOD_NAME = re.compile(r"[^\s/+|\x00-\x1f\x7f-\x9f]+")
MODEL_NAME = re.compile(rf"{METHOD_NAME.pattern}(?:/{METHOD_NAME.pattern})*")


def _unknown_games(games: Iterable[str], known_games: Collection[str]) -> Iterator[Problem]:
    for game in games:
        if game not in known_games and game_library(game) is None:
            yield (
                ("games", game),
                partial(_no_such_game, game, list(known_games)),
            )


def _no_such_game(game: str, known_games: Sequence[str]) -> str:
    return f"no such game{suggest(game, known_games)}; `lightbulb games` lists them"


def unusable_names(spec: SweepSpec) -> Iterator[Problem]:
    """Yields the models and methods whose names cannot be used."""
    for model, part in spec.models.items():
        if not MODEL_NAME.fullmatch(model):
            yield (
                ("models", model),
                "a model's name must be printable, without spaces and + |, which join names in the store, and"
                " without / at its ends or two / in a row",
            )
        for name in part.methods:
            if not METHOD_NAME.fullmatch(name):
                yield (
                    ("models", model, "methods", name),
                    "a method's name must be printable, without spaces and / + |,"
                    " which join names in the store",
                )


def contradictions(spec: SweepSpec, known_games: Collection[str]) -> Iterator[Problem]:
    """Yields the contradictions of a sweep.

    known_games   the names that [games.NAME] may use"""
    if not re.fullmatch(r"[^\W_][\w. -]*", spec.name):
        yield (
            ("name",),
            f"{spec.name!r} cannot be the name of the store's file; use letters, digits, . _ - and spaces,"
            " first a letter or digit",
        )
    if len(spec.name.encode()) > NAME_BYTES_MAX:
        yield (
            ("name",),
            f"is longer than {NAME_BYTES_MAX} bytes, too long for the name of the store's file; shorten it",
        )
    yield from _unknown_games(spec.games, known_games)
    yield from library_contradictions(spec)
    engines = [name for name, (_, part) in spec.methods().items() if part.engine is not None]
    for model, model_part in spec.models.items():
        for name, method in model_part.methods.items():
            at: Key = ("models", model, "methods", name)
            yield from ((at + key, problem) for key, problem in _method_contradictions(method, engines))
    keys = {part.key_env for _, part in spec.methods().values() if part.key_env}
    for name, (_, part) in spec.methods().items():
        for variable in part.engine.env if part.engine is not None else ():
            if variable in keys:
                yield method_place(name, "engine", "env"), f"names {variable}, which is the key of a provider"
    reference = spec.audit.reference
    if reference is not None and reference not in spec.methods():
        yield (
            ("audit", "reference"),
            f"no such access method{suggest(reference, list(spec.methods()))}; write model/method",
        )
    yield from _bad_sessions(spec)
    yield from _bad_pairs(spec)


def _bad_sessions(spec: SweepSpec) -> Iterator[Problem]:
    audit = spec.audit
    if duration_s(audit.gap) is None:
        yield (
            ("audit", "gap"),
            f'{audit.gap!r} is not a duration; write a number and its unit, such as "6h" or "1 day"',
        )
    if audit.sessions > spec.repeats:
        yield (
            ("audit", "sessions"),
            f"{audit.sessions} sessions need {audit.sessions} repeats or more, but repeats = {spec.repeats}",
        )
    if audit.sessions > 1 and audit.stop == "early":
        yield (
            ("audit", "stop"),
            '"early" can stop the sweep within a session, but a verdict over sessions needs all of them;'
            ' write stop = "end", or sessions = 1',
        )


def _bad_pairs(spec: SweepSpec) -> Iterator[Problem]:
    known = spec.methods()
    pairs: set[tuple[str, ...]] = set()
    for number, pair in enumerate(spec.pairs):
        for name in pair.seats:
            if name not in known:
                yield (
                    ("pairs", number, "seats"),
                    partial(_no_such_method, name, list(known)),
                )
        if pair.seats[0] == pair.seats[1]:
            yield (
                ("pairs", number, "seats"),
                "names one method twice; remove this pair: without it every method already plays with itself",
            )
        if pair.seats in pairs:
            yield ("pairs", number, "seats"), "this pair is already in the file; keep one of them"
        pairs.add(pair.seats)
        for game in pair.games:
            if game not in spec.games:
                yield (
                    ("pairs", number, "games"),
                    f"the sweep does not play {game!r}{suggest(game, list(spec.games))}",
                )


def _no_such_method(name: str, known: Sequence[str]) -> str:
    return f"{name!r} is not an access method{suggest(name, known)}; write model/method"


def _method_contradictions(method: MethodPart, engines: Sequence[str]) -> Iterator[Problem]:
    places = [
        name for name in ("base_url", "engine", "bots", "emulator") if getattr(method, name) is not None
    ]
    if not places and method.provider == ANY_PROVIDER:
        choices = (
            'base_url = "https://...", engine = { kind = "vllm", ... }, bots = {}, emulator = {}, provider'
        )
        yield (), f"does not say where the model is; add {choices}"
    if len(places) > 1:
        yield (
            (places[0],),
            f"contradicts {' and '.join(places[1:])}: each says where the model is; keep one of them",
        )
    if (method.price_input_usd_per_mtok is None) != (method.price_output_usd_per_mtok is None):
        yield (), "has only one of two prices; give price_input_usd_per_mtok and price_output_usd_per_mtok"
    elif method.price_cached_usd_per_mtok is not None and method.price_input_usd_per_mtok is None:
        yield (
            ("price_cached_usd_per_mtok",),
            "needs price_input_usd_per_mtok and price_output_usd_per_mtok too",
        )
    if method.engine is not None:
        yield from ((("engine", *key), problem) for key, problem in _engine_contradictions(method.engine))
    if method.base_url is not None:
        yield from (
            (("base_url",), problem)
            for problem in address_problems(method.base_url, plain_http=method.allow_plain_http)
        )
    for name, value in method.headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
            yield ("headers", name), "is not a header that a sweep can set; name another one"
        if not (value.isascii() and value.isprintable()):
            yield ("headers", name), "has a value that no header can have: use printable ASCII"
    if method.headers and (
        method.bots is not None or method.engine is not None or method.emulator is not None
    ):
        yield ("headers",), "are for servers with a base_url or a provider; remove them"
    if method.emulator is not None:
        found = emulation_contradictions(method.emulator, method.allow_plain_http, engines)
        yield from ((("emulator", *key), problem) for key, problem in found)


def _engine_contradictions(engine: EnginePart) -> Iterator[Problem]:
    if engine.kind == "llamacpp" and engine.dtype != "auto":
        yield (
            ("dtype",),
            f"is {engine.dtype!r}, but llamacpp uses the data type of the weights' file; leave it out",
        )
    if engine.weights.startswith("hf:"):
        if engine.kind == "llamacpp":
            yield ("weights",), "is a model on a hub, which llamacpp cannot serve; name a GGUF file"
        elif not re.fullmatch(r"hf:[\w.-]+/[\w.-]+@[\w./-]+", engine.weights):
            yield (
                ("weights",),
                f'is {engine.weights!r}; write "hf:ORGANISATION/NAME@REVISION": without a revision the weights '
                "could change between two runs",
            )


def address_problems(address: str, *, plain_http: bool) -> Iterator[str]:
    """Yields what is wrong with a base URL."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        yield f"{address!r} is not a web address ({error}); write https://host/v1"
        return
    if any(c.isspace() or not c.isprintable() for c in address):
        yield f"{address!r} contains a space or a control character; remove it"
    if parts.fragment or address.endswith("#"):
        yield "contains a fragment (#), which is never sent; remove it"
    if "//" in parts.path:
        yield f"contains // in its path {parts.path!r}; remove one slash"
    if (
        ending := next((end for end in _ENDPOINTS if parts.path.rstrip("/").endswith(end)), None)
    ) is not None:
        yield f"ends in {ending}, which lightbulb adds itself; remove it"
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET_PARAMETER.search(name):
            yield f"contains a key in its query ({name}); name the environment variable with the key in key_env"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield f"{address!r} is not a web address; write https://host/v1"
    elif parts.scheme == "http" and not is_loopback(parts.hostname) and not plain_http:
        yield "would send prompts and key unencrypted; use https, or say allow_plain_http = true"
    if parts.username or parts.password:
        yield "contains a password; name the environment variable with the key in key_env"


def emulation_contradictions(
    emulation: Emulation, plain_http: bool, engines: Sequence[str] = ()
) -> Iterator[Problem]:
    if emulation.behind is None:
        if emulation.defects.routed_model is not None:
            yield ("defects", "routed_model"), "needs a real server (`behind`); for bots use routed_skill"
        return
    if emulation.behind not in engines:
        yield from (
            (("behind",), problem) for problem in address_problems(emulation.behind, plain_http=plain_http)
        )
    if emulation.defects.weights_noise:
        yield ("defects", "weights_noise"), "has no effect on a real server (`behind`); leave it out"
    if emulation.noise:
        yield ("noise",), "has no effect on a real server (`behind`); leave it out"
