"""Reads TOML into a SweepSpec, or raises one SpecError with every problem: its line, its key, and the remedy.

Knows the classes of sweep.py and the contradictions between keys. Keeps: what it returns need not be checked
again."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter, ValidationError

from harness.config.library_games import library_contradictions
from harness.config.sweep import (
    ANY_PROVIDER,
    UNSET,
    AuditPart,
    BotPart,
    EnginePart,
    ExpectPart,
    GamePart,
    MethodPart,
    ModelPart,
    RetryPart,
    SweepSpec,
)
from harness.core.addresses import is_loopback
from harness.core.durations import duration_s
from harness.core.emulation import Defects, Emulation, Faults, Latency, Quotas
from harness.core.errors import SpecError
from harness.core.vocabulary import game_library, split_method_key

Key = tuple[str | int, ...]
_ENDPOINTS = ("/chat/completions", "/completions", "/messages", "/models", "/embeddings")
_SECRET_PARAMETER = re.compile(r"key|token|secret|password|credential|^(sig|auth|code)$", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(("content-type", "content-length", "transfer-encoding", "connection", "host"))
_EMULATION: Mapping[str, type] = {"quotas": Quotas, "latency": Latency, "faults": Faults, "defects": Defects}
NAME_BYTES_MAX = 200  # file systems take 255, and endings are added
NAME = re.compile(r"[^\s/+|\x00-\x1f\x7f-\x9f]+")


def load_sweep(path: Path, *, known_games: Collection[str]) -> SweepSpec:
    """Returns the sweep of this file.

    known_games   the names that [games.NAME] may use
    raises        SpecError"""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); name a sweep file") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    return parse_sweep(text, source=str(path), known_games=known_games)


def parse_sweep(text: str, *, source: str, known_games: Collection[str]) -> SweepSpec:
    """Returns the sweep of this text; source is its name in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{source}: not valid TOML: {error}") from error
    return read_sweep(raw, source=source, known_games=known_games, text=text)


def read_sweep(
    raw: Mapping[str, object], *, source: str, known_games: Collection[str], text: str = ""
) -> SweepSpec:
    """Returns the sweep of these tables.

    source, text   name and text of the file, for errors with line numbers; text is empty if there is no
                   file"""
    _unset(raw)
    try:
        spec = TypeAdapter(SweepSpec).validate_json(
            json.dumps(raw, default=str), strict=True
        )  # as JSON: strict, and lists are lists
    except ValidationError as error:
        games = raw.get("games")
        problems = [*_unknown_games(games if isinstance(games, dict) else (), known_games)]
        problems += [(_own_key(e["loc"]), _plain(e)) for e in error.errors()]
        raise SpecError(_problem_lines(source, text, problems)) from error
    problems = list(_contradictions(spec, known_games))
    if problems:
        raise SpecError(_problem_lines(source, text, problems))
    return spec


def parse_emulation(settings: Sequence[str]) -> Emulation:
    """Returns the settings of `lightbulb emulate`.

    settings   KEY=VALUE each; keys are dotted as in quotas.requests=300, values are TOML; other values are
               text"""
    lines = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(f"{setting!r} is not a setting; write KEY=VALUE, such as quotas.requests=300")
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            value = json.dumps(value)
        lines.append(f"{name} = {value}")
    try:
        raw = tomllib.loads("\n".join(lines))
        emulation = TypeAdapter(Emulation).validate_json(json.dumps(raw, default=str), strict=True)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"settings: {error}; write KEY=VALUE, such as quotas.requests=300") from error
    except ValidationError as error:
        problems = (
            (_own_key(e["loc"]), _plain(e, ("models", "", "methods", "", "emulator"))) for e in error.errors()
        )
        raise SpecError(
            "\n".join(f"{'.'.join(map(str, key))}: {problem}" for key, problem in problems)
        ) from error
    contradictions = [
        f"{'.'.join(map(str, key))}: {problem}"
        for key, problem in _emulation_contradictions(emulation, False)
    ]
    if contradictions:
        raise SpecError("\n".join(contradictions))
    return emulation


def method_place(method: str, *key: str | int) -> Key:
    """Returns where the sweep file describes an access method, or this key of it."""
    model, name = split_method_key(method)
    return ("models", model, "methods", name, *key)


def spec_error(source: Path, problems: Sequence[tuple[Key, str]]) -> SpecError:
    """Returns an error that lists these problems of a sweep file, each with its line and key."""
    try:
        text = source.read_text("utf-8-sig")
    except (
        OSError,
        UnicodeDecodeError,
    ):  # the file changed since it was read: the keys have to do without lines
        text = ""
    return SpecError(_problem_lines(str(source), text, problems))


def _unknown_games(games: Iterable[str], known_games: Collection[str]) -> Iterator[tuple[Key, str]]:
    for game in games:
        if game not in known_games and game_library(game) is None:
            yield (
                ("games", game),
                f"no such game{suggest(game, list(known_games))}; `lightbulb games` lists them",
            )


