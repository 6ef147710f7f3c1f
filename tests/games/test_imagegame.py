from __future__ import annotations

import pytest

from games.clembench import read_instances
from games.grids import EMPTY
from games.imagegame import play, score_drawing
from games.playthrough import Playthrough, replay
from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, Message, Requests

TARGET = f"""{EMPTY} {EMPTY} {EMPTY} {EMPTY} B
{EMPTY} {EMPTY} {EMPTY} B {EMPTY}
{EMPTY} {EMPTY} B {EMPTY} {EMPTY}
{EMPTY} B {EMPTY} {EMPTY} {EMPTY}
B B B B B
"""
T = TARGET.strip()
BLANK = "\n".join([" ".join(EMPTY * 5)] * 5)
DONE = "Instruction: DONE"
SAY = "Instruction: foo"


def make_instance(**fields: object) -> Instance:
    own = {
        "player_1_prompt_header": "describe",
        "player_1_question": "next?",
        "player_2_prompt_header": "draw",
        "grid_dimension": 5,
        "target_grid": TARGET,
    }
    return Instance(
        game="imagegame",
        set_name="test",
        experiment="test",
        id="0",
        fields={**own, **fields},
        content_hash="",
    )


@pytest.fixture(params=["literal", "checkout"])
def instance(request: pytest.FixtureRequest) -> Instance:
    if request.param == "literal":
        return make_instance()
    instance = read_instances(request.getfixturevalue("clembench"), "imagegame")[0]
    assert instance.fields["target_grid"] == TARGET
    return instance


def played(instance: Instance, *replies: str) -> Playthrough:
    return replay(play(instance, "v1.6"), replies)


CASES = [
    ([SAY, T, DONE], "success", 100.0, 2, 2, 0),
    ([DONE], "unscored", None, 0, 0, 0),
    ([SAY, T, " instruction :  done "], "success", 100.0, 2, 2, 0),
    ([SAY, T, "Instruction: DONE.", T, DONE], "success", 100.0, 4, 4, 0),
    ([SAY, T, "DONE"], "aborted", None, 3, 2, 1),
    (["Instruction:foo"], "aborted", None, 1, 0, 1),
    (["Instruction: foo\nbar"], "aborted", None, 1, 0, 1),
    (["instruction: foo", T, DONE], "success", 100.0, 2, 2, 0),
    ([SAY, f"Here: {T}"], "aborted", None, 2, 1, 1),
    ([SAY, f"{T}\nThat is it"], "aborted", None, 2, 1, 1),
    ([SAY, f"```\n{T}\n```"], "aborted", None, 2, 1, 1),
    ([SAY, T.lower()], "aborted", None, 2, 1, 1),
    ([SAY, T.replace("\n", " \n", 1)], "aborted", None, 2, 1, 1),
    ([SAY, T.replace(EMPTY, "□")], "aborted", None, 2, 1, 1),
    ([SAY, f"\n\n{T}\n\n", DONE], "success", 100.0, 2, 2, 0),
    ([SAY, T, SAY, BLANK, DONE], "success", 100.0, 4, 4, 0),
    ([SAY, BLANK, DONE], "lost", 0.0, 2, 2, 0),
    ([SAY, T] * 25, "success", 100.0, 50, 50, 0),
    ([*[SAY, T] * 24, SAY, T.replace("B B B B B", f"B B B B {EMPTY}")], "lost", 94.0, 50, 50, 0),
    ([SAY, T.replace(" ", "\t"), DONE], "lost", 0.0, 2, 2, 0),
    ([SAY, T, SAY, T.replace(" ", "\t"), DONE], "lost", 0.0, 4, 4, 0),
    ([SAY, T, SAY, T.replace(" B ", " B\t"), DONE], "success", 100.0, 4, 4, 0),
    ([SAY, T, SAY, T.replace(" ", "\n")], "lost", 0.0, 4, 4, 0),
]


@pytest.mark.parametrize(("replies", "state", "score", "total", "parsed", "violated"), CASES)
def test_published_rules(
    instance: Instance,
    replies: list[str],
    state: str,
    score: float | None,
    total: int,
    parsed: int,
    violated: int,
) -> None:
    """The image game ends as the published one does for these replies."""
    outcome = played(instance, *replies, DONE).outcome
    assert outcome is not None
    assert (outcome.state, outcome.score) == (state, score)
    assert outcome.requests == Requests(total=total, parsed=parsed, violated=violated)


THIRTEEN = "\n".join(["B B B B B", "B B B B B", f"B B B {EMPTY} {EMPTY}", *[" ".join(EMPTY * 5)] * 2])


@pytest.mark.parametrize(
    ("drawing", "figures"),
    [
        ("\n".join([f"B B B B {EMPTY}", *[" ".join(EMPTY * 5)] * 4]), (100.0, 31.0, 47.0)),
        ("\n".join(["B B B B B"] * 5), (52.0, 100.0, 68.0)),
        (BLANK, None),
        ("\n".join(["C C C C C"] * 5), (0.0, 0.0, 0.0)),
    ],
)
def test_score_drawing(drawing: str, figures: tuple[float, float, float] | None) -> None:
    """The scores are rounded as published, F1 from rounded parts; an empty drawing has none."""
    assert score_drawing(THIRTEEN, drawing) == figures


def test_target_between_blank_lines() -> None:
    """A target may have line ends around it, as some published targets have."""
    outcome = played(make_instance(target_grid=f"\n{TARGET}"), SAY, T, DONE).outcome
    assert outcome is not None
    assert outcome.score == 100.0


def test_messages_of_each_seat() -> None:
    """The describer gets the target and the question, the drawer gets the instructions only."""
    asks = played(make_instance(), SAY, T, "Instruction: bar").asks
    opening = Message("user", f"describe\n{TARGET}\nnext?\n")
    assert asks[0].messages == (opening,)
    assert asks[1].messages == (Message("user", f"draw\n{SAY}"),)
    assert asks[2].messages == (opening, Message("assistant", SAY), Message("user", "next?"))
    assert asks[3].messages == (
        *asks[1].messages,
        Message("assistant", T),
        Message("user", "Instruction: bar"),
    )


def test_averages() -> None:
    """The averages are over complete rounds; before the first round the grid is empty."""
    outcome = played(make_instance(), SAY, T, "Instruction: a b c", BLANK, DONE).outcome
    assert outcome is not None
    assert outcome.metrics["Average Changed Cell Count"] == 9.0
    assert outcome.metrics["Average Generated Instruction Length"] == 5.0
    assert outcome.metrics["Average Generated Expression Number of Tokens"] == 3.0


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        (
            "player_1_response_pattern",
            "^(a+)+$",
            "'player_1_response_pattern' is not the published v1.6 pattern",
        ),
        ("grid_dimension", 4, "'grid_dimension' is not 5"),
    ],
)
def test_refused_instances(field: str, value: object, complaint: str) -> None:
    """Patterns other than the published ones are refused and never run."""
    with pytest.raises(SpecError, match=complaint):
        played(make_instance(**{field: value}))
