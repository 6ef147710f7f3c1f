"""Wordle, wordle_withclue and wordle_withcritic: find a word of five letters in six attempts.

Rules as published with clembench v1.6; every oddity stands beside the line that keeps it. With a clue the seat also hears a
riddle. With a critic each attempt takes three replies: a proposal, the critic's opinion of it, and the guess that counts."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

from games.fields import Fields
from games.instances import WordList, own_set
from games.rulesets import RULE_SETS, TOKENS_MAX
from harness.core.protocols import Bot, Game
from harness.core.vocabulary import (
    KEPT,
    Ask,
    Instance,
    Message,
    Outcome,
    Parse,
    Play,
    ReplyFormat,
    Requests,
    normalised,
)

GUESSER = "guesser"
CRITIC = "critic"

# ── instance ─────────────────────────────────────────────────────────────────────────────────────────────────────────

LETTERS = 5
ATTEMPTS_MAX = 6
MALFORMED_RETRIES = 2
UNKNOWN_RETRIES = 5

CONFIGURED = {
    "max_word_length": LETTERS,
    "max_attempts_per_game": ATTEMPTS_MAX,
    "max_retry_per_error": MALFORMED_RETRIES,
    "max_retry_invalid_word": UNKNOWN_RETRIES,
}
"""What an instance may repeat of these rules but not change."""

REPROMPTS: Mapping[str, str] = {
    "format": "That reply lacks a line starting with guess: so nothing was guessed. Give your guess and its explanation again.",
    "letters": "A guess may hold the letters a to z and nothing else. Guess again.",
    "length": "A guess must have exactly five letters. Guess again.",
    "unknown": "That word is not in the list of accepted words. Guess another one.",
    "critic": "That reply lacks a line that is agreement:yes or agreement:no. Give your opinion and its explanation again.",
}
"""What a seat is told when its reply will not do, in our words; an instance may bring its own under the key "reprompts"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordleItem:
    """A word to find, the words that may be tried, and what each seat is told at the start.

    clue            None where the variant has none
    critic_prompt   None where the variant has no critic"""

    target: str
    words: WordList
    clue: str | None
    guesser_prompt: str
    critic_prompt: str | None
    reprompts: Mapping[str, str]

    @classmethod
    def read(cls, instance: Instance) -> WordleItem:
        fields = Fields(instance)
        _check_configuration(fields)
        clue = _clue(fields)
        prompt = fields.text("system_definition") + _only_message(fields, "guesser_prompt")
        return cls(
            target=fields.text("target_word").strip(),
            words=_words(fields),
            clue=clue,
            guesser_prompt=prompt if clue is None else f"{prompt}clue:{clue}\n",
            critic_prompt=_only_message(fields, "guesser_critic_prompt")
            if fields.flag("use_critic")
            else None,
            reprompts=_reprompts(fields),
        )

    @property
    def clue_line(self) -> str:
        return f"clue:{self.clue}\n"


def _check_configuration(fields: Fields) -> None:
    if "common_config" not in fields:
        return
    configuration = fields.within("common_config")
    for name, ours in CONFIGURED.items():
        if name in configuration and configuration.number(name) != ours:
            raise configuration.wrong(
                name, f"is {configuration.number(name)}; the published rules play with {ours}"
            )


def _clue(fields: Fields) -> str | None:
    if not fields.flag("use_clue"):
        return None
    clue = fields.text("target_word_clue").strip()
    if not clue:
        raise fields.wrong("target_word_clue", "is empty")
    return clue


def _words(fields: Fields) -> WordList:
    words = fields.value("english_words")
    return words if isinstance(words, WordList) else WordList(fields.texts("english_words"))


def _only_message(fields: Fields, name: str) -> str:
    """The text of a prompt that is kept as a list of one chat message."""
    match fields.value(name):
        case [{"content": str(text)}]:
            return text
        case _:
            raise fields.wrong(name, "is not a list of one message with a 'content'")


def _reprompts(fields: Fields) -> Mapping[str, str]:
    if "reprompts" not in fields:
        return REPROMPTS
    own = fields.within("reprompts")
    return {kind: own.text(kind) if kind in own else ours for kind, ours in REPROMPTS.items()}


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────

EXPLANATION = "explanation: [!-~][ -~]{0,59}"
GUESS_FORM = ReplyFormat(regex=f"guess: [a-z]{{5}}\n{EXPLANATION}", tokens_max=TOKENS_MAX)
OPINION_FORM = ReplyFormat(regex=f"agreement: (yes|no)\n{EXPLANATION}", tokens_max=TOKENS_MAX)

AGREEMENTS = frozenset({"yes", "no", "Yes", "No", "YES", "NO"})
MISSING = "INVALID_FORMAT"
OVERFLOW = "CONTEXT_EXCEEDED_ERROR"


