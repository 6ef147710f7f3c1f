"""Tests of the audit plan: one hash for one set of decisions."""

from __future__ import annotations

import json
from dataclasses import replace

from harness.config.audit_plan import audit_plan
from harness.config.episode_plans import GameSet
from harness.config.load import parse_sweep
from harness.config.sweep import SweepSpec
from harness.core.vocabulary import digest
from tests.world import toy_instance

SPEC = parse_sweep(
    """
    name = "t"
    repeats = 3
    [games.taboo]
    [models.m.methods.here]
    bots = {}
    [models.m.methods.there]
    bots = {}
    [models.alone.methods.only]
    bots = {}
    """,
    source="t",
    known_games=["taboo"],
)
SETS = {
    "count": GameSet(rules="plain", seats=2, instances=tuple(toy_instance(number) for number in range(5)))
}


def test_it_contains_all_decisions_of_a_verdict() -> None:
    """It has the reference of each model with two methods, margins, items, repeats, families of tests."""
    plan = json.loads(audit_plan(SPEC, SETS))
    assert plan["references"] == {"m": "m/here"}
    assert plan["audit"]["margin"] == 3.0
    assert plan["audit"]["margin_replies"] == 1.5
    assert plan["games"]["count"]["items"] == 5
    assert plan["repeats"] == 3
    assert any("Holm" in family for family in plan["families"])


def test_its_hash_follows_decisions_and_nothing_else() -> None:
    """The order of items and limits of load do not change it; a margin or another item does."""

    def hashed(spec: SweepSpec = SPEC, sets: dict[str, GameSet] = SETS) -> str:
        return digest(audit_plan(spec, sets))

    turned = {"count": replace(SETS["count"], instances=SETS["count"].instances[::-1])}
    driven = {way: replace(part, concurrency=99) for way, part in SPEC.models["m"].methods.items()}
    assert hashed() == hashed(sets=turned)
    assert hashed() == hashed(
        replace(SPEC, models={**SPEC.models, "m": replace(SPEC.models["m"], methods=driven)})
    )
    assert hashed() != hashed(replace(SPEC, audit=replace(SPEC.audit, margin=2.9)))
    assert hashed() != hashed(sets={"count": replace(SETS["count"], instances=SETS["count"].instances[:4])})
