"""SweepSpec -> episode plans: a lazy, ordered stream for each seating, with stable keys, less what is already stored.

Each access method's stream holds the same items in the same seeded order, so a sweep stopped half-way has played the same puzzles
everywhere: first a quarter of every game's items, batch after batch, then the next quarter. After each quarter an audit may look.
A repeat is a batch of its own. A reference that is played twice plays both arms of an item one after the other, in random order:
whatever the hour does to one it does to the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.seeds import stream
from harness.core.vocabulary import Arm, EpisodePlan, Instance

LOOKS = 4  # quarters of the items, each played to the end before the next


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSet:
    """The chosen instances of one game, the rules they are played by, and how many seats its seating fills."""

    rules: str
    seats: int
    instances: tuple[Instance, ...]


def choose_instances(instances: Sequence[Instance], *, experiments: Sequence[str], items: int | None) -> tuple[Instance, ...]:
    """At most `items` of the named experiments (all if none is named), taken evenly over the experiments, in their order."""
    wanted = [one for one in instances if not experiments or one.experiment in experiments]
    if items is None or items >= len(wanted):
        return tuple(wanted)
    places: Counter[str] = Counter()
    ranks: list[tuple[int, int]] = []
    for index, one in enumerate(wanted):
        ranks.append((places[one.experiment], index))
        places[one.experiment] += 1
    return tuple(wanted[index] for index in sorted(index for _, index in sorted(ranks)[:items]))


def planned(sets: Mapping[str, GameSet], *, repeats: int, arms: Sequence[Arm] = ("main",)) -> int:
    """How many episodes an access method has in all."""
    return len(arms) * repeats * sum(len(chosen.instances) for chosen in sets.values())


Item = tuple[GameSet, Instance]


def look_blocks(sets: Mapping[str, GameSet], *, seed: int) -> tuple[tuple[Item, ...], ...]:
    """The items in as many blocks as there are looks, each with its share of every game, drawn by the seed."""
    blocks: list[list[Item]] = [[] for _ in range(LOOKS)]
    for game, chosen in sets.items():
        order = list(chosen.instances)
        stream(seed, "blocks", game).shuffle(order)
        for place, instance in enumerate(order):
            blocks[place * LOOKS // len(order)].append((chosen, instance))
    return tuple(map(tuple, blocks))


def lane(
    method: str,
    sets: Mapping[str, GameSet],
    *,
    repeats: int,
    seed: int,
    stored: Container[str],
    arms: Sequence[Arm] = ("main",),
) -> Iterator[EpisodePlan]:
    """One access method's self-play episodes, in playing order, without those whose episode id is stored."""
    for look, block in enumerate(look_blocks(sets, seed=seed)):
        for repeat in range(repeats):
            order = list(block)
            stream(seed, "order", look, repeat).shuffle(order)
            coin = stream(seed, "arms", look, repeat)
            for chosen, instance in order:
                for arm in coin.sample(arms, len(arms)):
                    plan = EpisodePlan(
                        instance=instance, rules=chosen.rules, seating=(method,) * chosen.seats, arm=arm, batch=repeat, repeat=repeat
                    )
                    if plan.episode_id not in stored:
                        yield plan