def tagged(reply: str, tag: str) -> str:
    """What follows the first occurrence of the tag, anywhere, to the end of its line; published scores contain mid-sentence tags."""
    start = reply.find(tag)
    if start < 0:
        return OVERFLOW if OVERFLOW in reply else MISSING
    start += len(tag)
    end = reply.find("\n", start)
    return (reply[start:] if end < 0 else reply[start:end]).strip()


Flaw = Literal["format", "letters", "length", "unknown"]

VIOLATIONS: Mapping[str, str] = {
    "format": "no guess: in the reply",
    "letters": "guess is not letters only",
    "length": "guess has not five letters",
    "critic": "agreement is neither yes nor no",
}


def flaw_of(guess: str, words: WordList) -> Flaw | None:
    """What is wrong with a guess. Nothing is put in lower case first: START is an unknown word."""
    if guess == MISSING:
        return "format"
    if not guess.isalpha():
        return "letters"
    if len(guess) != LETTERS:
        return "length"
    return None if guess in words else "unknown"


def parse_of(flaw: Flaw | None) -> Parse:
    """An unknown word keeps the form: the published figures count it as parsed."""
    return KEPT if flaw is None or flaw == "unknown" else Parse(violation=VIOLATIONS[flaw])


# ── play ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CRITIC_TRIES_MAX: Mapping[str, int | None] = {"v1.6b": 3, "v1.6": None}
"""Invalid opinions in a row that abort. None: asked until it complies, for ever if it never does, as the published code did."""


def play(instance: Instance, rules: str) -> Play:
    """Six attempts; only a guess that is a known word counts as one."""
    puzzle = WordleItem.read(instance)
    table = Table(puzzle)
    attempts: list[Attempt] = []

    try:
        while len(attempts) < ATTEMPTS_MAX:
            proposed = agreed = None
            if puzzle.critic_prompt is not None:
                proposed = yield from propose(table)
                agreed = yield from criticise(table, CRITIC_TRIES_MAX[rules])
            word, _ = yield from known_word(table)
            colours = feedback(puzzle.target, word)
            attempts.append(Attempt(word, colours, proposed, agreed))
            if word == puzzle.target:
                return success(table, attempts)
            table.tell_feedback(word, colours)
    except WordleViolation as broken:
        return aborted(table, attempts, str(broken))
    return lost(table, attempts)


def known_word(table: Table) -> Generator[Ask, str, tuple[str, str]]:
    """Asks the guesser until its guess is a known word; returns that and its explanation.

    Three malformed guesses in a row abort, the sixth unknown word since the last good guess aborts; an unknown word forgives the malformed
    guesses before it, but not the other way round."""
    malformed = unknown = 0
    while True:
        reply = yield table.ask_guesser()
        word, explanation = tagged(reply, "guess:"), tagged(reply, "explanation:")
        flaw = flaw_of(word, table.puzzle.words)
        table.judge(parse_of(flaw))
        if flaw is None:
            table.remember_guess(word, explanation)
            return word, explanation
        if flaw == "unknown":
            if unknown == UNKNOWN_RETRIES:
                raise WordleViolation("too many unknown words")
            unknown, malformed = unknown + 1, 0
        else:
            if malformed == MALFORMED_RETRIES:
                raise WordleViolation("three malformed guesses in a row")
            malformed += 1
        table.ask_again(word, explanation, flaw)


def propose(table: Table) -> Generator[Ask, str, str]:
    """The guess shown to the critic. It is no attempt: a right one does not win."""
    word, explanation = yield from known_word(table)
    table.show_critic(word, explanation)
    return word


def criticise(table: Table, tries_max: int | None) -> Generator[Ask, str, bool]:
    """Asks the critic until it says yes or no; returns whether it agreed, which Yes and YES do not."""
    tries = 0
    while True:
        reply = yield table.ask_critic()
        agreement, explanation = tagged(reply, "agreement:"), tagged(reply, "explanation:")
        if agreement in AGREEMENTS:
            table.judge(KEPT)
            table.tell_opinion(agreement, explanation)
            return agreement == "yes"
        table.judge(Parse(violation=VIOLATIONS["critic"]))
        tries += 1
        if tries == tries_max:
            raise WordleViolation("three invalid opinions in a row")
        table.ask_critic_again(explanation)


class WordleViolation(Exception):
    """A seat broke the form more often than the rules forgive; its text is the outcome's reason."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One guess that counted; `proposed` and `agreed` are None where there is no critic."""

    word: str
    colours: tuple[str, ...]
    proposed: str | None
    agreed: bool | None


