from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from games.clembench import read_instances
from games.playthrough import Playthrough, replay
from games.wordle import REPROMPTS, feedback, play
from harness.core.errors import SpecError
from harness.core.vocabulary import KEPT, Instance, Message, Requests

WORDS = ["start", "crane", "shirt", "burst", "smart", "stark", "stair", "stand"]
OK = "\nexplanation: x"


def make_instance(game: str, **fields: object) -> Instance:
    shared: Mapping[str, object] = {
        "english_words": WORDS,
        "use_clue": game != "wordle",
        "use_critic": game == "wordle_withcritic",
        "system_definition": "You guess.",
        "guesser_prompt": [{"role": "user", "content": " Guess!\n"}],
        "guesser_critic_prompt": [{"role": "user", "content": "Criticise!\n"}]
        if game == "wordle_withcritic"
        else [],
        "target_word": "start",
        "target_word_clue": "embark",
    }
    return Instance(
        game=game, set_name="test", experiment="test", id="1", fields={**shared, **fields}, content_hash=""
    )


MakeInstance = Callable[[str], Instance]


@pytest.fixture(params=["literal", "checkout"])
def start(request: pytest.FixtureRequest) -> MakeInstance:
    """Returns a function that makes the instance with the target "start" of each variant."""
    if request.param == "literal":
        return make_instance
    checkout = request.getfixturevalue("clembench")
    return lambda game: read_instances(checkout, game)[0]


def played(instance: Instance, *replies: str, rules: str = "v1.6") -> Playthrough:
    return replay(play(instance, rules), replies)


def guesses(words: str) -> list[str]:
    return [f"guess: {word}{OK}" for word in words.split()]


RIGHT = f"guess: start{OK}"
MALFORMED = "Guess: start"
SHORT = f"guess: cat{OK}"
UNKNOWN = f"guess: qqqqq{OK}"

CASES = [
    ([RIGHT], "success", 100.0, 1, 1, 0),
    (guesses("crane shirt start"), "success", 100.0, 3, 3, 0),
    (guesses("crane shirt burst start"), "success", 50.0, 4, 4, 0),
    (guesses("crane shirt burst smart start"), "success", 30.0, 5, 5, 0),
    (guesses("crane shirt burst smart stark start"), "success", 20.0, 6, 6, 0),
    (guesses("crane shirt burst smart stark stair"), "lost", 0.0, 6, 6, 0),
    (["guess: START\nexplanation: x", RIGHT], "success", 100.0, 2, 2, 0),
    ([MALFORMED] * 3, "aborted", None, 3, 0, 3),
    ([MALFORMED, MALFORMED, RIGHT], "success", 100.0, 3, 1, 2),
    ([UNKNOWN] * 6, "aborted", None, 6, 6, 0),
    ([*[UNKNOWN] * 5, RIGHT], "success", 100.0, 6, 6, 0),
    ([*[UNKNOWN] * 5, SHORT, UNKNOWN], "aborted", None, 7, 6, 1),
    ([SHORT, SHORT, UNKNOWN, SHORT, SHORT, RIGHT], "success", 100.0, 6, 2, 4),
    ([SHORT, SHORT, UNKNOWN, SHORT, SHORT, SHORT], "aborted", None, 6, 1, 5),
    (["Sure! my guess: start\nexplanation: foo\nbar"], "success", 100.0, 1, 1, 0),
    (['guess: "start"', RIGHT], "success", 100.0, 2, 1, 1),
    (["guess: start.", RIGHT], "success", 100.0, 2, 1, 1),
    (["guess:\nstart", RIGHT], "success", 100.0, 2, 1, 1),
    (["**guess:** start"] * 3, "aborted", None, 3, 0, 3),
    (["guess : start"] * 3, "aborted", None, 3, 0, 3),
    (["explanation: my first guess: was bad\nguess: start"] * 3, "aborted", None, 3, 0, 3),
    (["guess: crane\nguess: start", *guesses("shirt burst start")], "success", 50.0, 4, 4, 0),
]


@pytest.mark.parametrize(("replies", "state", "score", "total", "parsed", "violated"), CASES)
def test_published_rules(
    start: MakeInstance,
    replies: list[str],
    state: str,
    score: float | None,
    total: int,
    parsed: int,
    violated: int,
) -> None:
    """Wordle ends as the published game does for these replies, counters included."""
    transcript = played(start("wordle"), *replies)
    assert transcript.outcome is not None
    assert len(transcript.replies) == len(replies)
    assert (transcript.outcome.state, transcript.outcome.score) == (state, score)
    assert transcript.outcome.requests == Requests(total=total, parsed=parsed, violated=violated)