def _contradictions(spec: SweepSpec, known_games: Collection[str]) -> Iterator[tuple[Key, str]]:
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
        if not NAME.fullmatch(model):
            yield (
                ("models", model),
                "a model's name must be printable, without spaces and / + |, which join names in the store",
            )
        for name, method in model_part.methods.items():
            at: Key = ("models", model, "methods", name)
            if not NAME.fullmatch(name):
                yield (
                    at,
                    "a method's name must be printable, without spaces and / + |,"
                    " which join names in the store",
                )
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


def _bad_sessions(spec: SweepSpec) -> Iterator[tuple[Key, str]]:
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


def _bad_pairs(spec: SweepSpec) -> Iterator[tuple[Key, str]]:
    known = list(spec.methods())
    for number, pair in enumerate(spec.pairs):
        for name in pair.seats:
            if name not in known:
                yield (
                    ("pairs", number, "seats"),
                    f"{name!r} is not an access method{suggest(name, known)}; write model/method",
                )
        if pair.seats[0] == pair.seats[1]:
            yield (
                ("pairs", number, "seats"),
                "names one method twice; remove this pair: without it every method already plays with itself",
            )
        if pair.seats in [other.seats for other in spec.pairs[:number]]:
            yield ("pairs", number, "seats"), "this pair is already in the file; keep one of them"
        for game in pair.games:
            if game not in spec.games:
                yield (
                    ("pairs", number, "games"),
                    f"the sweep does not play {game!r}{suggest(game, list(spec.games))}",
                )


def _unset(raw: Mapping[str, Any]) -> None:
    """Replaces the temperature "unset" by None, which TOML cannot express."""
    tables = raw.get("models")
    for model in tables.values() if isinstance(tables, dict) else ():
        methods = model.get("methods") if isinstance(model, dict) else None
        for method in methods.values() if isinstance(methods, dict) else ():
            if isinstance(method, dict) and method.get("temperature") == UNSET:
                method["temperature"] = None


def _method_contradictions(method: MethodPart, engines: Sequence[str]) -> Iterator[tuple[Key, str]]:
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
        found = _emulation_contradictions(method.emulator, method.allow_plain_http, engines)
        yield from ((("emulator", *key), problem) for key, problem in found)


def _engine_contradictions(engine: EnginePart) -> Iterator[tuple[Key, str]]:
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


def _emulation_contradictions(
    emulation: Emulation, plain_http: bool, engines: Sequence[str] = ()
) -> Iterator[tuple[Key, str]]:
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


# --- error messages
# -----------------------------------------------------------------------------------------------


def _problem_lines(source: str, text: str, problems: Sequence[tuple[Key, str]]) -> str:
    lines = []
    for key, problem in problems:
        line = _line_of(text, key)
        lines.append(
            f"{source}{f':{line}' if line else ''}: {'.'.join(map(str, key)) or 'the file'}: {problem}"
        )
    return "\n".join(lines)


def _own_key(location: Sequence[str | int]) -> Key:
    """Returns the location without pydantic's mark of a dict's key."""
    return tuple(part for part in location if part != "[key]")


def _plain(error: Mapping[str, Any], within: Key = ()) -> str:
    kind, context = error["type"], error.get("ctx", {})
    last = str(error["loc"][-1]) if error["loc"] else ""
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key{suggest(last, _keys_at(within + _own_key(error['loc'][:-1])))}"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return "is required and missing"
    if kind == "literal_error":
        return f"is {error['input']!r}; may be {context['expected']}"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _keys_at(key: Key) -> list[str]:
    """Returns the keys that a user may write in the table at this place."""
    tables: Mapping[str, type] = {"games": GamePart, "retry": RetryPart, "audit": AuditPart}
    if not key:
        part: type = SweepSpec
    elif key[0] == "models":
        inside: Mapping[str, type] = {
            "engine": EnginePart,
            "bots": BotPart,
            "emulator": Emulation,
            "expect": ExpectPart,
            **_EMULATION,
        }
        part = ModelPart if len(key) <= 2 else MethodPart if len(key) <= 4 else inside[str(key[-1])]
    else:
        part = tables[str(key[0])]
    return [field.name for field in dataclasses.fields(part)]


def suggest(word: str, known: Sequence[str]) -> str:
    """Returns the end of an error about an unknown word: the most similar known word, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(known) or 'none'}"


def _line_of(text: str, key: Key) -> int | None:
    """Returns the line of this key, or of the innermost table around it; None if the file as a whole is
    meant."""
    best: tuple[int, int] | None = None
    table: tuple[str, ...] = ()
    wanted = tuple(map(str, key))
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        assignment = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if header:
            table = _parts(header[1])
            here = table
        elif assignment:
            here = table + _parts(assignment[1])
        else:
            continue
        if here == wanted[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
