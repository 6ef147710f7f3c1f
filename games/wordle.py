"""Wordle, wordle_withclue and wordle_withcritic: find a word of five letters in six attempts.

The rules are those published with clembench v1.6. A comment marks each line that keeps an oddity of them.
With a clue, the guesser's first message also has a clue to the word. With a critic, each attempt takes three
replies: a proposal, the critic's opinion of it, and the guess that counts."""

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

# ── instance ────────────────────────────────────────────────────────────────────────────────────────────────

LETTERS = 5
ATTEMPTS_MAX = 6
MALFORMED_RETRIES = 2
UNKNOWN_RETRIES = 5

FIXED_SETTINGS = {
    "max_word_length": LETTERS,
    "max_attempts_per_game": ATTEMPTS_MAX,
    "max_retry_per_error": MALFORMED_RETRIES,
    "max_retry_invalid_word": UNKNOWN_RETRIES,
}
"""The settings that an instance may repeat but not change."""

REPROMPTS: Mapping[str, str] = {
    "format": "That reply lacks a line starting with guess: so nothing was guessed. "
    "Give your guess and its explanation again.",
    "letters": "A guess may hold the letters a to z and nothing else. Guess again.",
    "length": "A guess must have exactly five letters. Guess again.",
    "unknown": "That word is not in the list of accepted words. Guess another one.",
    "critic": "That reply lacks a line that is agreement:yes or agreement:no. "
    "Give your opinion and its explanation again.",
}
"""Our messages after an invalid reply; an instance may replace them under the key "reprompts"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordleItem:
    """A word to find, the words that may be guessed, and the first prompt of each seat.

    clue           None where the variant has no clue
    critic_prompt  None where the variant has no critic"""

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
    for name, ours in FIXED_SETTINGS.items():
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
    """Returns the text of a prompt that the file keeps as a list of one chat message."""
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


# ── reply formats ───────────────────────────────────────────────────────────────────────────────────────────

EXPLANATION = "explanation: [!-~][ -~]{0,59}"
GUESS_FORMAT = ReplyFormat(regex=f"guess: [a-z]{{5}}\n{EXPLANATION}", tokens_max=TOKENS_MAX)
OPINION_FORMAT = ReplyFormat(regex=f"agreement: (yes|no)\n{EXPLANATION}", tokens_max=TOKENS_MAX)

AGREEMENTS = frozenset({"yes", "no", "Yes", "No", "YES", "NO"})
MISSING = "INVALID_FORMAT"
OVERFLOW = "CONTEXT_EXCEEDED_ERROR"


def text_after(reply: str, tag: str) -> str:
    """Returns the text between the first occurrence of the tag and the end of that line.

    The tag may stand anywhere in the reply; the published scores contain tags in the middle of a sentence."""
    start = reply.find(tag)
    if start < 0:
        return OVERFLOW if OVERFLOW in reply else MISSING
    start += len(tag)
    end = reply.find("\n", start)
    return (reply[start:] if end < 0 else reply[start:end]).strip()


GuessError = Literal["format", "letters", "length", "unknown"]

VIOLATIONS: Mapping[str, str] = {
    "format": "no guess: in the reply",
    "letters": "guess is not letters only",
    "length": "guess has not five letters",
    "critic": "agreement is neither yes nor no",
}


def guess_error(guess: str, words: WordList) -> GuessError | None:
    """Returns the error of a guess, or None. The case of letters counts: START is an unknown word."""
    if guess == MISSING:
        return "format"
    if not guess.isalpha():
        return "letters"
    if len(guess) != LETTERS:
        return "length"
    return None if guess in words else "unknown"


def parse_of_guess(error: GuessError | None) -> Parse:
    """Returns the parse of a guess; the published figures count an unknown word as parsed."""
    return KEPT if error is None or error == "unknown" else Parse(violation=VIOLATIONS[error])


# ── play ────────────────────────────────────────────────────────────────────────────────────────────────────

CRITIC_TRIES_MAX: Mapping[str, int | None] = {"v1.6b": 3, "v1.6": None}
"""The number of invalid opinions in a row that aborts. None: no limit, as in the published code."""


def play(instance: Instance, rules: str) -> Play:
    """Plays up to six attempts; only a guess that is a known word counts as one."""
    item = WordleItem.read(instance)
    dialogue = WordleDialogue(item)
    attempts: list[Attempt] = []

    try:
        while len(attempts) < ATTEMPTS_MAX:
            proposed = agreed = None
            if item.critic_prompt is not None:
                proposed = yield from ask_proposal(dialogue)
                agreed = yield from ask_opinion(dialogue, CRITIC_TRIES_MAX[rules])
            word, _ = yield from ask_known_word(dialogue)
            colours = feedback(item.target, word)
            attempts.append(Attempt(word, colours, proposed, agreed))
            if word == item.target:
                return success(dialogue, attempts)
            dialogue.add_feedback(word, colours)
    except WordleViolation as violation:
        return aborted(dialogue, attempts, str(violation))
    return lost(dialogue, attempts)


def ask_known_word(dialogue: WordleDialogue) -> Generator[Ask, str, tuple[str, str]]:
    """Asks the guesser until its guess is a known word; returns the word and its explanation.

    raises  WordleViolation at the third malformed guess in a row, and at the sixth unknown word since the
            last valid guess; an unknown word resets the count of malformed guesses, but not the reverse"""
    malformed = unknown = 0
    while True:
        reply = yield dialogue.ask_guesser()
        word, explanation = text_after(reply, "guess:"), text_after(reply, "explanation:")
        error = guess_error(word, dialogue.item.words)
        dialogue.record_parse(parse_of_guess(error))
        if error is None:
            dialogue.add_guess(word, explanation)
            return word, explanation
        if error == "unknown":
            if unknown == UNKNOWN_RETRIES:
                raise WordleViolation("too many unknown words")
            unknown, malformed = unknown + 1, 0
        else:
            if malformed == MALFORMED_RETRIES:
                raise WordleViolation("three malformed guesses in a row")
            malformed += 1
        dialogue.add_reprompt(word, explanation, error)


def ask_proposal(dialogue: WordleDialogue) -> Generator[Ask, str, str]:
    """Asks for the guess that the critic comments on; it is not an attempt, so a right one does not win."""
    word, explanation = yield from ask_known_word(dialogue)
    dialogue.add_proposal(word, explanation)
    return word


def ask_opinion(dialogue: WordleDialogue, tries_max: int | None) -> Generator[Ask, str, bool]:
    """Asks the critic until it says yes or no; returns True for "yes" alone: "Yes" and "YES" do not agree."""
    tries = 0
    while True:
        reply = yield dialogue.ask_critic()
        agreement, explanation = text_after(reply, "agreement:"), text_after(reply, "explanation:")
        if agreement in AGREEMENTS:
            dialogue.record_parse(KEPT)
            dialogue.add_opinion(agreement, explanation)
            return agreement == "yes"
        dialogue.record_parse(Parse(violation=VIOLATIONS["critic"]))
        tries += 1
        if tries == tries_max:
            raise WordleViolation("three invalid opinions in a row")
        dialogue.add_critic_reprompt(explanation)


class WordleViolation(Exception):
    """A seat broke the format more often than the rules allow; its text is the outcome's reason."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One guess that counted; `proposed` and `agreed` are None where there is no critic."""

    word: str
    colours: tuple[str, ...]
    proposed: str | None
    agreed: bool | None


