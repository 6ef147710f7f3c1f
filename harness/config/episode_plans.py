"""SweepSpec -> episode plans: a lazy, ordered stream for each seating, with stable keys, less what is already stored.

Each seating's stream holds the same items in the same seeded order, so a sweep stopped half-way has played the same puzzles
everywhere: first a quarter of every game's items, batch after batch, then the next quarter. After each quarter an audit may look.
A repeat is a batch of its own; the very last begins with the longest games, for what is begun at the end should end soon. A reference
that is played twice plays both arms of an item one after the other, in random order: whatever the hour does to one it does to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from harness.config.sweep import Seating
from harness.core.seeds import stream
from harness.core.vocabulary import Arm, EpisodePlan, Instance, item_key

LOOKS = 4  # quarters of the items, each played to the end before the next


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSet:
    """The chosen instances of one game, the rules they are played by, how many seats its seating fills, and how many turns an episode
    takes, typically."""

    rules: str
    seats: int
    instances: tuple[Instance, ...]
    turns: float = 1.0


def choose_instances(
    instances: Sequence[Instance], *, experiments: Sequence[str], items: int | None
) -> tuple[Instance, ...]:
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


def planned(
    seating: Seating, sets: Mapping[str, GameSet], *, repeats: int, arms: Sequence[Arm] = ("main",)
) -> int:
    """How many episodes a seating has in all."""
    playable = [chosen for game, chosen in sets.items() if seating.seats(game, chosen.seats)]
    return len(arms) * repeats * sum(len(chosen.instances) for chosen in playable)


class Item(NamedTuple):
    """An instance among all the chosen ones: its number, and what it is."""

    number: int
    chosen: GameSet
    instance: Instance


def numbered(sets: Mapping[str, GameSet]) -> tuple[Item, ...]:
    """The items of a sweep; the numbers depend on what is chosen, and are stored nowhere."""
    pairs = [(chosen, instance) for chosen in sets.values() for instance in chosen.instances]
    return tuple(Item(number, *pair) for number, pair in enumerate(pairs))


Cell = tuple[int, Arm, int]
"""One of a seating's episodes: the number of its item, its arm, its repeat."""


class Cells(Container[Cell]):
    """Some of one seating's episodes: a character for each that is planned, however many are held. What is not planned is not held."""

    def __init__(self, *, items: int, repeats: int, arms: Sequence[Arm]) -> None:
        self._repeats = repeats
        self._held: dict[str, str] = dict.fromkeys(arms, "0" * (items * repeats))

    def hold(self, arm: str, held: str) -> None:
        """Of this arm's episodes, item by item and of each all repeats, those that have a "1"; of other arms none is planned."""
        if arm in self._held:
            self._held[arm] = held

    def __contains__(self, cell: object) -> bool:
        assert isinstance(cell, tuple)
        number, arm, repeat = cell
        return self._held[arm][number * self._repeats + repeat] == "1"

    def __len__(self) -> int:
        return sum(held.count("1") for held in self._held.values())


def look_blocks(sets: Mapping[str, GameSet], *, seed: int) -> tuple[tuple[Item, ...], ...]:
    """The items in as many blocks as there are looks, each with its share of every game, drawn by the seed."""
    blocks: list[list[Item]] = [[] for _ in range(LOOKS)]
    items = iter(numbered(sets))
    for game, chosen in sets.items():
        order = list(islice(items, len(chosen.instances)))
        stream(seed, "blocks", game).shuffle(order)
        for place, item in enumerate(order):
            blocks[place * LOOKS // len(order)].append(item)
    return tuple(map(tuple, blocks))


def looked_at(sets: Mapping[str, GameSet], *, seed: int) -> tuple[tuple[str, ...], ...]:
    """The items of each look, in the order in which their first repeats are planned."""
    blocks = [list(block) for block in look_blocks(sets, seed=seed)]
    for look, block in enumerate(blocks):
        stream(seed, "order", look, 0).shuffle(block)
    return tuple(
        tuple(":".join(item_key(item.instance, item.chosen.rules)) for item in block) for block in blocks
    )


def lane(
    seating: Seating,
    sets: Mapping[str, GameSet],
    *,
    repeats: int,
    seed: int,
    stored: Container[Cell],
    arms: Sequence[Arm] = ("main",),
) -> Iterator[EpisodePlan]:
    """One seating's episodes, in playing order, without those that are stored."""
    seats = {game: seating.seats(game, chosen.seats) for game, chosen in sets.items()}
    for look, whole in enumerate(look_blocks(sets, seed=seed)):
        block = [item for item in whole if seats[item.instance.game]]
        for repeat in range(repeats):
            if all((item.number, arm, repeat) in stored for item in block for arm in arms):
                continue
            order = list(block)
            stream(seed, "order", look, repeat).shuffle(order)
            if (look, repeat) == (LOOKS - 1, repeats - 1):
                order.sort(key=lambda item: -item.chosen.turns)
            coin = stream(seed, "arms", look, repeat)
            for number, chosen, instance in order:
                for arm in coin.sample(arms, len(arms)) if len(arms) > 1 else arms:
                    if (number, arm, repeat) not in stored:
                        who = seats[instance.game]
                        yield EpisodePlan(
                            instance=instance,
                            rules=chosen.rules,
                            seating=who,
                            arm=arm,
                            batch=repeat,
                            repeat=repeat,
                        )
