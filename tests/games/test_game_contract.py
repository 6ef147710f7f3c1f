"""The laws that every game keeps for any replies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games import GAMES
from games.bots import with_format_errors
from games.grids import EMPTY
from games.playthrough import Playthrough, play_by_bots, replay
from harness.core.protocols import Game
from harness.core.seeds import stream
from harness.core.vocabulary import Instance, Outcome, normalised

EVERY_GAME = pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
BOUNDED = settings(max_examples=25, deadline=None, derandomize=True)

sre: Any = import_module("re._constants")
parser: Any = import_module("re._parser")

TAGS = [
    "CLUE:",
    "GUESS:",
    "guess:",
    "explanation:",
    "agreement:",
    "Instruction:",
    "Expression:",
    "Answer:",
    "ANSWER:",
    "ASIDE:",
    "ME:",
]
WORDS = [
    "yes",
    "no",
    "DONE",
    "first",
    "NA",
    "start",
    "crane",
    "STOP",
    "x",
    EMPTY,
    "X X X X X",
    "$1$",
    "TARGET_EXPRESSION",
    "{}",
    "%s",
]
ODD = [
    "",
    "\0",
    "\x1c",
    "\x85",
    "\u2028",
    "\udc80",
    "\ud800\udc00",
    "שלום",
    "\u202e",
    "ſ",
    "İ",
    "K",
    "’",
    "\ufeff",
    "\r\n",
    "\n",
    "\t",
]
PIECES = st.lists(st.sampled_from(TAGS + WORDS + ODD) | st.text(max_size=20), max_size=8).map(" ".join)
CHEAP = {"privateshared": "hotel-booking"}


def some_instance(game: Game) -> Instance:
    """Returns a game's first instance that takes little time to play."""
    return next(
        instance
        for instance in game.instances()
        if instance.experiment == CHEAP.get(game.name, instance.experiment)
    )


def spoiled(
    game: Game, instance: Instance, rules: str, rate: float, chance: Random, other: list[str]
) -> Playthrough:
    """Plays with bots of skill 0.5; replaces some replies and breaks the format of some."""

    def reply_of(seat: str, messages: Any) -> str:
        reply = with_format_errors(game.bots[seat](instance, messages, 0.5, chance), rate / 2, chance)
        return chance.choice(other) if other and chance.random() < rate else reply

    play, replies, asks = game.play(instance, rules), list[str](), []
    asks.append(next(play))
    try:
        while True:
            replies.append(reply_of(asks[-1].seat, asks[-1].messages))
            asks.append(play.send(replies[-1]))
    except StopIteration as ended:
        return Playthrough(asks=tuple(asks), replies=tuple(replies), outcome=ended.value)


def check(game: Game, transcript: Playthrough) -> None:
    """Asserts the laws of a finished episode."""
    outcome = transcript.outcome
    assert isinstance(outcome, Outcome)
    assert (outcome.score is None) is (outcome.state in ("aborted", "unscored"))
    assert outcome.score is None or 0 <= outcome.score <= 100
    assert outcome.state != "success" or outcome.score
    assert outcome.requests.total == outcome.requests.parsed + outcome.requests.violated
    assert outcome.requests.total <= len(transcript.replies)
    assert outcome.reason
    assert len(outcome.reason) < 80
    assert all(isinstance(figure, float) for figure in outcome.metrics.values())
    assert (outcome.last_parse.violation is not None) is (
        outcome.state == "aborted" and outcome.reason != "too many unknown words"
    )
    for ask in transcript.asks:
        assert ask.seat in game.seats
        assert ask.messages == normalised(ask.messages)
        assert ask.messages[-1].role == "user"
        assert ask.reply_format.tokens_max == 100


@EVERY_GAME
@BOUNDED
@given(
    replies=st.lists(PIECES, min_size=1, max_size=6),
    seed=st.integers(0, 1 << 32),
    rate=st.sampled_from([0.05, 0.3, 1.0]),
)
def test_every_episode_ends(game: Game, replies: list[str], seed: int, rate: float) -> None:
    """No replies crash a game or keep it running; the same replies give the same asks and outcome."""
    instance = some_instance(game)
    transcript = spoiled(game, instance, "v1.6b", rate, stream(seed), replies)
    check(game, transcript)
    assert replay(game.play(instance, "v1.6b"), transcript.replies) == transcript


@EVERY_GAME
def test_rule_sets_differ_for_the_critic_only(game: Game) -> None:
    """Both rule sets play alike, except that v1.6 never aborts for an invalid critic."""
    instance = some_instance(game)
    for seed in range(20):
        transcript = spoiled(game, instance, "v1.6b", 0.1, stream(seed), ["", "yes"])
        assert transcript.outcome is not None
        again = replay(game.play(instance, "v1.6"), transcript.replies)
        if transcript.outcome.reason != "three invalid opinions in a row":
            assert again == transcript
        else:
            assert again.outcome is None


HOSTILE = {
    "empty": "",
    "long": "x" * 1_000_000,
    "spaces": " " * 1_000_000 + "x",
    "lines": "\n" * 1_000_000 + "x",
    "control characters": "".join(map(chr, range(32))) * 100,
    "lone surrogates": "\udc80\ud800" * 1000,
    "right to left": "\u202e" + "שלום " * 1000,
    "stemmer's worst": "ay" * 500_000,
    "nested quantifiers' worst": "a" * 100_000 + "!",
}