class WordleDialogue:
    """The messages of each seat, the parse of the last reply, and the counts of replies."""

    __slots__ = ("_critic", "_guesser", "_last_feedback", "item", "parse", "parsed", "total")

    def __init__(self, item: WordleItem) -> None:
        self.item = item
        self.parse = KEPT
        self.total = 0
        self.parsed = 0
        self._guesser = [Message("user", item.guesser_prompt)]
        self._critic: list[Message] = []
        self._last_feedback = ""

    def ask_guesser(self) -> Ask:
        return Ask(
            seat=GUESSER, messages=tuple(self._guesser), reply_format=GUESS_FORMAT, last_parse=self.parse
        )

    def ask_critic(self) -> Ask:
        return Ask(
            seat=CRITIC, messages=normalised(self._critic), reply_format=OPINION_FORMAT, last_parse=self.parse
        )

    def record_parse(self, parse: Parse) -> None:
        self.parse = parse
        self.total += 1
        self.parsed += parse.violation is None

    def requests(self) -> Requests:
        return Requests(total=self.total, parsed=self.parsed, violated=self.total - self.parsed)

    def add_guess(self, word: str, explanation: str) -> None:
        """Adds a valid guess to the guesser's history: only its parsed parts, as in the published games."""
        self._guesser.append(Message("assistant", f"guess:{word}\nexplanation:{explanation}\n"))

    def add_reprompt(self, word: str, explanation: str, error: GuessError) -> None:
        """Adds an invalid guess and the message that asks for another one.

        With a critic the guess starts with the clue, here only, as in the published games."""
        clue_line = self.item.clue_line if self.item.critic_prompt is not None else ""
        self._guesser.append(Message("assistant", f"{clue_line}guess:{word}\nexplanation:{explanation}\n"))
        self._guesser.append(Message("user", self.item.reprompts[error]))

    def add_feedback(self, word: str, colours: Sequence[str]) -> None:
        self._last_feedback = "guess_feedback: " + " ".join(
            f"{letter}<{colour}>" for letter, colour in zip(word, colours, strict=True)
        )
        self._guesser.append(Message("user", self._last_feedback))

    def add_proposal(self, word: str, explanation: str) -> None:
        """Adds a proposal to the critic's history, with an empty message for the critic's own reply."""
        shown = f"{self.item.clue_line}guess:{word}\nexplanation:{explanation}\n"
        if self._critic:
            self._critic.append(Message("user", ""))
            self._critic.append(Message("user", shown + self._last_feedback))
        else:
            self._critic.append(Message("user", f"{self.item.critic_prompt}{shown}"))

    def add_critic_reprompt(self, explanation: str) -> None:
        self._critic.append(Message("assistant", f"agreement:{MISSING}\nexplanation:{explanation}\n"))
        self._critic.append(Message("user", self.item.reprompts["critic"]))

    def add_opinion(self, agreement: str, explanation: str) -> None:
        opinion = f"guess_agreement:{agreement}\nagreement_explanation:{explanation}\n"
        self._guesser.append(Message("user", self.item.clue_line + opinion))


