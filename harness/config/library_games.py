"""Finds what contradicts the games of other libraries in a sweep."""

from __future__ import annotations

from collections.abc import Iterator

from harness.config.sweep import SweepSpec
from harness.core.vocabulary import game_library, split_method_key


def library_contradictions(spec: SweepSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yields each key that a library decides, or that a game lacks, with a clause that says why."""
    for game, part in spec.games.items():
        library = game_library(game)
        at = ("games", game)
        if library == "clem" and part.checkout is None:
            yield at, 'has no checkout; add checkout = "/path/to/clembench"'
        if library != "clem" and part.checkout is not None:
            yield (*at, "checkout"), "is for games of clembench, as clem:taboo; remove it"
        if library is None:
            if part.turns_max is not None:
                yield (
                    (*at, "turns_max"),
                    "is for games of other libraries; our own end by their rules; remove it",
                )
            continue
        decided = {"instances": part.instances != "own", "rules": part.rules is not None}
        for key, given in {**decided, "reprompts": bool(part.reprompts)}.items():
            if given:
                yield (*at, key), f"is decided by the library of {game}; remove it"
        for name, (_, method) in spec.methods().items():
            if method.constrain:
                model, own_name = split_method_key(name)
                yield (
                    ("models", model, "methods", own_name, "constrain"),
                    f"{game} has no reply format that a server could enforce; remove the game or constrain",
                )
