"""Private and shared: a seat reveals facts when asked; between the requests it says which facts it has
revealed.

The rules are those published with clembench v1.6. A comment marks each line that keeps an oddity of them. The
answerer is the only player; the game itself asks the questions. An aside (the reply to a question about what
is revealed) is asked for again up to four times, an answer to a request never."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from games.fields import Fields
from games.instances import own_set
from games.rulesets import RULE_SETS, TOKENS_MAX
from harness.core.protocols import Game
from harness.core.vocabulary import KEPT, Ask, Instance, Message, Outcome, Parse, Play, ReplyFormat, Requests

ANSWERER = "answerer"

# ── instance ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivatesharedItem:
    """The facts to reveal, in the order of the requests, and the questions about them.

    values    slot -> its value
    requests  (slot, sentence) in order
    rounds    the questions before the first answer, after it, and so on, each round as (slot, question) in
              order
    suffixes  the text added to a question at each try; their number is the number of tries
    template  the text around a question, which stands in place of {}
    marker    the part of the template that the suffix follows"""

    prompt: str
    tag: str
    values: Mapping[str, str]
    requests: tuple[tuple[str, str], ...]
    rounds: tuple[tuple[tuple[str, str], ...], ...]
    suffixes: tuple[str, ...]
    template: str
    marker: str

    @classmethod
    def read(cls, instance: Instance) -> PrivatesharedItem:
        fields = Fields(instance)
        slots = fields.within("slots")
        order = fields.texts("request_order")
        if not order or sorted(order) != sorted(slots):
            raise fields.wrong("request_order", "does not name every slot once")
        sentences, questions = fields.within("request_sentences"), fields.within("probing_questions")
        chosen, probes = fields.within("requests"), fields.within("probes")
        return cls(
            prompt=fields.text("initial_prompt"),
            tag=fields.text("tag"),
            values={slot: slots.text(slot) for slot in order},
            requests=tuple((slot, _chosen(sentences, slot, chosen)) for slot in order),
            rounds=tuple(_round(questions, probes, str(number), order) for number in range(len(order) + 1)),
            suffixes=fields.texts("suffixes"),
            template=fields.text("probe_template"),
            marker=fields.text("probe_marker"),
        )

    def question(self, question: str, attempt: int) -> str:
        """Returns the text of a question for this try.

        At the first try the empty suffix leaves two spaces after the marker, as in the published game."""
        asked = self.template.replace("{}", question)
        return asked.replace(self.marker, f"{self.marker}{self.suffixes[attempt]} ")


def _round(
    questions: Fields, probes: Fields, number: str, order: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Returns one question for each slot, in the order of the file."""
    chosen = probes.within(number)
    if sorted(chosen) != sorted(order):
        raise probes.wrong(number, "does not name every slot once")
    return tuple((slot, _chosen(questions, slot, chosen)) for slot in chosen)


def _chosen(texts: Fields, slot: str, chosen: Fields) -> str:
    listed, index = texts.texts(slot), chosen.number(slot)
    if not 0 <= index < len(listed):
        raise chosen.wrong(slot, f"is {index}, but there are {len(listed)} texts to choose from")
    return listed[index]


# ── reply formats ───────────────────────────────────────────────────────────────────────────────────────────

ANSWER_FORMAT = ReplyFormat(
    # Any line but NA, which the rules do not accept; without colons, so that no second tag can stand in it.
    regex="ANSWER: ([!-9;-MO-~][ -9;-~]{0,79}|N|N[ -9;-@B-~][ -9;-~]{0,78}|NA[ -9;-~]{0,77}[!-9;-~])",
    tokens_max=TOKENS_MAX,
)
ASIDE_FORMAT = ReplyFormat(regex="ASIDE: (yes|no)", tokens_max=TOKENS_MAX)

INVALID = "NA"
"""The published game's mark for an invalid answer; a player who answers just this has broken the format."""


def is_answer(reply: str) -> bool:
    return (
        reply.startswith("ANSWER:") and is_one_line(reply) and reply.replace("ANSWER:", "").strip() != INVALID
    )


def read_aside(reply: str) -> bool | None:
    """Reads how the aside begins: True for yes, False for no ("Nothing is known" too), else None."""
    if not reply.startswith("ASIDE:") or not is_one_line(reply):
        return None
    content = reply.replace("ASIDE:", "").strip().lower()
    if content.startswith("yes"):
        return True
    return False if content.startswith("no") else None


def is_one_line(reply: str) -> bool:
    return "\n" not in reply.strip("\n")


