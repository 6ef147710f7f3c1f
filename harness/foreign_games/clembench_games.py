"""Reads the games of a user's clembench checkout: every folder with a clemgame.json.

Knows the layout of clembench since its version 2: specs, instance files, the code beside them. Keeps: the
checkout's code is read for its hash and never run here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_bytes, read_text
from harness.core.vocabulary import Instance, digest
from harness.foreign_games.catalog import ForeignGame, ListedGame, any_reply
from harness.foreign_games.libraries import CLEM, release

TOKENS_MAX = 300  # clemcore's own default
TURNS_TYPICAL = 6
GAME_FILE_BYTES_MAX = 64 * MIB  # the largest instance file of clembench has 1 MiB
_REMEDY = "name another clembench checkout"
SPEC_FILE = "clemgame.json"

# Games that clemcore 3.7.2 cannot play, each with its reason.
LEFT_OUT: Mapping[str, str] = {
    "cloudgame": "its code does not fit clemcore 3.7.2 (TypeError at its start)",
    "codenames": "it needs nltk's wordnet data, which are not in the packages",
    "privateshared": "its code does not fit clemcore 3.7.2 (KeyError at its start); the game privateshared of "
    "lightbulb plays it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClemSpec:
    """One game of a clemgame.json."""

    name: str
    folder: Path
    players: int
    description: str
    image: str
    instances: str

    @property
    def instance_file(self) -> Path:
        return self.folder / "in" / f"{self.instances.removesuffix('.json')}.json"


def read_specs(checkout: Path) -> dict[str, ClemSpec]:
    """Returns the games of a checkout by name, in the order of their folders.

    raises  SpecError if there is none, or a spec cannot be read"""
    specs = {spec.name: spec for path in sorted(checkout.rglob(SPEC_FILE)) for spec in _specs_in(path)}
    if not specs:
        raise SpecError(f"{checkout}: no folder in it has a {SPEC_FILE}; name a checkout of clembench")
    return specs


def _specs_in(path: Path) -> Iterator[ClemSpec]:
    content = _json(path)
    for entry in content if isinstance(content, list) else [content]:
        try:
            yield ClemSpec(
                name=str(entry["game_name"]),
                folder=path.parent.absolute(),
                players=int(entry["players"]),
                description=str(entry.get("description", "")),
                image=str(entry.get("image", "none")),
                instances=str(entry.get("instances", "instances")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"{path}: not a spec of clembench: {error!r}") from error


def why_not(spec: ClemSpec) -> str | None:
    """Returns why a sweep cannot play this game; None if it can."""
    if spec.name in LEFT_OUT:
        return LEFT_OUT[spec.name]
    if spec.image != "none":
        return "it shows images, but lightbulb sends text only"
    if not spec.instance_file.is_file():
        return f"its instances are not in the checkout ({spec.instance_file.name})"
    return None


def listed(checkout: Path) -> list[ListedGame]:
    """Returns a row for each game of the checkout."""
    return [
        ListedGame(
            name=f"{CLEM}:{spec.name}",
            seats=spec.players,
            plays=(why := why_not(spec)) is None,
            reason=why or "",
        )
        for spec in read_specs(checkout).values()
    ]


def clem_game(name: str, checkout: Path, *, stop_words: Sequence[str]) -> ForeignGame:
    """Returns the game `clem:NAME` of a checkout.

    stop_words  English stop words for games that ask nltk for them, where its data is missing
    raises      SpecError if the checkout has no such game, or it cannot be played"""
    specs = read_specs(checkout)
    spec = specs.get(name.removeprefix(f"{CLEM}:"))
    if spec is None:
        raise SpecError(f"{checkout} has no game {name!r}; it has {', '.join(specs)}")
    if (why := why_not(spec)) is not None:
        raise SpecError(f"{name} cannot be played: {why}")
    found = spec  # for the functions below

    def opening(instance: Instance) -> Mapping[str, object]:
        return {
            "folder": str(found.folder),
            "name": found.name,
            "experiment": instance.experiment,
            "id": instance.id,
            "stop_words": list(stop_words),
        }

    return ForeignGame(
        name=name,
        library=CLEM,
        summary=spec.description,
        seats=tuple(f"player {number + 1}" for number in range(spec.players)),
        rule_sets=(f"{release(CLEM)}+{_code_hash(spec.folder)}",),
        turns_typical=TURNS_TYPICAL,
        instances=lambda wanted: _instances(name, spec.instance_file),
        opening=opening,
        process=name,
        reply_format=any_reply(TOKENS_MAX),
    )


@cache
def _code_hash(folder: Path) -> str:
    """Returns a hash of the game's code and prompts: other rules make other items."""
    kept = (".py", ".template", ".txt")
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in kept and path.is_file()]
    return digest(
        *(f"{path.relative_to(folder)} {digest(_content(path).hex())}" for path in files),
        bytes_of_digest=4,
    )


@cache
def _instances(game: str, path: Path) -> tuple[Instance, ...]:
    return tuple(_read_instances(game, path))


def _read_instances(game: str, path: Path) -> Iterator[Instance]:
    """raises  SpecError that names the file, for another layout or an instance that is there twice"""
    met: set[tuple[str, str]] = set()
    try:
        for experiment in _json(path)["experiments"]:
            shared = digest(_canonical({**experiment, "game_instances": None}))
            for entry in experiment["game_instances"]:
                place = (str(experiment["name"]), str(entry["game_id"]))
                if place in met:
                    raise SpecError(f"{path}: experiment {place[0]} has game_id {place[1]} twice")
                met.add(place)
                yield Instance(
                    game=game,
                    set_name=path.stem,
                    experiment=place[0],
                    id=place[1],
                    fields={},
                    content_hash=digest(_canonical(entry), shared),
                )
    except (KeyError, TypeError) as error:
        raise SpecError(f"{path}: not an instance file of clembench: {error!r}") from error


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _content(path: Path) -> bytes:
    return read_bytes(path, bytes_max=GAME_FILE_BYTES_MAX, remedy=_REMEDY)


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path, bytes_max=GAME_FILE_BYTES_MAX, remedy=_REMEDY))
    except ValueError as error:
        raise SpecError(f"{path}: is not JSON: {error}") from error
