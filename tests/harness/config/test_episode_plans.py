"""Tests of episode plans: order, keys, choice of instances."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from harness.config.episode_plans import FIRST, Cells, GameSet, choose_instances, lane, planned
from harness.config.sweep import Seating
from harness.core.vocabulary import Instance
from tests.world import toy_instance

INSTANCES = tuple(toy_instance(number) for number in range(12))
SETS = {"count": GameSet(rules="plain", seats=2, instances=INSTANCES)}


def few(number: int) -> Instance:
    return Instance(
        game="few", set_name="s", experiment="e", id=str(number), fields={}, content_hash=str(number)
    )


def in_experiment(number: int, experiment: str) -> Instance:
    return Instance(
        game="g", set_name="s", experiment=experiment, id=str(number), fields={}, content_hash="h"
    )


def test_every_method_plays_the_same_items_in_the_same_order() -> None:
    """A stopped sweep has played the same items with every method."""
    one, two = (
        [plan.item for plan in lane(Seating((name,)), SETS, repeats=2, seed=3, stored=())]
        for name in ("m/a", "m/b")
    )
    assert one == two
    assert len(one) == planned(Seating(("m/a",)), SETS, repeats=2) == 24
    assert one[:12] != [plan.item for plan in lane(Seating(("m/a",)), SETS, repeats=1, seed=4, stored=())]


def test_the_last_batch_begins_with_the_longest_games() -> None:
    """Else a long episode, begun last, would be waited for alone. All other batches are as chance has
    them."""
    sets = {
        "few": GameSet(rules="plain", seats=1, instances=tuple(map(few, range(40))), turns=2.0),
        "count": GameSet(
            rules="plain", seats=1, instances=tuple(toy_instance(number) for number in range(40)), turns=20.0
        ),
    }
    games = [plan.instance.game for plan in lane(Seating(("m/a",)), sets, repeats=2, seed=3, stored=())]
    batches = [games[start : start + 20] for start in range(0, 160, 20)]
    assert batches[-1] == ["count"] * 10 + ["few"] * 10
    assert batches[-1] not in batches[:-1]


def test_a_pair_plays_games_of_two_seats() -> None:
    """Each in its own seat, at the same items in the same order as others play them; at a game of one seat
    there is no pair."""
    sets = {
        "count": SETS["count"],
        "few": GameSet(rules="plain", seats=1, instances=tuple(map(few, range(6)))),
    }
    pair = Seating(("m/a", "n/b"))
    plans = list(lane(pair, sets, repeats=2, seed=3, stored=()))
    alone = [
        plan
        for plan in lane(Seating(("m/a",)), sets, repeats=2, seed=3, stored=())
        if plan.instance.game == "count"
    ]
    assert len(plans) == planned(pair, sets, repeats=2) == 24
    assert {plan.seating for plan in plans} == {("m/a", "n/b")}
    assert {plan.item for plan in plans} == {plan.item for plan in alone}
    assert planned(Seating(("m/a", "n/b"), ("few",)), sets, repeats=2) == 0


def test_a_look_block_is_played_through_before_the_next() -> None:
    """A quarter of every game's items, all its batches one after the other, each in another order; then the
    next quarter."""
    sets = {
        "count": SETS["count"],
        "few": GameSet(rules="plain", seats=1, instances=tuple(map(few, range(6)))),
    }
    plans = list(lane(Seating(("m/a",)), sets, repeats=2, seed=3, stored=()))
    blocks = [
        {chosen.item for chosen in plans[start:end]} for start, end in ((0, 10), (10, 18), (18, 28), (28, 36))
    ]
    assert [len(block) for block in blocks] == [5, 4, 5, 4]
    assert [sum(item.startswith("few") for item in block) for block in blocks] == [2, 1, 2, 1]
    assert len(set.union(*blocks)) == 18
    assert [plan.batch for plan in plans[:10]] == [0] * 5 + [1] * 5
    assert [plan.item for plan in plans[:5]] != [plan.item for plan in plans[5:10]]


def test_an_aa_replicate_is_played_item_by_item() -> None:
    """Both arms of an item are neighbours, now one first and now the other; the rest of the plan is as
    without it."""
    alone = list(lane(Seating(("m/a",)), SETS, repeats=2, seed=3, stored=()))
    both = list(lane(Seating(("m/a",)), SETS, repeats=2, seed=3, stored=(), arms=("main", "again")))
    assert [plan for plan in both if plan.arm == "main"] == alone
    pairs = list(zip(both[::2], both[1::2], strict=True))
    assert all((one.item, one.repeat) == (two.item, two.repeat) and one.arm != two.arm for one, two in pairs)
    assert 0 < sum(one.arm == "main" for one, _ in pairs) < len(pairs)
    assert len(both) == planned(Seating(("m/a",)), SETS, repeats=2, arms=("main", "again"))


def test_what_is_stored_is_not_planned_again() -> None:
    """The rest keeps its order; the set of what is stored counts it, each once, and nothing of another
    arm."""
    plans = list(lane(Seating(("m/a",)), SETS, repeats=2, seed=3, stored=()))
    gone = plans[::3]
    stored = Cells(items=len(INSTANCES), repeats=2, arms=("main",))
    places = {INSTANCES.index(plan.instance) * 2 + plan.repeat for plan in gone}
    stored.hold("main", "".join("01"[place in places] for place in range(len(plans))))
    stored.hold("again", "1" * len(plans))
    assert len(stored) == len(gone)
    rest = list(lane(Seating(("m/a",)), SETS, repeats=2, seed=3, stored=stored))
    assert rest == [plan for index, plan in enumerate(plans) if index % 3]


def test_keys_tell_episodes_apart() -> None:
    """Method, repeat, rules and content are part of an episode's identity."""
    plans = [
        *lane(Seating(("m/a",)), SETS, repeats=2, seed=0, stored=()),
        *lane(Seating(("m/b",)), SETS, repeats=2, seed=0, stored=()),
    ]
    other_rules = {"count": GameSet(rules="other", seats=2, instances=INSTANCES)}
    plans += lane(Seating(("m/a",)), other_rules, repeats=1, seed=0, stored=())
    assert len({plan.episode_id for plan in plans}) == len(plans) == 60


