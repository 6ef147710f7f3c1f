"""Private and shared: a seat gives away facts one by one when asked, and says in between, aside, which of them it has given away.

Rules as published with clembench v1.6; every oddity stands beside the line that keeps it. Only the answering seat is a player; the
questions are the game's own. An aside is asked for again up to four times, an answer never."""

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

# ── instance ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivatesharedItem:
    """Facts to give away, in the order in which they are asked for, and the questions about them.

    values    slot -> what is to be said of it
    requests  (slot, sentence) in order
    rounds    the asides before the first answer, after it, and so on: (slot, question) in order
    suffixes  what is added to a question at each try; their number is the number of tries
    template  the text of an aside's question, {} standing for the question
    marker    what in it the suffix follows"""

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
        """The words of an aside's question; at the first try the empty suffix leaves two spaces after the marker, as published."""
        asked = self.template.replace("{}", question)
        return asked.replace(self.marker, f"{self.marker}{self.suffixes[attempt]} ")


def _round(
    questions: Fields, probes: Fields, number: str, order: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """One question for each slot, in the order of the file."""
    chosen = probes.within(number)
    if sorted(chosen) != sorted(order):
        raise probes.wrong(number, "does not name every slot once")
    return tuple((slot, _chosen(questions, slot, chosen)) for slot in chosen)


def _chosen(texts: Fields, slot: str, chosen: Fields) -> str:
    listed, index = texts.texts(slot), chosen.number(slot)
    if not 0 <= index < len(listed):
        raise chosen.wrong(slot, f"is {index}, but there are {len(listed)} texts to choose from")
    return listed[index]


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ANSWER_FORM = ReplyFormat(
    # Any line but NA, which the rules take for no answer; without colons, so that no second tag can hide one.
    regex="ANSWER: ([!-9;-MO-~][ -9;-~]{0,79}|N|N[ -9;-@B-~][ -9;-~]{0,78}|NA[ -9;-~]{0,77}[!-9;-~])",
    tokens_max=TOKENS_MAX,
)
ASIDE_FORM = ReplyFormat(regex="ASIDE: (yes|no)", tokens_max=TOKENS_MAX)

INVALID = "NA"
"""The published game's own mark for an invalid answer, so that a player who answers just this is taken to have broken the form."""


def is_answer(reply: str) -> bool:
    return (
        reply.startswith("ANSWER:") and is_one_line(reply) and reply.replace("ANSWER:", "").strip() != INVALID
    )


def aside_of(reply: str) -> bool | None:
    """Yes or no by how the aside begins: "Nothing is known" is a no, "I said no" neither."""
    if not reply.startswith("ASIDE:") or not is_one_line(reply):
        return None
    said = reply.replace("ASIDE:", "").strip().lower()
    if said.startswith("yes"):
        return True
    return False if said.startswith("no") else None


def is_one_line(reply: str) -> bool:
    return "\n" not in reply.strip("\n")


# ── play ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """A round of asides, then for each slot a request, its answer and another round of asides. Both rule sets play alike."""
    puzzle = PrivatesharedItem.read(instance)
    history = [Message("user", puzzle.prompt), Message("assistant", "Ok.")]
    # From this turn on a slot counts as given away, whatever was answered: an evasive answer does not put it off.
    revealed = {slot: turn for turn, (slot, _) in enumerate(puzzle.requests)}
    sheet = PrivatesharedScores()

    try:
        yield from asides(puzzle, 0, history, revealed, sheet)
        for turn, (slot, sentence) in enumerate(puzzle.requests):
            history.append(Message("user", f"{puzzle.tag}: {sentence}"))
            answer = yield Ask(
                seat=ANSWERER, messages=tuple(history), reply_format=ANSWER_FORM, last_parse=sheet.parse
            )
            if not is_answer(answer):
                sheet.judge("answer is not one line that starts with ANSWER:, or is NA")
                raise PrivatesharedViolation("invalid answer to a request")
            sheet.judge(None)
            history.append(Message("assistant", answer))
            said = answer.lower()
            named = {other for other, value in puzzle.values.items() if value.lower() in said}
            sheet.note_answer(filled=slot in named)
            revealed.update({other: turn for other in named if revealed[other] > turn})
            yield from asides(puzzle, turn + 1, history, revealed, sheet)
    except PrivatesharedViolation as broken:
        return sheet.aborted(str(broken))
    return sheet.ended()


def asides(
    puzzle: PrivatesharedItem,
    number: int,
    history: Sequence[Message],
    revealed: Mapping[str, int],
    sheet: PrivatesharedScores,
) -> Generator[Ask, str, None]:
    """Asks of every slot whether it has been given away. Neither question nor aside enters the history, nor does a retry."""
    history = tuple(history)
    for slot, question in puzzle.rounds[number]:
        for attempt in range(len(puzzle.suffixes)):
            messages = (*history, Message("user", puzzle.question(question, attempt)))
            aside = aside_of(
                (yield Ask(seat=ANSWERER, messages=messages, reply_format=ASIDE_FORM, last_parse=sheet.parse))
            )
            if aside is not None:
                sheet.judge(None)
                sheet.note_aside(number, expected=number > revealed[slot], said=aside)
                break
            sheet.judge("aside is not one line that starts with ASIDE: and yes or no")
        else:
            raise PrivatesharedViolation("no valid aside in five tries")


class PrivatesharedViolation(Exception):
    """The answerer broke the form more often than the rules forgive; its text is the outcome's reason."""


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class PrivatesharedScores:
    """How every reply was judged, and what the answers and asides were worth."""

    __slots__ = ("_answers", "_asides", "_filled", "_parsed", "_total", "parse")

    def __init__(self) -> None:
        self.parse = KEPT
        self._total = self._parsed = self._answers = self._filled = 0
        self._asides: list[tuple[int, bool, bool]] = []

    def judge(self, violation: str | None) -> None:
        self.parse = KEPT if violation is None else Parse(violation=violation)
        self._total += 1
        self._parsed += violation is None

    def note_answer(self, *, filled: bool) -> None:
        self._answers += 1
        self._filled += filled

    def note_aside(self, number: int, *, expected: bool, said: bool) -> None:
        self._asides.append((number, expected, said))

    def ended(self) -> Outcome:
        """The score is the harmonic mean of slots filled and asides right, the latter corrected for chance."""
        accuracy = right_share(self._asides)
        middle = (self._answers + 1) // 2 - 1
        kappa = cohens_kappa([(expected, said) for _, expected, said in self._asides])
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
                "Middle-Accuracy": right_share([aside for aside in self._asides if aside[0] == middle]),
            },
        )

    def aborted(self, reason: str) -> Outcome:
        return Outcome(
            state="aborted", score=None, reason=reason, requests=self._requests(), last_parse=self.parse
        )

    def _requests(self) -> Requests:
        return Requests(total=self._total, parsed=self._parsed, violated=self._total - self._parsed)


