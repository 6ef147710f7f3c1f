from __future__ import annotations

from collections.abc import Callable

import pytest

from games.clembench import read_instances
from games.playthrough import Playthrough, replay
from games.privateshared import ASIDE_FORMAT, cohens_kappa, play
from harness.core.errors import SpecError
from harness.core.vocabulary import Ask, Instance, Message, Requests

SLOTS = {"from": "London", "to": "Amsterdam", "by": "Plane", "class": "The cheapest", "when": "On March 3"}
ORDER = ["when", "class", "to", "from", "by"]


def make_instance(**fields: object) -> Instance:
    own = {
        "tag": "TRAVEL-AGENT",
        "slots": SLOTS,
        "initial_prompt": "You travel.",
        "request_order": ORDER,
        "requests": dict.fromkeys(SLOTS, 0),
        "probes": {str(number): dict.fromkeys(SLOTS, number % 2) for number in range(6)},
        "request_sentences": {slot: [f"What about {slot}?"] for slot in SLOTS},
        "probing_questions": {slot: [f"Is {slot} known?", f"Do they know {slot}?"] for slot in SLOTS},
        "suffixes": ["", "Again.", "Please.", "Be exact.", "Think."],
        "probe_template": "ME: {} Say yes or no.",
        "probe_marker": "ME: ",
    }
    return Instance(
        game="privateshared",
        set_name="test",
        experiment="test",
        id="0",
        fields={**own, **fields},
        content_hash="",
    )


@pytest.fixture(params=["literal", "checkout"])
def travel(request: pytest.FixtureRequest) -> Instance:
    if request.param == "literal":
        return make_instance()
    instance = read_instances(request.getfixturevalue("clembench"), "privateshared")[0]
    assert (instance.fields["slots"], instance.fields["request_order"]) == (SLOTS, ORDER)
    return instance


Aside = Callable[[str, int], str]


def answers(value_of: Callable[[str], str], aside: Aside) -> list[str]:
    """Returns every reply of an episode: asides by slot and round, an answer to each request."""
    replies = [aside(slot, 0) for slot in SLOTS]
    for turn, slot in enumerate(ORDER):
        replies += [f"ANSWER: {value_of(slot)}", *(aside(slot, turn + 1) for slot in SLOTS)]
    return replies


def truthful(slot: str, number: int) -> str:
    return "ASIDE: yes" if ORDER.index(slot) < number else "ASIDE: no"


def inverted(slot: str, number: int) -> str:
    return "ASIDE: no" if ORDER.index(slot) < number else "ASIDE: yes"


def always(slot: str, number: int) -> str:
    return "ASIDE: yes"


PERFECT = answers(SLOTS.__getitem__, truthful)


def played(instance: Instance, replies: list[str]) -> Playthrough:
    return replay(play(instance, "v1.6"), replies)


@pytest.mark.parametrize(
    ("replies", "state", "score", "accuracy", "kappa", "filled"),
    [
        (PERFECT, "success", 100.0, 1.0, 1.0, 1.0),
        (answers(SLOTS.__getitem__, always), "lost", 0.0, 0.5, 0.0, 1.0),
        (answers(SLOTS.__getitem__, inverted), "lost", 0.0, 0.0, -1.0, 1.0),
        (answers(lambda slot: "I will not say", truthful), "lost", 0.0, 1.0, 1.0, 0.0),
        (answers(lambda slot: ", ".join(SLOTS.values()), truthful), "lost", 50.0, 20 / 30, 1 / 3, 1.0),
        (answers(lambda slot: SLOTS[slot].upper(), truthful), "success", 100.0, 1.0, 1.0, 1.0),
    ],
    ids=["perfect", "always yes", "inverted", "evasive", "all at once", "capitals"],
)
def test_scores(
    travel: Instance,
    replies: list[str],
    state: str,
    score: float,
    accuracy: float,
    kappa: float,
    filled: float,
) -> None:
    """The score is the harmonic mean of filled slots and kappa; a value revealed early counts as known."""
    outcome = played(travel, replies).outcome
    assert outcome is not None
    assert outcome.state == state
    assert outcome.score == pytest.approx(score)
    assert outcome.metrics["Accuracy"] == pytest.approx(accuracy)
    assert outcome.metrics["Kappa"] == pytest.approx(kappa)
    assert outcome.metrics["Truncated Kappa"] == max(0.0, outcome.metrics["Kappa"])
    assert outcome.metrics["Slot-Filling-Accuracy"] == filled
    assert outcome.requests == Requests(total=35, parsed=35)


