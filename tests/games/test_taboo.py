from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from games.clembench import read_instances
from games.playthrough import Playthrough, replay
from games.taboo import play, stem
from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, Message, Requests


def puzzle(target: str, *related: str) -> Instance:
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
        return puzzle("responsibility", "blame", "obligation", "reliability")
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
    """Taboo ends as the published game does for these replies, its traps included."""
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
def test_what_hides_a_forbidden_word(responsibility: Instance, clue: str) -> None:
    """Only single spaces separate words, and punctuation is deleted rather than replaced, so these clues pass."""
    transcript = played(responsibility, clue)
    assert [ask.seat for ask in transcript.asks] == ["describer", "guesser"]


def test_related_stop_word() -> None:
    """A related word that is a stop word cannot be violated."""
    assert played(puzzle("none", "no", "never", "nobody"), "CLUE: no means no").outcome is None
    assert played(puzzle("none", "no", "never", "nobody"), "CLUE: never ever").outcome is not None


def test_related_stop_word_of_the_checkout(clembench: Path) -> None:
    """The published set holds such a word: instance 18 of high_en."""
    none = next(i for i in read_instances(clembench, "taboo") if (i.experiment, i.id) == ("high_en", "18"))
    assert none.fields["target_word"] == "none"
    assert played(none, "CLUE: no means no").outcome is None


def test_what_each_seat_hears() -> None:
    """The describer hears guesses, the guesser its prompt and the first clue in one message, then clues, tags and all."""
    asks = played(puzzle("none", "a", "b", "c"), "CLUE: x", "GUESS: y", "CLUE: z").asks
    prompt = Message("user", "describe none without\n- a\n- b\n- c\nin 3")
    assert asks[0].messages == (prompt,)
    assert asks[1].messages == (Message("user", "guess in 3\n\nCLUE: x"),)
    assert asks[2].messages == (prompt, Message("assistant", "CLUE: x"), Message("user", "GUESS: y"))
    assert asks[3].messages == (
        *asks[1].messages,
        Message("assistant", "GUESS: y"),
        Message("user", "CLUE: z"),
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("international", "intern"),
        ("organization", "organ"),
        ("universal", "univers"),
        ("added", "ad"),
        ("responsible", "respons"),
    ],
)
def test_stemmer(word: str, expected: str) -> None:
    """Stems are those of nltk's Snowball stemmer, from which newer ones of the same name differ."""
    assert stem(word) == expected


STEMMING = """
import sys
from games.taboo import stem
class Once:
    def find_spec(self, name, path=None, target=None):
        if name == REFUSED:
            sys.meta_path.remove(self)
            raise ImportError(name)
sys.meta_path.insert(0, Once())
assert stem("running") == "run"
assert REFUSED or not {"numpy", "scipy"} & set(sys.modules)
from nltk.metrics import BigramAssocMeasures
print(BigramAssocMeasures.fisher(20, (42, 20), 14307668))
"""


@pytest.mark.parametrize("refused", ["", "nltk.stem.porter"])
def test_stemming_leaves_others_their_nltk(refused: str) -> None:
    """It loads neither scipy nor numpy, and whoever imports nltk after it has what needs them; an nltk that cannot be loaded in part is
    loaded whole."""
    ended = subprocess.run(
        [sys.executable, "-c", f"REFUSED = {refused!r}\n{STEMMING}"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert 0.0 <= float(ended.stdout) <= 1.0


def test_endless_word() -> None:
    """A word of a million letters on which the stemmer would spend minutes is passed over at once."""
    assert played(puzzle("none", "a", "b", "c"), "CLUE: " + "ay" * 500_000).outcome is None


def test_missing_field() -> None:
    """A missing field is an error that names it and the instance."""
    broken = puzzle("none", "a", "b", "c")
    fields = {key: value for key, value in broken.fields.items() if key != "max_turns"}
    instance = Instance(game="taboo", set_name="test", experiment="e", id="7", fields=fields, content_hash="")
    with pytest.raises(SpecError, match="taboo, instance 7 of e in test: field 'max_turns' is missing"):
        played(instance)
