"""Writes what a run decides before its first call: the audit plan (margins, reference, items, tests and their
number, as one text with one hash), and which plays it plans.

Knows the sweep and its chosen instances. Keeps: the same decisions have the same hash on any machine; limits
of load are not part of the plan. A verdict quotes the hash, so that margins chosen after the data can be
recognised."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from harness.config.episode_plans import FIRST, LOOKS, GameSet, looked_at
from harness.config.sweep import SweepSpec
from harness.core.vocabulary import digest, item_key

ENDPOINTS = (
    "points of an episode, 0 when aborted",
    "percent of episodes played",
    "replies to identical prompts",
)
FAMILIES = (
    "each method against its reference: Holm over methods, apart for different and equivalent,"
    " apart for scores and replies",
    "games of one method: Westfall-Young over games and both endpoints",
    "every pair in every game: Benjamini-Hochberg at 0.10, exploratory",
)


def audit_plan(spec: SweepSpec, sets: Mapping[str, GameSet]) -> str:
    """Returns the plan as JSON; its hash is `digest` of this text."""
    return json.dumps(
        {
            "audit": _decisions(spec),
            "references": spec.references(),
            "methods": sorted(spec.methods()),
            "games": {name: _game(chosen) for name, chosen in sets.items()},
            "repeats": spec.repeats,
            "seed": spec.seed,
            "looks": LOOKS,
            "endpoints": ENDPOINTS,
            "families": FAMILIES,
        },
        sort_keys=True,
    )


def planned_plays(spec: SweepSpec, sets: Mapping[str, GameSet]) -> str:
    """Returns as JSON which plays the sweep plans: later readers tell by it what has not ended.

    blocks    the items of each look block, in the order in which they are planned
    draw      game -> how its items were chosen
    sessions  the session of each repeat
    methods   for each access method, or pair of them, its arms and the games that it plays"""
    return json.dumps(
        {
            "blocks": looked_at(sets, seed=spec.seed),
            "draw": {name: chosen.draw for name, chosen in sets.items()},
            "sessions": spec.session_of_repeats(),
            "methods": {
                name: {
                    "arms": spec.arms(name),
                    "games": [game for game, chosen in sets.items() if chosen.players(seating, game)],
                }
                for name, seating in spec.seatings().items()
            },
        }
    )


def _decisions(spec: SweepSpec) -> dict[str, object]:
    """Returns the table [audit]; the plan of a sweep with one session does not mention sessions."""
    decisions = dataclasses.asdict(spec.audit)
    if spec.audit.sessions == 1:
        del decisions["sessions"], decisions["gap"]
    return decisions


def _game(chosen: GameSet) -> dict[str, object]:
    items = sorted(":".join(item_key(instance, chosen.rules)) for instance in chosen.instances)
    game: dict[str, object] = {"rules": chosen.rules, "items": len(items), "items_hash": digest(*items)}
    # A store that was begun before draws had names keeps the text, and the hash, of its plan.
    return game if chosen.draw == FIRST else {**game, "draw": chosen.draw}