def right_share(asides: Sequence[tuple[int, bool, bool]]) -> float:
    return sum(expected == said for _, expected, said in asides) / len(asides)


def cohens_kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Agreement beyond chance; both answers are always expected somewhere, so chance never disagrees with nothing.

    source   Cohen (1960); summed in the order in which the published scores were, so that they agree to the last bit"""
    count = {cell: pairs.count(cell) for cell in ((False, False), (False, True), (True, False), (True, True))}
    expected_no, expected_yes = (
        count[False, False] + count[False, True],
        count[True, False] + count[True, True],
    )
    said_no, said_yes = count[False, False] + count[True, False], count[False, True] + count[True, True]
    by_chance = expected_no * said_yes / len(pairs) + expected_yes * said_no / len(pairs)
    return 1 - (count[False, True] + count[True, False]) / by_chance


# ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Names the value asked for and remembers which were asked for, as often as its skill says; otherwise evades or tosses a coin."""
    fields = Fields(instance)
    order = fields.texts("request_order")
    answered = sum(message.role == "assistant" for message in heard) - 1
    attentive = chance.random() < skill
    if heard[-1].text.startswith(f"{fields.text('tag')}: "):
        return (
            f"ANSWER: {fields.within('slots').text(order[answered])}"
            if attentive
            else "ANSWER: I would rather not say."
        )
    if not attentive:
        return f"ASIDE: {chance.choice(('yes', 'no'))}"
    return f"ASIDE: {'yes' if _asked_about(fields, answered, heard[-1].text) in order[:answered] else 'no'}"


def _asked_about(fields: Fields, number: int, asked: str) -> str | None:
    """The slot whose question this is."""
    tail = fields.text("probe_template").partition("{}")[2]
    questions, chosen = fields.within("probing_questions"), fields.within("probes").within(str(number))
    return next(
        (slot for slot in chosen if asked.endswith(f" {_chosen(questions, slot, chosen)}{tail}")), None
    )


GAME = Game(
    name="privateshared",
    summary="Give facts away one by one when asked, and keep count of which the other side knows.",
    seats=(ANSWERER,),
    rule_sets=RULE_SETS,
    turns_typical=60,
    play=play,
    instances=lambda: own_set("privateshared"),
    bots={ANSWERER: answer},
)
