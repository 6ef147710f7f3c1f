"""EpisodeLengths: episodes as lengths, and which of them an episode takes."""

from __future__ import annotations

from random import Random

from harness.core.vocabulary import EpisodePlan, Instance
from harness.planning.episode_lengths import (
    EpisodeLengths,
    MeasuredFormat,
    StoredPlay,
    TurnLength,
    episode_length,
    placeholder_games,
    with_length,
)
from tests.world import GAMES, plan


def sizes(*pairs: tuple[int, int]) -> tuple[TurnLength, ...]:
    return tuple(
        TurnLength(seat="odd" if place % 2 == 0 else "even", prompt_tokens=taken, reply_tokens=given)
        for place, (taken, given) in enumerate(pairs)
    )


def stored(method: str, which: EpisodePlan, turns: int) -> StoredPlay:
    model = method.split("/")[0]
    return StoredPlay(
        method=method,
        model=model,
        game="count",
        experiment="all",
        item=which.item,
        turns=sizes(*[(10 + turn, 2) for turn in range(turns)]),
    )


def bots(instance: Instance, rules: str, chance: Random) -> tuple[TurnLength, ...]:
    return sizes(*[(5, 1)] * (20 + chance.randrange(5)))


def test_a_stand_in_plays_the_shape_it_is_given() -> None:
    """As many asks, of those seats, with prompts and replies of those lengths; the plan's key stays what it
    was."""
    real = plan()
    played = with_length(real, episode_length(sizes((100, 7), (50, 3), (180, 9))))
    assert played.key == real.key
    asks = list(placeholder_games(GAMES)["count"].play(played.instance, played.rules))
    assert [ask.seat for ask in asks] == ["odd", "even", "odd"]
    assert [sum(len(message.text) for message in ask.messages) for ask in asks] == [400, 200, 720]
    forms = [ask.reply_format for ask in asks if isinstance(ask.reply_format, MeasuredFormat)]
    assert [(reply_format.prompt_tokens, reply_format.reply_tokens) for reply_format in forms] == [
        (100, 7),
        (50, 3),
        (180, 9),
    ]


def test_a_seats_history_grows_or_begins_anew() -> None:
    """A seat's history is at the front of its next prompt, unless that prompt is shorter."""
    asks = episode_length(
        [TurnLength(seat="odd", prompt_tokens=tokens, reply_tokens=1) for tokens in (10, 30, 20)]
    ).asks
    assert asks[1].messages[0] is asks[0].messages[0]
    assert len(asks[2].messages) == 1


def test_no_play_is_longer_than_its_game_allows() -> None:
    """Stored plays and those of bots are cut at the game's limit of turns."""
    one = plan(1)
    limits = {one.instance.game: 4}
    by_store = EpisodeLengths([stored("m/a", one, 9)], bots, turn_limits=limits)
    by_bots = EpisodeLengths([], bots, turn_limits=limits)
    for lengths in (by_store, by_bots):
        assert {length.turns for length in lengths.draw("m/a", "m", one, repeats=5, seed=1)} == {4}


def test_the_nearest_play_counts() -> None:
    """The same method's play of the same item, else of its experiment, else another method's of the model,
    else the bots'."""
    one, other = plan(1), plan(2)
    shapes = EpisodeLengths(
        [stored("m/a", one, 3), stored("m/a", other, 4), stored("m/b", other, 5)], bots, turn_limits={}
    )

    def lengths(method: str, which: EpisodePlan) -> set[int]:
        return {shape.turns for shape in shapes.draw(method, method.split("/")[0], which, repeats=40, seed=1)}

    assert lengths("m/a", one) == {3}
    assert lengths("m/a", plan(3)) <= {3, 4}
    assert lengths("m/b", one) == {5}
    assert lengths("m/c", one) == {3}
    assert min(lengths("n/a", one)) >= 20
    assert [shapes.source(method, method[0], one) for method in ("m/a", "m/c", "n/a")] == [
        "method",
        "model",
        "bots",
    ]


def test_the_same_seed_takes_the_same_shapes() -> None:
    """The lengths depend on method, item and seed only."""
    first, second = (
        [
            shape.turns
            for shape in EpisodeLengths([], bots, turn_limits={}).draw(
                "m/a", "m", plan(1), repeats=30, seed=7
            )
        ]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 1