def test_retries(travel: Instance) -> None:
    """The game asks four times more for an aside."""
    replies = [
        each
        for reply in PERFECT
        for each in ([*["yes"] * 4, reply] if reply.startswith("ASIDE") else [reply])
    ]
    outcome = played(travel, replies).outcome
    assert outcome is not None
    assert outcome.score == 100.0
    assert outcome.requests == Requests(total=155, parsed=35, violated=120)


@pytest.mark.parametrize(
    ("replies", "total", "parsed", "violated"),
    [
        (["maybe"] * 5, 5, 0, 5),
        ([*PERFECT[:5], "ANSWER: NA"], 6, 5, 1),
        ([*PERFECT[:5], "ANSWER: a\nb"], 6, 5, 1),
        ([*PERFECT[:5], "Answer: a"], 6, 5, 1),
        ([*PERFECT[:5], ""], 6, 5, 1),
    ],
)
def test_aborts(travel: Instance, replies: list[str], total: int, parsed: int, violated: int) -> None:
    """Five invalid asides or one invalid answer abort the episode; NA is an invalid answer."""
    outcome = played(travel, replies).outcome
    assert outcome is not None
    assert (outcome.state, outcome.score) == ("aborted", None)
    assert outcome.requests == Requests(total=total, parsed=parsed, violated=violated)


def test_line_end_after_an_answer(travel: Instance) -> None:
    """A line end after the answer is valid."""
    assert played(travel, [*PERFECT[:5], "ANSWER: a\n"]).outcome is None


@pytest.mark.parametrize(
    ("aside", "meant"),
    [
        ("ASIDE: Nothing is known", "no"),
        ("ASIDE: Not yet", "no"),
        ("ASIDE:no", "no"),
        ("ASIDE: ASIDE: yes", "yes"),
        ("ASIDE: Yes, they do", "yes"),
        ("ASIDE: I said no", "invalid"),
        ("yes", "invalid"),
        ("ASIDE: yes\nindeed", "invalid"),
        ("ASIDE:", "invalid"),
    ],
)
def test_asides(travel: Instance, aside: str, meant: str) -> None:
    """The first word of an aside decides its meaning."""
    transcript = played(travel, [aside])
    violated = transcript.asks[1].last_parse.violation is not None
    assert violated is (meant == "invalid")
    if not violated:
        outcome = played(travel, [aside, *PERFECT[1:]]).outcome
        assert outcome is not None
        assert (outcome.score == 100.0) is (meant == "no")


def test_messages_of_the_answerer() -> None:
    """Asides do not enter the history; the first try of a question has two spaces, others a suffix."""
    asks = played(make_instance(), ["hm", *PERFECT]).asks
    opening = (Message("user", "You travel."), Message("assistant", "Ok."))
    assert asks[0].messages == (*opening, Message("user", "ME:  Is from known? Say yes or no."))
    assert asks[1].messages == (*opening, Message("user", "ME: Again. Is from known? Say yes or no."))
    assert asks[6].messages == (*opening, Message("user", "TRAVEL-AGENT: What about when?"))
    given = (Message("user", "TRAVEL-AGENT: What about when?"), Message("assistant", "ANSWER: On March 3"))
    assert asks[7].messages == (*opening, *given, Message("user", "ME:  Do they know from? Say yes or no."))


def test_messages_of_the_answerer_in_the_checkout(travel: Instance) -> None:
    """A request has its tag and no request for brevity."""
    asks: tuple[Ask, ...] = played(travel, PERFECT).asks
    request = next(ask for ask in asks if ask.reply_format != ASIDE_FORMAT)
    sentences = travel.fields["request_sentences"]
    assert isinstance(sentences, dict)
    assert request.messages[-1].text.removeprefix("TRAVEL-AGENT: ") in sentences["when"]
    assert asks[0].messages[-1].text.startswith("ME:  ")


def test_kappa() -> None:
    """Kappa equals the value computed by hand."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("request_order", ORDER[:4], "'request_order' does not name every slot once"),
        ("requests", dict.fromkeys(SLOTS, 4), "'requests.when' is 4, but there are 1 texts"),
        ("probes", {}, "'probes.0' is missing"),
        ("suffixes", None, "'suffixes' is not a list of texts"),
    ],
)
def test_refused_instances(field: str, value: object, complaint: str) -> None:
    """An instance that cannot be played is refused, with its name in the message."""
    with pytest.raises(SpecError, match=complaint):
        played(make_instance(**{field: value}), [])
