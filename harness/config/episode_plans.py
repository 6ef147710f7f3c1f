"""Makes the episode plans of a sweep: a lazy, ordered stream for each seating, with stable keys, without
stored episodes.

Each seating's stream has the same items in the same seeded order, so that a stopped sweep has played the same
items with every method: session after session; in each, first a quarter of every game's items, repeat after
repeat, then the next quarter. After each quarter an interim analysis is possible. Each repeat is a batch. The
last batch of a session starts with the longest games, so that few episodes are open at the end. A reference
with an A/A replicate plays both arms of an item in succession, in random order, so that both meet the same
state of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from math import sqrt
from typing import NamedTuple

from harness.config.sweep import Seating, deal_repeats
from harness.core.seeds import stream
from harness.core.vocabulary import Arm, EpisodePlan, Instance, item_key

# Names of the ways to choose `items` of a game's instances. A store keeps the draw that it was begun with; a
# draw that chooses otherwise gets another name.
FIRST = "first"  # the first of each experiment: stores that name no draw
BALANCED = "balanced-1"  # drawn evenly over experiments and places of the right answer

LOOKS = 4  # blocks of items, each played to the end before the next; interim analyses come after each
GOLDEN_RATIO = (
    sqrt(5.0) - 1.0
) / 2.0  # multiples of it, without their whole part, are spread evenly over 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GameSet:
    """The chosen instances of one game.

    rules      the rule set
    seats      number of seats
    turns      turns of an ordinary episode
    turns_max  turns after which an episode ends at the latest; None: the game's own rules decide
    draw       how the instances were chosen: FIRST or BALANCED
    self_play  whether a method plays the game with itself; false: pairs alone play it"""

    rules: str
    seats: int
    instances: tuple[Instance, ...]
    turns: float = 1.0
    turns_max: int | None = None
    draw: str = BALANCED
    self_play: bool = True

    def players(self, seating: Seating, game: str) -> tuple[str, ...]:
        """Returns the access method of each seat; empty if the seating does not play this game."""
        if len(seating.methods) == 1 and not self.self_play:
            return ()
        return seating.seats(game, self.seats)


def turn_limits(sets: Mapping[str, GameSet]) -> dict[str, int | None]:
    """Returns game -> turns after which an episode ends at the latest; None: the game's own rules decide."""
    return {name: chosen.turns_max for name, chosen in sets.items()}


def choose_instances(
    instances: Sequence[Instance],
    *,
    experiments: Sequence[str],
    items: int | None,
    draw: str = BALANCED,
    answer_place: Callable[[Instance], str] | None = None,
) -> tuple[Instance, ...]:
    """Returns at most `items` instances of the named experiments, in their order.

    More items include the instances of fewer. The draw depends on the instance set alone, so that every
    sweep, machine and day has the same items.

    experiments   names; none: all experiments
    items         None: all instances
    draw          FIRST or BALANCED
    answer_place  the place of the right answer, over which BALANCED balances too; None: the game has none"""
    wanted = [instance for instance in instances if not experiments or instance.experiment in experiments]
    if items is None or items >= len(wanted):
        return tuple(wanted)
    order = _first_order(wanted) if draw == FIRST else _balanced_order(wanted, answer_place)
    return tuple(wanted[index] for index in sorted(order[:items]))


def _first_order(instances: Sequence[Instance]) -> list[int]:
    """Returns the places of the instances: the first of every experiment, then the second of every one."""
    places: Counter[str] = Counter()
    ranks: list[tuple[int, int]] = []
    for index, instance in enumerate(instances):
        ranks.append((places[instance.experiment], index))
        places[instance.experiment] += 1
    return [index for _, index in sorted(ranks)]


def _balanced_order(
    instances: Sequence[Instance], answer_place: Callable[[Instance], str] | None
) -> list[int]:
    """Returns the places of the instances in an order of which every beginning is balanced.

    Experiments take turns in a drawn order, and so do the places of the right answer within an experiment.
    The first place differs from one experiment to the next."""

    def drawn(*path: str) -> float:
        return stream(0, "draw", BALANCED, instances[0].game, instances[0].set_name, *path).random()

    cells: dict[str, dict[str, list[int]]] = {}
    for index, instance in enumerate(instances):
        place = "" if answer_place is None else answer_place(instance)
        cells.setdefault(instance.experiment, {}).setdefault(place, []).append(index)
    by_place = sorted(
        {place for cell in cells.values() for place in cell}, key=lambda place: drawn("place", place)
    )
    sequences = []
    for number, experiment in enumerate(sorted(cells, key=lambda name: drawn("experiment", name))):
        turns = [by_place[(number + step) % len(by_place)] for step in range(len(by_place))]
        shuffled = [
            sorted(
                cells[experiment].get(place, ()),
                key=lambda index: drawn("instance", experiment, instances[index].id),
            )
            for place in turns
        ]
        sequences.append(_in_turn(shuffled))
    return _in_turn(sequences)


