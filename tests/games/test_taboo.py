from __future__ import annotations

from pathlib import Path

import pytest

from games.clembench import read_instances
from games.playthrough import Playthrough, replay
from games.taboo import play
from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, Message, Requests


def make_instance(target: str, *related: str) -> Instance:
    fields = {
        "target_word": target,
        "related_word": list(related),
        "max_turns": 3,
        "describer_initial_prompt": "describe $TARGET_WORD$ without\n$REL_WORD$\nin $N$",
        "guesser_initial_prompt": "guess in $N$",
    }
    return Instance(game="taboo", set_name="test", experiment="test", id="0", fields=fields, content_hash="")


@pytest.fixture(params=["literal", "checkout"])
def responsibility(request: pytest.FixtureRequest) -> Instance:
    if request.param == "literal":
        return make_instance("responsibility", "blame", "obligation", "reliability")
    return read_instances(request.getfixturevalue("clembench"), "taboo")[0]


def played(instance: Instance, *replies: str) -> Playthrough:
    return replay(play(instance, "v1.6"), replies)


LOST_AT_ONCE = (0.0, 1, 1, 0)
ROUNDS = ["CLUE: x", "GUESS: a", "CLUE: y", "GUESS: b", "CLUE: z"]

CASES = [
    (["CLUE: x", "GUESS: Responsibility!"], "success", 100.0, 1, 1, 0),
    ([*ROUNDS, "GUESS: responsibility"], "success", 100 / 3, 3, 3, 0),
    ([*ROUNDS, "GUESS: c"], "lost", 0.0, 3, 3, 0),
    (["clue: x"], "aborted", None, 1, 0, 1),
    ([" CLUE: x"], "aborted", None, 1, 0, 1),
    (["CLUE: x", "GUESS: a", "CLUE: y", "b"], "aborted", None, 2, 1, 1),
    (["CLUE: x", "GUESS: a", "CLUE: y", "guess: b"], "aborted", None, 2, 1, 1),
    (["CLUE: being responsible"], "lost", *LOST_AT_ONCE),
    (["CLUE: RESPONSIBLE people"], "lost", *LOST_AT_ONCE),
    (["CLUE: 'responsible'"], "lost", *LOST_AT_ONCE),
    (["CLUE: x CLUE: responsible"], "lost", *LOST_AT_ONCE),
    (["CLUE: obligated"], "lost", *LOST_AT_ONCE),
    (["CLUE: blames!"], "lost", *LOST_AT_ONCE),
    (["CLUE: responsibility's"], "lost", *LOST_AT_ONCE),
    (["CLUE: ‘responsible’"], "lost", *LOST_AT_ONCE),
    (["CLUE: responsibility’s"], "lost", *LOST_AT_ONCE),
    (["CLUE: x", "GUESS: responsibility .", "CLUE: y", 'GUESS: "responsibility".'], "success", 50.0, 2, 2, 0),
    (["CLUE: x", "GUESS:responsibility"], "success", 100.0, 1, 1, 0),
    (
        [
            "CLUE: x",
            "GUESS: the responsibility",
            "CLUE: y",
            "GUESS: “responsibility”",
            "CLUE: z",
            "GUESS: responsibility…",
        ],
        "lost",
        0.0,
        3,
        3,
        0,
    ),
    (
        [
            "CLUE: x",
            "GUESS: responsibility\nbecause",
            "CLUE: y",
            "GUESS: responsibility, because",
            "CLUE: z",
            "GUESS: GUESS: responsibility",
        ],
        "success",
        100 / 3,
        3,
        3,
        0,
    ),
]


@pytest.mark.parametrize(("replies", "state", "score", "total", "parsed", "violated"), CASES)
def test_published_rules(
    responsibility: Instance,
    replies: list[str],
    state: str,
    score: float | None,
    total: int,
    parsed: int,
    violated: int,
) -> None:
    """Taboo ends as the published game does for these replies."""
    transcript = played(responsibility, *replies)
    assert transcript.outcome is not None
    assert len(transcript.replies) == len(replies)
    assert (transcript.outcome.state, transcript.outcome.score) == (state, score)
    assert transcript.outcome.requests == Requests(total=total, parsed=parsed, violated=violated)


@pytest.mark.parametrize(
    "clue",
    [
        "CLUE: big\nresponsible",
        "CLUE: big\tresponsible",
        "CLUE: self-responsible",
        "CLUE: “responsibility”",
        "CLUE: duty—responsible",
        "CLUE: double  space",
        "CLUE:",
    ],
)
def test_hidden_forbidden_words_pass(responsibility: Instance, clue: str) -> None:
    """These clues pass: only single spaces separate words, and nothing replaces deleted punctuation."""
    transcript = played(responsibility, clue)
    assert [ask.seat for ask in transcript.asks] == ["describer", "guesser"]


def test_related_stop_word() -> None:
    """A related word that is a stop word may be used."""
    assert played(make_instance("none", "no", "never", "nobody"), "CLUE: no means no").outcome is None
    assert played(make_instance("none", "no", "never", "nobody"), "CLUE: never ever").outcome is not None


def test_related_stop_word_of_the_checkout(clembench: Path) -> None:
    """Instance 18 of high_en in the published set has such a word."""
    none = next(i for i in read_instances(clembench, "taboo") if (i.experiment, i.id) == ("high_en", "18"))
    assert none.fields["target_word"] == "none"
    assert played(none, "CLUE: no means no").outcome is None


def test_messages_of_each_seat() -> None:
    """The describer gets guesses; the guesser gets its prompt with the first clue, then clues."""
    asks = played(make_instance("none", "a", "b", "c"), "CLUE: x", "GUESS: y", "CLUE: z").asks
    prompt = Message("user", "describe none without\n- a\n- b\n- c\nin 3")
    assert asks[0].messages == (prompt,)
    assert asks[1].messages == (Message("user", "guess in 3\n\nCLUE: x"),)
    assert asks[2].messages == (prompt, Message("assistant", "CLUE: x"), Message("user", "GUESS: y"))
    assert asks[3].messages == (
        *asks[1].messages,
        Message("assistant", "GUESS: y"),
        Message("user", "CLUE: z"),
    )


def test_endless_word() -> None:
    """A word of a million letters, which takes the stemmer minutes, is skipped at once."""
    assert played(make_instance("none", "a", "b", "c"), "CLUE: " + "ay" * 500_000).outcome is None


def test_missing_field() -> None:
    """The error for a missing field names the field and the instance."""
    broken = make_instance("none", "a", "b", "c")
    fields = {key: value for key, value in broken.fields.items() if key != "max_turns"}
    instance = Instance(game="taboo", set_name="test", experiment="e", id="7", fields=fields, content_hash="")
    with pytest.raises(SpecError, match="taboo, instance 7 of e in test: field 'max_turns' is missing"):
        played(instance)