class Table:
    """What each seat has heard so far, how its last reply was judged, and the count of all replies."""

    __slots__ = ("_critic", "_guesser", "_last_feedback", "parse", "parsed", "puzzle", "total")

    def __init__(self, puzzle: WordleItem) -> None:
        self.puzzle = puzzle
        self.parse = KEPT
        self.total = 0
        self.parsed = 0
        self._guesser = [Message("user", puzzle.guesser_prompt)]
        self._critic: list[Message] = []
        self._last_feedback = ""

    def ask_guesser(self) -> Ask:
        return Ask(
            seat=GUESSER, messages=tuple(self._guesser), reply_format=GUESS_FORM, last_parse=self.parse
        )

    def ask_critic(self) -> Ask:
        return Ask(
            seat=CRITIC, messages=normalised(self._critic), reply_format=OPINION_FORM, last_parse=self.parse
        )

    def judge(self, parse: Parse) -> None:
        self.parse = parse
        self.total += 1
        self.parsed += parse.violation is None

    def requests(self) -> Requests:
        return Requests(total=self.total, parsed=self.parsed, violated=self.total - self.parsed)

    def remember_guess(self, word: str, explanation: str) -> None:
        """The guesser never sees its own words again, only what was read out of them; the published games did that."""
        self._guesser.append(Message("assistant", f"guess:{word}\nexplanation:{explanation}\n"))

    def ask_again(self, word: str, explanation: str, flaw: Flaw) -> None:
        """With a critic the remembered reply starts with the clue, here and nowhere else; the published games did that."""
        clue_line = self.puzzle.clue_line if self.puzzle.critic_prompt is not None else ""
        self._guesser.append(Message("assistant", f"{clue_line}guess:{word}\nexplanation:{explanation}\n"))
        self._guesser.append(Message("user", self.puzzle.reprompts[flaw]))

    def tell_feedback(self, word: str, colours: Sequence[str]) -> None:
        self._last_feedback = "guess_feedback: " + " ".join(
            f"{letter}<{colour}>" for letter, colour in zip(word, colours, strict=True)
        )
        self._guesser.append(Message("user", self._last_feedback))

    def show_critic(self, word: str, explanation: str) -> None:
        """The critic hears every proposal, but never its own valid answers; an empty message stands where one would be."""
        shown = f"{self.puzzle.clue_line}guess:{word}\nexplanation:{explanation}\n"
        if self._critic:
            self._critic.append(Message("user", ""))
            self._critic.append(Message("user", shown + self._last_feedback))
        else:
            self._critic.append(Message("user", f"{self.puzzle.critic_prompt}{shown}"))

    def ask_critic_again(self, explanation: str) -> None:
        self._critic.append(Message("assistant", f"agreement:{MISSING}\nexplanation:{explanation}\n"))
        self._critic.append(Message("user", self.puzzle.reprompts["critic"]))

    def tell_opinion(self, agreement: str, explanation: str) -> None:
        opinion = f"guess_agreement:{agreement}\nagreement_explanation:{explanation}\n"
        self._guesser.append(Message("user", self.puzzle.clue_line + opinion))


@lru_cache(maxsize=1 << 14)
def feedback(target: str, guess: str) -> tuple[str, ...]:
    """The colour of each letter of the guess, as published: a letter in its place is yellow or red when the target has an earlier copy of
    it that no earlier letter has used up. Published scores contain it."""
    if guess == target:
        return ("green",) * len(target)
    unused = target
    colours: list[str] = []
    for place, letter in enumerate(guess):
        copy = unused.find(letter)
        if copy < 0 or (copy != place and guess[copy] == letter):
            colours.append("red")
            continue
        unused = f"{unused[:copy]} {unused[copy + 1 :]}"
        colours.append("green" if copy == place else "yellow")
    return tuple(colours)


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SPEED_WITHOUT_CLUE: Mapping[int, float] = {1: 100.0, 2: 100.0, 3: 100.0, 4: 50.0, 5: 30.0, 6: 20.0}
CLOSENESS: Mapping[str, int] = {"green": 5, "yellow": 3, "red": 0}
REUSE: Mapping[str, int] = {"green": 20, "yellow": 10, "red": -20}


def success(table: Table, attempts: Sequence[Attempt]) -> Outcome:
    needed = len(attempts)
    score = SPEED_WITHOUT_CLUE[needed] if table.puzzle.clue is None else round(100 / needed, 2)
    return Outcome(
        state="success",
        score=score,
        reason="word found",
        requests=table.requests(),
        metrics=metrics(attempts, complete=True),
    )


def lost(table: Table, attempts: Sequence[Attempt]) -> Outcome:
    return Outcome(
        state="lost",
        score=0.0,
        reason="six wrong guesses",
        requests=table.requests(),
        metrics=metrics(attempts, complete=True),
    )