def test_items_are_taken_evenly_over_experiments() -> None:
    """The former choice: of three unequal experiments each gives its first ones in turn, in their order."""
    pool = [
        in_experiment(number, name) for name, size in (("a", 5), ("b", 2), ("c", 9)) for number in range(size)
    ]
    chosen = choose_instances(pool, experiments=(), items=8, draw=FIRST)
    assert [(one.experiment, one.id) for one in chosen] == [
        ("a", "0"), ("a", "1"), ("a", "2"), ("b", "0"), ("b", "1"), ("c", "0"), ("c", "1"), ("c", "2"),
    ]  # fmt: skip
    assert len(choose_instances(pool, experiments=("c", "b"), items=None)) == 11
    assert len(choose_instances(pool, experiments=(), items=100)) == 16


def place_of(instance: Instance) -> str:
    return f"place {int(instance.id) % 3}"


def test_a_balanced_draw_is_balanced_and_only_grows() -> None:
    """For every number of items experiments differ by at most one and places of the right answer by few, more
    items include those of fewer, and the head of the list is not preferred."""
    pool = [in_experiment(number, name) for name in "abcdef" for number in range(30)]
    before: set[str] = set()
    for items in range(1, 61):
        chosen = choose_instances(pool, experiments=(), items=items, answer_place=place_of)
        keys = {f"{one.experiment}{one.id}" for one in chosen}
        assert len(keys) == items
        assert before <= keys
        before = keys
        experiments = Counter(one.experiment for one in chosen)
        places = Counter(place_of(one) for one in chosen)
        assert max(experiments.values()) - min(experiments[name] for name in "abcdef") <= 1
        assert max(places.values()) - min(places[f"place {n}"] for n in range(3)) <= 2
    twelve = choose_instances(pool, experiments=(), items=12, answer_place=place_of)
    assert set(Counter(map(place_of, twelve)).values()) == {4}
    assert [pool.index(one) for one in twelve] == sorted(map(pool.index, twelve))
    assert twelve != choose_instances(pool, experiments=(), items=12, draw=FIRST)


def test_the_draw_depends_on_the_instance_set_alone() -> None:
    """The same set gives the same items every time, another set others."""
    pool = [in_experiment(number, "a") for number in range(30)]
    other = [replace(one, set_name="another") for one in pool]
    first, again, moved = (
        [one.id for one in choose_instances(which, experiments=(), items=10)] for which in (pool, pool, other)
    )
    assert first == again
    assert first != moved