def test_guess_in_the_history(start: MakeInstance) -> None:
    """The guesser's history has the parsed parts of its reply, never the reply."""
    transcript = played(start("wordle"), "well, guess: crane", RIGHT)
    assert transcript.asks[1].messages[1] == Message("assistant", "guess:crane\nexplanation:INVALID_FORMAT\n")
    assert transcript.asks[1].messages[2].text.startswith("guess_feedback: c<red> r<")
    assert transcript.outcome is not None
    assert transcript.outcome.score == 100.0


COLOURS = {"G": "green", "Y": "yellow", "-": "red"}


@pytest.mark.parametrize(
    ("target", "guess", "colours"),
    [
        ("start", "shirt", "G--GY"),
        ("start", "burst", "--YYY"),
        ("abbey", "kebab", "-YYY-"),
        ("geese", "eerie", "-G--Y"),
        ("spree", "cheer", "---GY"),
        ("photo", "roops", "--GY-"),
        ("start", "start", "GGGGG"),
    ],
)
def test_feedback(target: str, guess: str, colours: str) -> None:
    """Letters that occur twice get the colours of the published game, right or wrong."""
    assert feedback(target, guess) == tuple(COLOURS[colour] for colour in colours)


@pytest.mark.parametrize(
    ("words", "score"),
    [("crane shirt start", 33.33), ("crane shirt burst smart stark start", 16.67), ("start", 100.0)],
)
def test_clue_variant(start: MakeInstance, words: str, score: float) -> None:
    """With a clue the score is 100 over the attempts, and the clue ends the first message."""
    transcript = played(start("wordle_withclue"), *guesses(words))
    assert transcript.outcome is not None
    assert transcript.outcome.score == score
    assert transcript.asks[0].messages[0].text.endswith("clue:embark\n")


NO, YES = f"agreement: no{OK}", f"agreement: yes{OK}"
CRANE = f"guess: crane{OK}"
VAGUE = f"agreement: yes.{OK}"

CRITIC_CASES = [
    ("v1.6", [RIGHT, NO, RIGHT], "success", 100.0, 3, 3, 0),
    ("v1.6", [RIGHT, NO, CRANE, RIGHT, NO, RIGHT], "success", 50.0, 6, 6, 0),
    ("v1.6", [RIGHT, *[VAGUE] * 5, YES, RIGHT], "success", 100.0, 8, 3, 5),
    ("v1.6b", [RIGHT, *[VAGUE] * 3], "aborted", None, 4, 1, 3),
    ("v1.6b", [RIGHT, VAGUE, VAGUE, YES, CRANE, CRANE, VAGUE, VAGUE, NO, RIGHT], "success", 50.0, 10, 6, 4),
    ("v1.6b", [RIGHT, "agreement: YES", RIGHT], "success", 100.0, 3, 3, 0),
    ("v1.6b", [RIGHT, "agreement: yes", RIGHT], "success", 100.0, 3, 3, 0),
    ("v1.6b", [RIGHT, "I agree", YES, RIGHT], "success", 100.0, 4, 3, 1),
    ("v1.6", [CRANE, YES, f"guess: toolong{OK}", RIGHT], "success", 100.0, 4, 3, 1),
]


@pytest.mark.parametrize(("rules", "replies", "state", "score", "total", "parsed", "violated"), CRITIC_CASES)
def test_critic_variant(
    start: MakeInstance,
    rules: str,
    replies: list[str],
    state: str,
    score: float | None,
    total: int,
    parsed: int,
    violated: int,
) -> None:
    """Only the guess after the critic's opinion counts; v1.6b alone limits the invalid opinions."""
    transcript = played(start("wordle_withcritic"), *replies, rules=rules)
    assert transcript.outcome is not None
    assert len(transcript.replies) == len(replies)
    assert (transcript.outcome.state, transcript.outcome.score) == (state, score)
    assert transcript.outcome.requests == Requests(total=total, parsed=parsed, violated=violated)


