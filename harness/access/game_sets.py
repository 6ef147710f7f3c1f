"""The puzzles of a sweep: games with the instances and the rules that its file chooses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backends.bots import own_instance
from games import GAMES
from games.clembench import read_instances
from harness.config.episode_plans import GameSet, choose_instances
from harness.config.load import Key, spec_error, suggest
from harness.config.sweep import SweepSpec
from harness.core.vocabulary import EpisodePlan, Instance, digest


def game_sets(spec: SweepSpec, source: Path) -> dict[str, GameSet]:
    """The instances of every game of the sweep in this file, and the rules they are played by.

    raises  SpecError for an unknown rule set, experiment or instance set"""
    sets = {}
    for name, part in spec.games.items():
        game = GAMES[name]
        if part.instances == "own":
            instances: Sequence[Instance] = game.instances()
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
            why = f"{rules!r} is no rule set of this game; known: {', '.join(game.rule_sets)}"
            raise spec_error(source, [(("games", name, "rules"), why)])
        experiments = list(dict.fromkeys(one.experiment for one in instances))
        for wanted in part.experiments:
            if wanted not in experiments:
                why = f"no experiment {wanted!r}{suggest(wanted, experiments)}"
                raise spec_error(source, [(("games", name, "experiments"), why)])
        chosen = choose_instances(instances, experiments=part.experiments, items=part.items)
        for kind in part.reprompts:
            if kind not in game.reprompts:
                why = f"unknown kind of mistake{suggest(kind, game.reprompts)}"
                raise spec_error(source, [(("games", name, "reprompts", kind), why)])
        if part.reprompts:
            chosen = tuple(reworded(one, part.reprompts) for one in chosen)
        sets[name] = GameSet(rules=rules, seats=len(game.seats), instances=chosen, turns=game.turns_typical)
    _refuse_idle_pairs(spec, sets, source)
    return sets


def _refuse_idle_pairs(spec: SweepSpec, sets: Mapping[str, GameSet], source: Path) -> None:
    two = [name for name, chosen in sets.items() if chosen.seats == 2]
    for number, pair in enumerate(spec.pairs):
        for name in pair.games:
            if name not in two:
                raise spec_error(
                    source,
                    [
                        (
                            ("pairs", number, "games"),
                            f"{name!r} is played alone; two play {', '.join(two) or 'none here'}",
                        )
                    ],
                )
        if not two:
            raise spec_error(
                source,
                [
                    (
                        ("pairs", number),
                        "the sweep has no game of two seats; take taboo, imagegame or referencegame too",
                    )
                ],
            )


def user_path(text: str, source: Path, key: Key) -> Path:
    """A path as a user writes it in the sweep file: ~ is home, and relative paths start beside the file."""
    try:
        return source.parent / Path(text).expanduser()
    except RuntimeError as error:
        raise spec_error(source, [(key, f"{text!r}: {error}")]) from error


def reworded(instance: Instance, reprompts: Mapping[str, str]) -> Instance:
    """The instance with the user's reprompts: another puzzle, for what a player is told may change what it does."""
    return dataclasses.replace(
        instance,
        fields={**instance.fields, "reprompts": dict(reprompts)},
        content_hash=digest(
            instance.content_hash, *(text for pair in sorted(reprompts.items()) for text in pair)
        ),
    )


def known_instances(spec: SweepSpec | None, source: Path | None) -> Callable[[str], Instance]:
    """The puzzle behind an item: of the sweep in this file, if there is one, or of our own sets."""
    own: Mapping[str, Instance] = {} if spec is None or source is None else items_of(game_sets(spec, source))

    def find(item: str) -> Instance:
        return own[item] if item in own else own_instance(item)

    return find


def items_of(sets: Mapping[str, GameSet]) -> dict[str, Instance]:
    """Item -> its instance."""
    return {
        EpisodePlan(instance=one, rules=chosen.rules, seating=()).item: one
        for chosen in sets.values()
        for one in chosen.instances
    }


def warm_up(sets: Mapping[str, GameSet]) -> None:
    """Games load words and a stemmer with their first puzzle: seconds that must not fall while calls are in flight."""
    for name, chosen in sets.items():
        if chosen.instances:
            next(GAMES[name].play(chosen.instances[0], chosen.rules))