def _in_turn(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Returns the first of every sequence, then the second of every one, until all are used."""
    return [value for row in zip_longest(*sequences) for value in row if value is not None]


def planned(
    seating: Seating, sets: Mapping[str, GameSet], *, repeats: int, arms: Sequence[Arm] = ("main",)
) -> int:
    """Returns the number of a seating's episodes, stored ones included."""
    playable = [chosen for game, chosen in sets.items() if chosen.players(seating, game)]
    return len(arms) * repeats * sum(len(chosen.instances) for chosen in playable)


class Item(NamedTuple):
    """A chosen instance with its number among all chosen instances."""

    number: int
    chosen: GameSet
    instance: Instance


def numbered(sets: Mapping[str, GameSet]) -> tuple[Item, ...]:
    """Returns the items of a sweep. The numbers depend on the choice of instances and are not stored."""
    pairs = [(chosen, instance) for chosen in sets.values() for instance in chosen.instances]
    return tuple(Item(number, *pair) for number, pair in enumerate(pairs))


Cell = tuple[int, Arm, int]
"""One episode of a seating: the number of its item, its arm, its repeat."""


class Cells(Container[Cell]):
    """A set of one seating's episodes, stored as one character for each planned episode. It holds planned
    episodes only."""

    def __init__(self, *, items: int, repeats: int, arms: Sequence[Arm]) -> None:
        self._repeats = repeats
        self._held: dict[str, str] = dict.fromkeys(arms, "0" * (items * repeats))

    def hold(self, arm: str, held: str) -> None:
        """Sets an arm's episodes: "1" or "0" for each, item by item, all repeats of an item together. Ignores
        unplanned arms."""
        if arm in self._held:
            self._held[arm] = held

    def __contains__(self, cell: object) -> bool:
        assert isinstance(cell, tuple)
        number, arm, repeat = cell
        return self._held[arm][number * self._repeats + repeat] == "1"

    def __len__(self) -> int:
        return sum(held.count("1") for held in self._held.values())

    def count(self, repeats: Iterable[int]) -> int:
        """Returns how many episodes of these repeats it holds."""
        held = self._held.values()
        return sum(cells[repeat :: self._repeats].count("1") for repeat in repeats for cells in held)


def look_blocks(sets: Mapping[str, GameSet], *, seed: int) -> tuple[tuple[Item, ...], ...]:
    """Returns the items in LOOKS blocks, each with its share of every game, drawn with the seed."""
    blocks: list[list[Item]] = [[] for _ in range(LOOKS)]
    items = iter(numbered(sets))
    for game, chosen in sets.items():
        order = list(islice(items, len(chosen.instances)))
        stream(seed, "blocks", game).shuffle(order)
        for place, item in enumerate(order):
            blocks[place * LOOKS // len(order)].append(item)
    return tuple(map(tuple, blocks))


def looked_at(sets: Mapping[str, GameSet], *, seed: int) -> tuple[tuple[str, ...], ...]:
    """Returns the items of each block, in the order in which their first repeats are planned."""
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
    sessions: int = 1,
) -> Iterator[EpisodePlan]:
    """Yields one seating's episodes in playing order, without stored ones.

    sets      game -> its chosen instances
    repeats   plays of each item
    seed      root of the order
    stored    the episodes that the store holds
    arms      ("main", "again") for a reference with an A/A replicate
    sessions  how many sessions share the repeats"""
    dealt = deal_repeats(repeats, sessions)
    for session in range(sessions):
        of_session = [repeat for repeat in range(repeats) if dealt[repeat] == session]
        yield from session_episodes(
            seating, sets, session=session, repeats=of_session, seed=seed, stored=stored, arms=arms
        )


def session_episodes(
    seating: Seating,
    sets: Mapping[str, GameSet],
    *,
    session: int,
    repeats: Sequence[int],
    seed: int,
    stored: Container[Cell],
    arms: Sequence[Arm] = ("main",),
) -> Iterator[EpisodePlan]:
    """Yields one seating's episodes of one session in playing order, without stored ones.

    session   its number
    repeats   the repeats that belong to it
    sets, seed, stored, arms   as in lane"""
    seats = {game: chosen.players(seating, game) for game, chosen in sets.items()}
    for look, whole in enumerate(look_blocks(sets, seed=seed)):
        block = [item for item in whole if seats[item.instance.game]]
        for repeat in repeats:
            if all((item.number, arm, repeat) in stored for item in block for arm in arms):
                continue
            order = list(block)
            stream(seed, "order", look, repeat).shuffle(order)
            if (look, repeat) == (LOOKS - 1, repeats[-1]):
                order.sort(key=lambda item: -item.chosen.turns)
            coin = stream(seed, "arms", look, repeat)
            for number, chosen, instance in order:
                for arm in coin.sample(arms, len(arms)) if len(arms) > 1 else arms:
                    if (number, arm, repeat) not in stored:
                        yield EpisodePlan(
                            instance=instance,
                            rules=chosen.rules,
                            seating=seats[instance.game],
                            arm=arm,
                            batch=repeat,
                            repeat=repeat,
                            session=session,
                        )


def trial_order(
    plans: Iterable[EpisodePlan], sets: Mapping[str, GameSet], *, lane_number: int
) -> list[EpisodePlan]:
    """Returns one lane's plans in the order of a trial, which plays a beginning of it.

    The first are one of each game, then each game's next when its share is due. A share is proportional to
    the plans of the game times the square root of the turns of a play: the best allocation where cost and
    standard deviation are proportional to turns (Cochran 1977, Sampling Techniques, section 5.5). Each lane
    begins with other items, so that a few plays of each of several lanes show many items.

    sets         game -> its chosen instances
    lane_number  the lane's place among those of the sweep, from 0"""
    by_game: dict[str, list[EpisodePlan]] = {}
    for plan in plans:
        by_game.setdefault(plan.instance.game, []).append(plan)
    due = []
    for number, (game, of_game) in enumerate(by_game.items()):
        first = int(len(of_game) * (lane_number * GOLDEN_RATIO % 1.0))
        share = len(of_game) * sqrt(sets[game].turns)
        due += [
            (place / share, number, plan) for place, plan in enumerate((*of_game[first:], *of_game[:first]))
        ]
    return [plan for _, _, plan in sorted(due, key=lambda one: one[:2])]