def test_messages_of_the_critic(start: MakeInstance) -> None:
    """The critic's second ask is one user message with both proposals and without its own replies."""
    instance = start("wordle_withcritic")
    asks = played(instance, CRANE, YES, CRANE, RIGHT).asks
    first, second = asks[1].messages, asks[4].messages
    block = "clue:embark\nguess:crane\nexplanation:x\n"
    assert [message.role for message in second] == ["user"]
    assert first[0].text.endswith(block)
    again = "clue:embark\nguess:start\nexplanation:x\nguess_feedback: c<red> r<yellow> a<green> n<red> e<red>"
    assert second[0].text == f"{first[0].text}\n\n\n\n{again}"


def test_opinions_in_the_messages_of_the_guesser() -> None:
    """The guesser gets clue and opinion after a proposal, and the feedback after the guess that counts."""
    asks = played(make_instance("wordle_withcritic"), CRANE, "agreement: No", CRANE, RIGHT).asks
    assert asks[2].messages[-1] == Message(
        "user", "clue:embark\nguess_agreement:No\nagreement_explanation:INVALID_FORMAT\n"
    )
    assert asks[3].messages[-1] == Message("user", "guess_feedback: c<red> r<yellow> a<green> n<red> e<red>")


def test_reprompts() -> None:
    """Each error has its own message; with a critic, the reply before it starts with the clue."""
    replies = {
        "format": "no tag",
        "letters": "guess: st4rt",
        "length": "guess: cat",
        "unknown": "guess: qqqqq",
    }
    for kind, reply in replies.items():
        asks = played(make_instance("wordle_withclue"), reply).asks
        assert asks[1].messages[-1].text == REPROMPTS[kind]
        assert asks[1].messages[1].text.startswith("guess:")
        assert (asks[1].last_parse == KEPT) is (kind == "unknown")
    critic = played(make_instance("wordle_withcritic"), "guess: cat", CRANE, "hm").asks
    assert critic[1].messages[1].text == "clue:embark\nguess:cat\nexplanation:INVALID_FORMAT\n"
    assert critic[3].messages[-2:] == (
        Message("assistant", "agreement:INVALID_FORMAT\nexplanation:INVALID_FORMAT\n"),
        Message("user", REPROMPTS["critic"]),
    )


def test_own_reprompts() -> None:
    """An instance may replace the messages of some or all errors."""
    asks = played(make_instance("wordle", reprompts={"length": "five, please"}), "guess: cat", "nothing").asks
    assert asks[1].messages[-1].text == "five, please"
    assert asks[2].messages[-1].text == REPROMPTS["format"]


def test_sub_scores() -> None:
    """Each attempt has a closeness and a strategy score; repetitions and reactions are counted."""
    outcome = played(make_instance("wordle"), *guesses("crane crane start")).outcome
    assert outcome is not None
    assert outcome.metrics["repeats guess"] == 1.0
    assert outcome.metrics["total guess repetitions"] == 1.0
    assert [outcome.metrics[f"closeness score {number}"] for number in (1, 2, 3)] == [8.0, 8.0, 25.0]
    # crane against start: three red letters, a yellow r, a green a; then start reuses r and a.
    assert [outcome.metrics[f"strategy score {number}"] for number in (1, 2, 3)] == [0.0, -30.0, 30.0]

    outcome = played(
        make_instance("wordle_withcritic"), CRANE, NO, CRANE, CRANE, YES, CRANE, CRANE, YES, RIGHT
    ).outcome
    assert outcome is not None
    assert outcome.metrics["Repetition-Guesser-On-Critic-Agreement"] == 0.5
    assert outcome.metrics["Non-Repetition-Guesser-On-Critic-Agreement"] == 0.5
    assert outcome.metrics["Repetition-Guesser-On-Critic-Disagreement"] == 1.0
    assert outcome.metrics["change_of_opinion 3"] == 1.0


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("target_word_clue", " ", "field 'target_word_clue' is empty"),
        ("common_config", {"max_attempts_per_game": 8}, "field 'common_config.max_attempts_per_game' is 8"),
        ("guesser_prompt", "a text", "field 'guesser_prompt' is not a list of one message"),
        ("english_words", 3, "field 'english_words' is not a list of texts"),
    ],
)
def test_refused_instances(field: str, value: object, complaint: str) -> None:
    """An instance that v1.6 cannot play is refused, with its name in the message."""
    with pytest.raises(SpecError, match=complaint):
        played(make_instance("wordle_withclue", **{field: value}))
