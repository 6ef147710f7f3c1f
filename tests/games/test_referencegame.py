from __future__ import annotations

import pytest

from games.clembench import read_instances
from games.playthrough import Playthrough, replay
from games.referencegame import play
from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, Message, Requests


def make_instance(**fields: object) -> Instance:
    own = {
        "player_1_prompt_header": "describe $1$ not $2$ or $3$",
        "player_1_target_grid": "a",
        "player_1_second_grid": "b",
        "player_1_third_grid": "c",
        "player_2_prompt_header": "$1$ $2$ $3$: TARGET_EXPRESSION, TARGET_EXPRESSION?",
        "player_2_first_grid": "a",
        "player_2_second_grid": "b",
        "player_2_third_grid": "c",
        "target_grid_name": ["first", "1st", "1"],
    }
    return Instance(
        game="referencegame",
        set_name="test",
        experiment="test",
        id="0",
        fields={**own, **fields},
        content_hash="",
    )


@pytest.fixture(params=["literal", "checkout"])
def first(request: pytest.FixtureRequest) -> Instance:
    """Returns an instance whose target is the selector's first grid."""
    return (
        make_instance()
        if request.param == "literal"
        else read_instances(request.getfixturevalue("clembench"), "referencegame")[0]
    )


def played(instance: Instance, *replies: str) -> Playthrough:
    return replay(play(instance, "v1.6"), replies)


@pytest.mark.parametrize(
    "answer",
    [
        "Answer: first",
        "ANSWER: FIRST",
        "answer:\n1",
        "Answer: 1st",
        "Answer: first.",
        "Answer: first grid",
        "Answer: firstly",
        "Answer: 12",
        "Answer: first\n\nBecause",
        "Answer: first\nfoo",
    ],
)
def test_right_answers(first: Instance, answer: str) -> None:
    """Text after the place is ignored, as in the published scorer."""
    outcome = played(first, "Expression: foo", answer).outcome
    assert outcome is not None
    assert (outcome.state, outcome.score, outcome.metrics["Lose"]) == ("success", 100.0, 0.0)
    assert outcome.requests == Requests(total=2, parsed=2)


def test_wrong_answer(first: Instance) -> None:
    """The wrong place loses."""
    outcome = played(first, "Expression: foo", "Answer: second").outcome
    assert outcome is not None
    assert (outcome.state, outcome.score, outcome.metrics["Lose"]) == ("lost", 0.0, 1.0)


@pytest.mark.parametrize("answer", ["Answer: the first", "first", "Answer:first", "Answer:  first", ""])
def test_aborts_at_the_selector(first: Instance, answer: str) -> None:
    """An answer must start with the tag, one white space and the place; an abort has Lose = 1."""
    outcome = played(first, "Expression: foo", answer).outcome
    assert outcome is not None
    assert (outcome.state, outcome.score, outcome.metrics["Lose"]) == ("aborted", None, 1.0)
    assert outcome.metrics["Aborted at Player 2"] == 1.0
    assert outcome.requests == Requests(total=2, parsed=1, violated=1)


@pytest.mark.parametrize(
    "expression",
    [
        "Expression: foo\nbar",
        "Expression: foo\n\nbar",
        "Expression: foo\n ",
        "Expression: \nfoo",
        "Expression:foo",
        "Sure! Expression: foo",
        "foo",
        "Expression:",
    ],
)
def test_aborts_at_the_describer(first: Instance, expression: str) -> None:
    """An expression other than the tag, one white space and one line aborts before the selector is asked."""
    transcript = played(first, expression)
    assert transcript.outcome is not None
    assert (transcript.outcome.state, transcript.outcome.metrics["Aborted at Player 1"]) == ("aborted", 1.0)
    assert transcript.outcome.requests == Requests(total=1, parsed=0, violated=1)


@pytest.mark.parametrize(
    "expression", ["Expression:\nfoo", "Expression: foo\n\n", "EXPRESSION:  foo", "expression:\tfoo"]
)
def test_accepted_expressions(first: Instance, expression: str) -> None:
    """A line end is valid as the white space after the tag, and after the line."""
    assert [ask.seat for ask in played(first, expression).asks] == ["describer", "selector"]


def test_messages_of_the_selector() -> None:
    """The whole reply, tag included, replaces the prompt's placeholder."""
    asks = played(make_instance(), "expression: foo").asks
    assert asks[0].messages == (Message("user", "describe a not b or c"),)
    assert asks[1].messages == (Message("user", "a b c: expression: foo, expression: foo?"),)


def test_lengths() -> None:
    """The length of an expression is that of the text after the tag."""
    outcome = played(make_instance(), "Expression: foo bar", "Answer: third").outcome
    assert outcome is not None
    assert outcome.metrics["Generated Expression Length"] == 7.0
    assert outcome.metrics["Generated Expression Number of Tokens"] == 2.0


def test_refused_patterns() -> None:
    """Patterns other than the published ones are refused and never run."""
    with pytest.raises(SpecError, match="'player_2_response_pattern' is not the published"):
        played(make_instance(player_2_response_pattern="^answer:(?P<content>.*)*$"))
