"""Reads the games of a sweep: the instances and the rules that its file chooses.

Knows our own instance sets, the user's clembench checkout and the games of other libraries; plays nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backends.bots import own_instance
from games import GAMES
from games.clembench import read_instances
from games.instances import stop_words
from harness.config.episode_plans import BALANCED, FIRST, GameSet, choose_instances
from harness.config.problems import Key, spec_error, suggest
from harness.config.sweep import GamePart, SweepSpec
from harness.core.errors import SpecError
from harness.core.protocols import Game
from harness.core.vocabulary import EpisodePlan, Instance, digest, game_library
from harness.foreign_games.catalog import ForeignGame, with_turns_max
from harness.foreign_games.clembench_games import clem_game
from harness.foreign_games.libraries import CLEM
from harness.foreign_games.textarena_games import textarena_game


def games_of(spec: SweepSpec, source: Path) -> dict[str, Game | ForeignGame]:
    """Returns the games of the sweep, by name.

    source  the sweep file: relative paths start beside it, and errors name it
    raises  SpecError if a game of another library cannot be played"""
    games: dict[str, Game | ForeignGame] = {}
    for name, part in spec.games.items():
        try:
            games[name] = GAMES[name] if game_library(name) is None else _foreign_game(name, part, source)
        except SpecError as error:
            raise spec_error(source, [(("games", name), str(error))]) from error
    return games


def _foreign_game(name: str, part: GamePart, source: Path) -> ForeignGame:
    if game_library(name) == CLEM:
        assert part.checkout is not None, "load.py refuses a game of clembench without a checkout"
        checkout = user_path(part.checkout, source, ("games", name, "checkout"))
        game = clem_game(name, checkout, stop_words=sorted(stop_words()))
    else:
        game = textarena_game(name)
    return with_turns_max(game, part.turns_max)


def game_sets(
    spec: SweepSpec, source: Path, *, draws: Mapping[str, str | None] | None = None
) -> dict[str, GameSet]:
    """Returns game -> its chosen instances and the rules they are played by.

    source  the sweep file: relative paths start beside it, and errors name it
    draws   of the games that a store was begun with, None where it names none; other games are drawn evenly
    raises  SpecError for an unknown rule set, experiment, instance set or kind of mistake"""
    sets = {}
    for name, game in games_of(spec, source).items():
        part = spec.games[name]
        if isinstance(game, ForeignGame):
            instances: Sequence[Instance] = game.instances(part.items)
        elif part.instances == "own":
            instances = game.instances()
        elif part.instances.startswith("clembench:"):
            checkout = user_path(
                part.instances.removeprefix("clembench:"), source, ("games", name, "instances")
            )
            instances = read_instances(checkout, name)
        else:
            why = f'{part.instances!r} is neither "own" nor "clembench:/path/to/checkout"'
            raise spec_error(source, [(("games", name, "instances"), why)])
        rules = part.rules or game.rule_sets[0]
        if rules not in game.rule_sets:
            why = f"{rules!r} is not a rule set of this game; known: {', '.join(game.rule_sets)}"
            raise spec_error(source, [(("games", name, "rules"), why)])
        experiments = list(dict.fromkeys(instance.experiment for instance in instances))
        for wanted in part.experiments:
            if wanted not in experiments:
                why = f"no experiment {wanted!r}{suggest(wanted, experiments)}"
                raise spec_error(source, [(("games", name, "experiments"), why)])
        draw = (draws or {}).get(name, BALANCED) or FIRST
        chosen = choose_instances(
            instances,
            experiments=part.experiments,
            items=part.items,
            draw=draw,
            answer_place=game.answer_place,
        )
        for kind in part.reprompts:
            if kind not in game.reprompts:
                why = f"unknown kind of mistake{suggest(kind, game.reprompts)}"
                raise spec_error(source, [(("games", name, "reprompts", kind), why)])
        if part.reprompts:
            chosen = tuple(reworded(instance, part.reprompts) for instance in chosen)
        sets[name] = GameSet(
            rules=rules,
            seats=len(game.seats),
            instances=chosen,
            turns=game.turns_typical,
            turns_max=game.turns_max if isinstance(game, ForeignGame) else None,
            draw=draw,
            self_play=not (
                isinstance(game, ForeignGame) and game.halves and _is_of_pairs(name, spec, source)
            ),
        )
    _refuse_idle_pairs(spec, sets, source)
    return sets


def _is_of_pairs(name: str, spec: SweepSpec, source: Path) -> bool:
    """Returns whether pairs play this game, in which two seats share 100 points; then a method does not play
    it with itself.

    raises  SpecError if methods would be compared by it without pairs"""
    if any(name in (pair.games or (name,)) for pair in spec.pairs):
        return True
    if spec.references():
        why = (
            "if a method plays both seats of this game, its mean score is always 50, so an audit compares nothing;"
            " add [[pairs]] with the reference once in each seat, or remove the game"
        )
        raise spec_error(source, [(("games", name), why)])
    return False


def _refuse_idle_pairs(spec: SweepSpec, sets: Mapping[str, GameSet], source: Path) -> None:
    for_two = [name for name, chosen in sets.items() if chosen.seats == 2]
    for number, pair in enumerate(spec.pairs):
        for name in pair.games:
            if name not in for_two:
                raise spec_error(
                    source,
                    [
                        (
                            ("pairs", number, "games"),
                            f"{name!r} has one seat; games of two seats here: {', '.join(for_two) or 'none'}",
                        )
                    ],
                )
        if not for_two:
            raise spec_error(
                source,
                [
                    (
                        ("pairs", number),
                        "the sweep has no game of two seats; add taboo, imagegame or referencegame",
                    )
                ],
            )


def user_path(text: str, source: Path, key: Key) -> Path:
    """Returns a path of the sweep file as it is on this machine: ~ is the home folder, relative paths start
    beside the file.

    key     where the sweep file has it, for the error
    raises  SpecError if there is no home folder"""
    try:
        return source.parent / Path(text).expanduser()
    except RuntimeError as error:
        raise spec_error(source, [(key, f"{text!r}: {error}")]) from error


def reworded(instance: Instance, reprompts: Mapping[str, str]) -> Instance:
    """Returns the instance with the user's reprompts. It is another item: other words to a player may change
    what it does."""
    return dataclasses.replace(
        instance,
        fields={**instance.fields, "reprompts": dict(reprompts)},
        content_hash=digest(
            instance.content_hash, *(text for pair in sorted(reprompts.items()) for text in pair)
        ),
    )


def known_instances(spec: SweepSpec | None, source: Path | None) -> Callable[[str], Instance]:
    """Returns a function item -> instance, which knows all instances of this sweep's sets, if one is given,
    and our own sets: whatever draw the sweep's store was begun with."""
    own: Mapping[str, Instance] = {}
    if spec is not None and source is not None:
        games = {name: dataclasses.replace(part, items=None) for name, part in spec.games.items()}
        own = items_of(game_sets(dataclasses.replace(spec, games=games), source))

    def find(item: str) -> Instance:
        return own[item] if item in own else own_instance(item)

    return find


def items_of(sets: Mapping[str, GameSet]) -> dict[str, Instance]:
    """Returns item -> its instance."""
    return {
        EpisodePlan(instance=instance, rules=chosen.rules, seating=()).item: instance
        for chosen in sets.values()
        for instance in chosen.instances
    }


def warm_up(sets: Mapping[str, GameSet]) -> None:
    """Asks each game for its first prompt: games then load word lists and a stemmer, which takes seconds that
    calls must not wait for."""
    for name, chosen in sets.items():
        if chosen.instances and game_library(name) is None:
            next(GAMES[name].play(chosen.instances[0], chosen.rules))