# ── play ────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """Plays a round of asides, then for each slot a request, its answer and another round of asides.

    Both rule sets are the same here."""
    item = PrivatesharedItem.read(instance)
    history = [Message("user", item.prompt), Message("assistant", "Ok.")]
    # A slot counts as revealed from the turn of its request on, even if the answer was evasive.
    revealed = {slot: turn for turn, (slot, _) in enumerate(item.requests)}
    scores = PrivatesharedScores()

    try:
        yield from ask_asides(item, 0, history, revealed, scores)
        for turn, (slot, sentence) in enumerate(item.requests):
            history.append(Message("user", f"{item.tag}: {sentence}"))
            answer = yield Ask(
                seat=ANSWERER, messages=tuple(history), reply_format=ANSWER_FORMAT, last_parse=scores.parse
            )
            if not is_answer(answer):
                scores.record_parse("answer is not one line that starts with ANSWER:, or is NA")
                raise PrivatesharedViolation("invalid answer to a request")
            scores.record_parse(None)
            history.append(Message("assistant", answer))
            text = answer.lower()
            named = {other for other, value in item.values.items() if value.lower() in text}
            scores.add_answer(filled=slot in named)
            revealed.update({other: turn for other in named if revealed[other] > turn})
            yield from ask_asides(item, turn + 1, history, revealed, scores)
    except PrivatesharedViolation as violation:
        return scores.aborted(str(violation))
    return scores.ended()


def ask_asides(
    item: PrivatesharedItem,
    number: int,
    history: Sequence[Message],
    revealed: Mapping[str, int],
    scores: PrivatesharedScores,
) -> Generator[Ask, str, None]:
    """Asks for every slot if it has been revealed.

    number    of the round, from 0
    revealed  slot -> the turn from which it counts as revealed
    scores    takes each reply

    Questions, asides and retries do not enter the history."""
    history = tuple(history)
    for slot, question in item.rounds[number]:
        for attempt in range(len(item.suffixes)):
            messages = (*history, Message("user", item.question(question, attempt)))
            aside = read_aside(
                (
                    yield Ask(
                        seat=ANSWERER, messages=messages, reply_format=ASIDE_FORMAT, last_parse=scores.parse
                    )
                )
            )
            if aside is not None:
                scores.record_parse(None)
                scores.add_aside(number, expected=number > revealed[slot], reported=aside)
                break
            scores.record_parse("aside is not one line that starts with ASIDE: and yes or no")
        else:
            raise PrivatesharedViolation("no valid aside in five tries")


class PrivatesharedViolation(Exception):
    """The answerer broke the format more often than the rules allow; its text is the outcome's reason."""


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────


class PrivatesharedScores:
    """The parse of every reply, and the counts of filled slots and correct asides."""

    __slots__ = ("_answers", "_asides", "_filled", "_parsed", "_total", "parse")

    def __init__(self) -> None:
        self.parse = KEPT
        self._total = self._parsed = self._answers = self._filled = 0
        self._asides: list[tuple[int, bool, bool]] = []

    def record_parse(self, violation: str | None) -> None:
        self.parse = KEPT if violation is None else Parse(violation=violation)
        self._total += 1
        self._parsed += violation is None

    def add_answer(self, *, filled: bool) -> None:
        self._answers += 1
        self._filled += filled

    def add_aside(self, number: int, *, expected: bool, reported: bool) -> None:
        self._asides.append((number, expected, reported))

    def ended(self) -> Outcome:
        """Scores the harmonic mean of the filled slots' share and the asides' kappa, cut at 0."""
        accuracy = share_correct(self._asides)
        middle = (self._answers + 1) // 2 - 1
        kappa = cohens_kappa([(expected, reported) for _, expected, reported in self._asides])
        truncated = max(0.0, kappa)
        filled = self._filled / self._answers
        both = filled + truncated
        return Outcome(
            state="success" if accuracy == 1 and filled == 1 else "lost",
            score=100 * 2 * filled * truncated / both if both else 0.0,
            reason="every request answered",
            requests=self._requests(),
            metrics={
                "Accuracy": accuracy,
                "Kappa": kappa,
                "Truncated Kappa": truncated,
                "Slot-Filling-Accuracy": filled,
                "Middle-Accuracy": share_correct([aside for aside in self._asides if aside[0] == middle]),
            },
        )

    def aborted(self, reason: str) -> Outcome:
        return Outcome(
            state="aborted", score=None, reason=reason, requests=self._requests(), last_parse=self.parse
        )

    def _requests(self) -> Requests:
        return Requests(total=self._total, parsed=self._parsed, violated=self._total - self._parsed)


def share_correct(asides: Sequence[tuple[int, bool, bool]]) -> float:
    return sum(expected == reported for _, expected, reported in asides) / len(asides)


def cohens_kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Computes Cohen's kappa of (expected, reported) pairs.

    Both answers are expected at least once in an episode, so the disagreement by chance is never 0.

    source   Cohen (1960), Educational and Psychological Measurement 20:37; the order of the sums is that of
             the published scores, so that they agree to the last bit"""
    count = {cell: pairs.count(cell) for cell in ((False, False), (False, True), (True, False), (True, True))}
    expected_no, expected_yes = (
        count[False, False] + count[False, True],
        count[True, False] + count[True, True],
    )
    reported_no, reported_yes = (
        count[False, False] + count[True, False],
        count[False, True] + count[True, True],
    )
    by_chance = expected_no * reported_yes / len(pairs) + expected_yes * reported_no / len(pairs)
    return 1 - (count[False, True] + count[True, False]) / by_chance


# ── bots ────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Gives the requested value or the correct aside; on a failed draw, evades or draws yes or no."""
    fields = Fields(instance)
    order = fields.texts("request_order")
    answered = sum(message.role == "assistant" for message in messages) - 1
    attentive = chance.random() < skill
    if messages[-1].text.startswith(f"{fields.text('tag')}: "):
        return (
            f"ANSWER: {fields.within('slots').text(order[answered])}"
            if attentive
            else "ANSWER: I would rather not say."
        )
    if not attentive:
        return f"ASIDE: {chance.choice(('yes', 'no'))}"
    return (
        f"ASIDE: {'yes' if _asked_about(fields, answered, messages[-1].text) in order[:answered] else 'no'}"
    )


def _asked_about(fields: Fields, number: int, asked: str) -> str | None:
    """Returns the slot that this question is about."""
    tail = fields.text("probe_template").partition("{}")[2]
    questions, chosen = fields.within("probing_questions"), fields.within("probes").within(str(number))
    return next(
        (slot for slot in chosen if asked.endswith(f" {_chosen(questions, slot, chosen)}{tail}")), None
    )


GAME = Game(
    name="privateshared",
    summary="Reveal facts one by one when asked, and keep track of which the other side knows.",
    seats=(ANSWERER,),
    rule_sets=RULE_SETS,
    turns_typical=60,
    play=play,
    instances=lambda: own_set("privateshared"),
    bots={ANSWERER: answer},
)