def aborted(table: Table, attempts: Sequence[Attempt], reason: str) -> Outcome:
    return Outcome(
        state="aborted",
        score=None,
        reason=reason,
        requests=table.requests(),
        metrics=metrics(attempts, complete=False),
        last_parse=table.parse,
    )


def metrics(attempts: Sequence[Attempt], *, complete: bool) -> dict[str, float]:
    """Sub-scores of the episode and, numbered from 1, of its attempts. Repetitions are defined for complete episodes only."""
    figures: dict[str, float] = {}
    if complete:
        repeated = len(attempts) - len({attempt.word for attempt in attempts})
        figures["repeats guess"] = float(repeated > 0)
        figures["total guess repetitions"] = float(repeated)
    for number, attempt in enumerate(attempts, 1):
        figures[f"closeness score {number}"] = float(sum(CLOSENESS[colour] for colour in attempt.colours))
        figures[f"strategy score {number}"] = float(strategy(attempts, number, complete=complete))
        if attempt.proposed is not None:
            figures[f"change_of_opinion {number}"] = float(attempt.word != attempt.proposed)
    figures.update(obedience([attempt for attempt in attempts if attempt.proposed is not None]))
    return figures


def strategy(attempts: Sequence[Attempt], number: int, *, complete: bool) -> int:
    """How an attempt used the colours of the attempt before it, and of no earlier one."""
    if number == 1:
        return 100 if complete and len(attempts) == 1 else 0
    before, now = attempts[number - 2], set(attempts[number - 1].word)
    shown = set(zip(before.word, before.colours, strict=True))
    return sum(REUSE[colour] for letter, colour in shown if letter in now)


def obedience(attempts: Sequence[Attempt]) -> Iterable[tuple[str, float]]:
    """How often the guesser kept or changed its proposal after each kind of opinion."""
    if not attempts:
        return
    for opinion, agreed in (("Agreement", True), ("Disagreement", False)):
        kept = [attempt.word == attempt.proposed for attempt in attempts if attempt.agreed is agreed]
        yield f"Repetition-Guesser-On-Critic-{opinion}", round(kept.count(True) / max(len(kept), 1), 2)
        yield f"Non-Repetition-Guesser-On-Critic-{opinion}", round(kept.count(False) / max(len(kept), 1), 2)


# ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

LOOKED_AT_MAX = 24
"""Words a solver at full skill tries against the feedback before it settles for one."""


def guess(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Guesses the target as often as the square of its skill, else a word that fits the feedback if it finds one soon."""
    fields = Fields(instance)
    if chance.random() < skill**2:
        return worded_guess(fields.text("target_word").strip(), "it fits everything known so far")
    words = _words(fields)
    seen = [_seen(message.text) for message in heard if message.text.startswith("guess_feedback: ")]
    word = words[chance.randrange(len(words))]
    for _ in range(int(skill * LOOKED_AT_MAX)):
        if all(feedback(word, tried) == colours for tried, colours in seen):
            break
        word = words[chance.randrange(len(words))]
    return worded_guess(word, "worth a try" if seen else "a word to start with")


def worded_guess(word: str, explanation: str) -> str:
    return f"guess: {word}\nexplanation: {explanation}"


def _seen(told: str) -> tuple[str, tuple[str, ...]]:
    """A feedback message back into its guess and colours."""
    pieces = told.removeprefix("guess_feedback: ").split(" ")
    return "".join(piece[0] for piece in pieces), tuple(piece[2:-1] for piece in pieces)


def criticise_as_bot(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Agrees with the target and with nothing else, as often as its skill says; otherwise tosses a coin."""
    shown = next((message.text for message in reversed(heard) if "\nguess:" in message.text), "")
    right = tagged(shown[shown.rfind("\nguess:") :], "guess:") == Fields(instance).text("target_word").strip()
    agrees = right if chance.random() < skill else chance.random() < 0.5
    return f"agreement: {'yes' if agrees else 'no'}\nexplanation: {'it matches the clue' if agrees else 'another word fits better'}"


def _game(name: str, summary: str, turns_typical: int, bots: Mapping[str, Bot]) -> Game:
    return Game(
        name=name,
        summary=summary,
        seats=tuple(bots),
        rule_sets=RULE_SETS,
        turns_typical=turns_typical,
        play=play,
        instances=lambda: own_set(name),
        bots=bots,
        reprompts=tuple(REPROMPTS),
    )


GAME = _game(
    "wordle",
    "Find a five-letter word in six attempts from the colours of the last ones.",
    6,
    {GUESSER: guess},
)
WITH_CLUE = _game("wordle_withclue", "Wordle with a riddle to start from.", 5, {GUESSER: guess})
WITH_CRITIC = _game(
    "wordle_withcritic",
    "Wordle with a riddle and a critic who comments on each guess before it counts.",
    14,
    {GUESSER: guess, CRITIC: criticise_as_bot},
)