@lru_cache(maxsize=1 << 14)
def feedback(target: str, guess: str) -> tuple[str, ...]:
    """Returns the colour of each letter of the guess, as in the published game.

    A letter in its right place is yellow or red if the target has an earlier copy of it that no earlier
    letter of the guess has used; the published scores contain this."""
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


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────

SPEED_WITHOUT_CLUE: Mapping[int, float] = {1: 100.0, 2: 100.0, 3: 100.0, 4: 50.0, 5: 30.0, 6: 20.0}
CLOSENESS: Mapping[str, int] = {"green": 5, "yellow": 3, "red": 0}
REUSE: Mapping[str, int] = {"green": 20, "yellow": 10, "red": -20}


def success(dialogue: WordleDialogue, attempts: Sequence[Attempt]) -> Outcome:
    needed = len(attempts)
    score = SPEED_WITHOUT_CLUE[needed] if dialogue.item.clue is None else round(100 / needed, 2)
    return Outcome(
        state="success",
        score=score,
        reason="word found",
        requests=dialogue.requests(),
        metrics=metrics(attempts, complete=True),
    )


def lost(dialogue: WordleDialogue, attempts: Sequence[Attempt]) -> Outcome:
    return Outcome(
        state="lost",
        score=0.0,
        reason="six wrong guesses",
        requests=dialogue.requests(),
        metrics=metrics(attempts, complete=True),
    )


def aborted(dialogue: WordleDialogue, attempts: Sequence[Attempt], reason: str) -> Outcome:
    return Outcome(
        state="aborted",
        score=None,
        reason=reason,
        requests=dialogue.requests(),
        metrics=metrics(attempts, complete=False),
        last_parse=dialogue.parse,
    )


