"""SweepSpec -> episode plans: a lazy, ordered stream for each seating, with stable keys, less what is already stored.

Each access method's stream holds the same items in the same seeded order, batch after batch: the methods move through the sweep
in step, and a sweep stopped half-way has played the same puzzles everywhere. A repeat is a batch of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.seeds import stream
from harness.core.vocabulary import EpisodePlan, Instance


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


def planned(sets: Mapping[str, GameSet], *, repeats: int) -> int:
    """How many episodes each access method has in all."""
    return repeats * sum(len(chosen.instances) for chosen in sets.values())


def lane(method: str, sets: Mapping[str, GameSet], *, repeats: int, seed: int, stored: Container[str]) -> Iterator[EpisodePlan]:
    """One access method's self-play episodes, in playing order, without those whose episode id is stored."""
    items = [(chosen, instance) for chosen in sets.values() for instance in chosen.instances]
    for repeat in range(repeats):
        order = list(items)
        stream(seed, "order", repeat).shuffle(order)
        for chosen, instance in order:
            plan = EpisodePlan(
                instance=instance, rules=chosen.rules, seating=(method,) * chosen.seats, batch=repeat, repeat=repeat
            )
            if plan.episode_id not in stored:
                yield plan