@EVERY_GAME
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_replies(game: Game, text: str) -> None:
    """Texts that are hard to parse are accepted or refused at once, at every place and after every tag."""
    instance = some_instance(game)
    openers = play_by_bots(game, instance, "v1.6b", skill=0.5, chance=stream(3)).replies[:3]
    for kept in range(len(openers) + 1):
        for tag in ("", *TAGS):
            transcript = replay(game.play(instance, "v1.6b"), [*openers[:kept], f"{tag} {text}"])
            assert transcript.asks


@EVERY_GAME
@BOUNDED
@given(data=st.data())
def test_replies_in_the_format_are_accepted(game: Game, data: st.DataObject) -> None:
    """A game accepts every reply that matches its ask's format; such a reply fits the token limit."""
    for reply_format, (instance, before) in _every_format(game.name).items():
        reply = data.draw(st.from_regex(re.compile(reply_format), fullmatch=True))
        transcript = replay(game.play(instance, "v1.6b"), [*before, reply.strip()])
        parse = (
            transcript.asks[-1].last_parse if transcript.outcome is None else transcript.outcome.last_parse
        )
        assert parse.violation is None
        # A printable ASCII character is at most one token, an empty cell at most its three bytes.
        assert len(reply.encode()) < 100


@cache
def _every_format(name: str) -> dict[str, tuple[Instance, tuple[str, ...]]]:
    """Returns each reply format that a game asks for, with replies that lead to it."""
    game = GAMES[name]
    instance = some_instance(game)
    transcript = play_by_bots(game, instance, "v1.6b", skill=0.5, chance=stream(0))
    places = {
        ask.reply_format.regex: (instance, transcript.replies[:number])
        for number, ask in reversed(list(enumerate(transcript.asks)))
    }
    assert {ask.seat for ask in transcript.asks} == set(game.seats)
    return places


@pytest.mark.parametrize("reply", ["NA", "NA ", "N", "NAB", "NA b", "N A", "Nothing"])
def test_the_answer_that_the_format_excludes(reply: str) -> None:
    """The format of an answer matches every line without a colon except NA."""
    reply_format = next(
        reply_format for reply_format in _every_format("privateshared") if reply_format.startswith("ANSWER")
    )
    assert bool(re.fullmatch(reply_format, f"ANSWER: {reply}")) is (reply.strip() != "NA")


@EVERY_GAME
def test_formats_are_portable(game: Game) -> None:
    """Formats use what all constrained decoders support, bounded repeats among it."""
    for reply_format in _every_format(game.name):
        assert reply_format.replace(EMPTY, "").isascii()
        _check_portable(parser.parse(reply_format))


def _check_portable(parsed: Iterable[tuple[Any, Any]]) -> None:
    for operation, argument in parsed:
        if operation is sre.LITERAL:
            continue
        if operation is sre.IN:
            assert all(kind in (sre.LITERAL, sre.RANGE) for kind, _ in argument)
        elif operation is sre.MAX_REPEAT:
            least, most, repeated = argument
            assert 0 <= least <= most <= 120
            _check_portable(repeated)
        elif operation is sre.SUBPATTERN:
            _group, added_flags, removed_flags, inner = argument
            assert not added_flags | removed_flags
            _check_portable(inner)
        elif operation is sre.BRANCH:
            for branch in argument[1]:
                _check_portable(branch)
        else:
            raise AssertionError(f"{operation} is not portable")


@EVERY_GAME
def test_perfect_bots(game: Game) -> None:
    """Perfect bots score 100 on every instance of our own sets."""
    for instance in game.instances():
        transcript = play_by_bots(
            game, instance, "v1.6b", skill=1, chance=stream(0, instance.experiment, instance.id)
        )
        check(game, transcript)
        assert transcript.outcome is not None
        assert transcript.outcome.score == 100


@EVERY_GAME
def test_bots_by_skill(game: Game) -> None:
    """The mean score rises with the skill of the bots; bots of skill 0 lose, in a good format."""
    instances = [
        instance
        for instance in game.instances()
        if instance.experiment not in ("museum-rooms", "locker-codes")
    ]
    means = []
    for skill in (0.0, 0.4, 0.8, 1.0):
        outcomes = [
            play_by_bots(
                game, instance, "v1.6b", skill=skill, chance=stream(repeat, instance.experiment, instance.id)
            ).outcome
            for instance in instances
            for repeat in range(2)
        ]
        scores = [outcome.score for outcome in outcomes if outcome is not None]
        assert None not in scores
        means.append(sum(score or 0.0 for score in scores) / len(scores))
    assert means == sorted(set(means))
    assert means[0] < 3
    assert means[-1] == 100


@EVERY_GAME
def test_replies_of_bots_match_the_format(game: Game) -> None:
    """A bot's reply has the format of its ask; after with_format_errors no game accepts it."""
    for number, instance in enumerate(game.instances()[::7]):
        transcript = play_by_bots(game, instance, "v1.6b", skill=0.7, chance=stream(number))
        for place, (ask, reply) in enumerate(zip(transcript.asks, transcript.replies, strict=True)):
            assert re.fullmatch(ask.reply_format.regex, reply)
            if place < 8:
                broken = with_format_errors(reply, 1.0, stream(0))
                after = replay(game.play(instance, "v1.6b"), [*transcript.replies[:place], broken])
                parse = after.asks[-1].last_parse if after.outcome is None else after.outcome.last_parse
                assert parse.violation is not None


def test_format_errors_occur_at_their_rate() -> None:
    """Format errors occur at their rate, and never at rate 0."""
    chance = stream(0)
    broken = sum(with_format_errors("CLUE: a", 0.2, chance) != "CLUE: a" for _ in range(5000))
    assert 900 < broken < 1100
    assert with_format_errors("CLUE: a", 0.0, chance) == "CLUE: a"