def metrics(attempts: Sequence[Attempt], *, complete: bool) -> dict[str, float]:
    """Returns the figures of the episode and of its attempts, numbered from 1.

    complete  False for an aborted episode, which has no count of repetitions"""
    figures: dict[str, float] = {}
    if complete:
        repeated = len(attempts) - len({attempt.word for attempt in attempts})
        figures["repeats guess"] = float(repeated > 0)
        figures["total guess repetitions"] = float(repeated)
    for number, attempt in enumerate(attempts, 1):
        figures[f"closeness score {number}"] = float(sum(CLOSENESS[colour] for colour in attempt.colours))
        figures[f"strategy score {number}"] = float(strategy_score(attempts, number, complete=complete))
        if attempt.proposed is not None:
            figures[f"change_of_opinion {number}"] = float(attempt.word != attempt.proposed)
    figures.update(reactions_to_critic([attempt for attempt in attempts if attempt.proposed is not None]))
    return figures


def strategy_score(attempts: Sequence[Attempt], number: int, *, complete: bool) -> int:
    """Scores how an attempt used the colours of the attempt just before it."""
    if number == 1:
        return 100 if complete and len(attempts) == 1 else 0
    before, now = attempts[number - 2], set(attempts[number - 1].word)
    shown = set(zip(before.word, before.colours, strict=True))
    return sum(REUSE[colour] for letter, colour in shown if letter in now)


def reactions_to_critic(attempts: Sequence[Attempt]) -> Iterable[tuple[str, float]]:
    """Yields how often the guesser kept and changed its proposal after each kind of opinion."""
    if not attempts:
        return
    for opinion, agreed in (("Agreement", True), ("Disagreement", False)):
        kept = [attempt.word == attempt.proposed for attempt in attempts if attempt.agreed is agreed]
        yield f"Repetition-Guesser-On-Critic-{opinion}", round(kept.count(True) / max(len(kept), 1), 2)
        yield f"Non-Repetition-Guesser-On-Critic-{opinion}", round(kept.count(False) / max(len(kept), 1), 2)


# ── bots ────────────────────────────────────────────────────────────────────────────────────────────────────

CANDIDATES_MAX = 24
"""The words that a bot of skill 1 compares with the feedback before it guesses any word."""


def guess(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Guesses the target with probability skill squared, else a word that fits the feedback or any word."""
    fields = Fields(instance)
    if chance.random() < skill**2:
        return guess_reply(fields.text("target_word").strip(), "it fits everything known so far")
    words = _words(fields)
    earlier = [
        _read_feedback(message.text) for message in messages if message.text.startswith("guess_feedback: ")
    ]
    word = words[chance.randrange(len(words))]
    for _ in range(int(skill * CANDIDATES_MAX)):
        if all(feedback(word, tried) == colours for tried, colours in earlier):
            break
        word = words[chance.randrange(len(words))]
    return guess_reply(word, "worth a try" if earlier else "a word to start with")


def guess_reply(word: str, explanation: str) -> str:
    return f"guess: {word}\nexplanation: {explanation}"


def _read_feedback(message: str) -> tuple[str, tuple[str, ...]]:
    """Reads the guess and its colours from a feedback message."""
    pieces = message.removeprefix("guess_feedback: ").split(" ")
    return "".join(piece[0] for piece in pieces), tuple(piece[2:-1] for piece in pieces)


def criticise(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Agrees with the target only; on a failed draw, draws yes or no."""
    shown = next((message.text for message in reversed(messages) if "\nguess:" in message.text), "")
    right = (
        text_after(shown[shown.rfind("\nguess:") :], "guess:") == Fields(instance).text("target_word").strip()
    )
    agrees = right if chance.random() < skill else chance.random() < 0.5
    reason = "it matches the clue" if agrees else "another word fits better"
    return f"agreement: {'yes' if agrees else 'no'}\nexplanation: {reason}"


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
WITH_CLUE = _game("wordle_withclue", "Wordle with a clue to the word.", 5, {GUESSER: guess})
WITH_CRITIC = _game(
    "wordle_withcritic",
    "Wordle with a clue and a critic who comments on each guess before it counts.",
    14,
    {GUESSER: guess, CRITIC: criticise},
)
