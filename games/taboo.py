"""Taboo: one seat describes a word without using it or its relatives, the other guesses it.

Rules as published with clembench v1.6; every oddity stands beside the line that keeps it. No reply is asked for twice: a broken
form aborts, a forbidden word loses. The published scores depend on nltk's very stemmer; it is loaded when the first puzzle is
read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from string import punctuation
from threading import Lock
from types import ModuleType

from games.fields import Fields
from games.instances import own_set, stop_words
from games.rulesets import RULE_SETS, TOKENS_MAX
from harness.core.protocols import Game
from harness.core.vocabulary import KEPT, Ask, Instance, Message, Outcome, Parse, Play, ReplyFormat, Requests

DESCRIBER = "describer"
GUESSER = "guesser"

# ── instance ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class TabooItem:
    """A word to describe, the stems forbidden in its description, and what each seat is told at the start.

    The first one read loads the stemmer: better before a game than in it."""

    target: str
    forbidden: frozenset[str]
    rounds_max: int
    describer_prompt: str
    guesser_prompt: str

    @classmethod
    def read(cls, instance: Instance) -> TabooItem:
        fields = Fields(instance)
        target = fields.text("target_word")
        related = fields.texts("related_word")
        rounds_max = fields.number("max_turns")
        listed = "\n".join(f"- {word}" for word in related[:3])
        describer_prompt = fields.text("describer_initial_prompt").replace("$TARGET_WORD$", target)
        return cls(
            target=target,
            forbidden=frozenset(map(stem, (target, *related))),
            rounds_max=rounds_max,
            describer_prompt=describer_prompt.replace("$REL_WORD$", listed).replace("$N$", str(rounds_max)),
            guesser_prompt=fields.text("guesser_initial_prompt").replace("$N$", str(rounds_max)),
        )


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CLUE_FORM = ReplyFormat(regex="CLUE: [!-~][ -~]{0,79}", tokens_max=TOKENS_MAX)
GUESS_FORM = ReplyFormat(regex="GUESS: [a-z]{1,24}", tokens_max=TOKENS_MAX)

# ── play ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """Up to three rounds of a clue and a guess. Both rule sets play alike."""
    puzzle = TabooItem.read(instance)
    describer_hears = [Message("user", puzzle.describer_prompt)]
    guesser_hears: list[Message] = []
    opening = f"{puzzle.guesser_prompt}\n\n"

    for round_number in range(1, puzzle.rounds_max + 1):
        clue = yield Ask(seat=DESCRIBER, messages=tuple(describer_hears), reply_format=CLUE_FORM)
        if not clue.startswith("CLUE:"):
            return aborted("clue does not start with CLUE:", round_number)
        if names_forbidden_word(clue, puzzle):
            return lost("clue uses a forbidden word", round_number)
        describer_hears.append(Message("assistant", clue))

        guesser_hears.append(Message("user", opening + clue))
        opening = ""
        guess = yield Ask(seat=GUESSER, messages=tuple(guesser_hears), reply_format=GUESS_FORM)
        if not guess.startswith("GUESS:"):
            return aborted("guess does not start with GUESS:", round_number)
        if bare(guess, tag="GUESS:") == puzzle.target:
            return success(round_number)
        guesser_hears.append(Message("assistant", guess))
        describer_hears.append(Message("user", guess))

    return lost("no right guess in the last round", puzzle.rounds_max)


def bare(reply: str, *, tag: str) -> str:
    """The reply without tags, case and punctuation.

    Stripped before the punctuation goes, never after: "word ." keeps a space at its end and is a wrong guess. Only ASCII
    punctuation goes, and nothing takes its place. Published scores contain all of it."""
    return reply.replace(tag, "").strip().lower().translate(WITHOUT_PUNCTUATION)


WITHOUT_PUNCTUATION = str.maketrans("", "", punctuation)


def names_forbidden_word(clue: str, puzzle: TabooItem) -> bool:
    """Whether a word of the clue has the stem of the target or of a related word.

    Words are what single spaces separate: tabs, line ends and dashes hide one. A stop word is never looked at, so a related word that
    is one cannot be violated. Published scores contain both."""
    longest = max(map(len, puzzle.forbidden)) + STEMMER_REMOVES_MAX
    spoken = {word for word in bare(clue, tag="CLUE:").split(" ") if len(word) <= longest}
    return any(stem(word) in puzzle.forbidden for word in spoken - stop_words())


STEMMER_REMOVES_MAX = 40
"""More characters than the stemmer can take off a word: longer words need no look, and its cost is the square of their length."""


@lru_cache(maxsize=1 << 15)
def stem(word: str) -> str:
    return _stemmer()(word)


@cache
def _stemmer() -> Callable[[str], str]:
    """Not imported with this file, and not as others import it: the package nltk loads all that it has, and numpy and scipy where it
    finds them, which takes longer than anything else at a sweep's start. So the few files that the stemmer is made of are loaded under
    parents that are empty, and all of it is forgotten: whoever imports nltk after that has the whole. Before play: a thread that
    imported it in the very moment would find it empty."""
    with _loading:
        if "nltk" not in sys.modules:
            sys.modules.update(_empty_parents())
            try:
                return _snowball()
            except ImportError:
                pass  # an nltk whose stemmer needs more of it
            finally:
                for name in list(sys.modules):  # a list at once: other threads may be importing
                    if name.partition(".")[0] == "nltk":
                        del sys.modules[name]
        return _snowball()


_loading = Lock()


def _snowball() -> Callable[[str], str]:
    stemmer: Callable[[str], str] = import_module("nltk.stem.snowball").SnowballStemmer("english").stem
    return stemmer


def _empty_parents() -> Iterator[tuple[str, ModuleType]]:
    """Packages that are where nltk's are, and have run nothing; its stop words the stemmer names but does not ask for."""
    found = find_spec("nltk")
    folder = Path(found.origin).parent if found and found.origin else Path()
    for name in ("nltk", "nltk.stem", "nltk.corpus"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        package.stopwords = None  # type: ignore[attr-defined]
        yield name, package


# ── scores ───────────────────────────────────────────────────────────────────────────────────────────────────────────
# A request is a round, not a call, and only an abort's last round is a violated one: that is how the published figures count.


def success(rounds: int) -> Outcome:
    requests = Requests(total=rounds, parsed=rounds)
    return Outcome(
        state="success",
        score=100 / rounds,
        reason="word guessed",
        requests=requests,
        metrics={"Rounds": float(rounds)},
    )


def lost(reason: str, rounds: int) -> Outcome:
    requests = Requests(total=rounds, parsed=rounds)
    return Outcome(
        state="lost",
        score=0.0,
        reason=reason,
        requests=requests,
        metrics={"Rounds": float(rounds)},
        last_parse=KEPT,
    )


def aborted(reason: str, rounds: int) -> Outcome:
    requests = Requests(total=rounds, parsed=rounds - 1, violated=1)
    return Outcome(
        state="aborted", score=None, reason=reason, requests=requests, last_parse=Parse(violation=reason)
    )


# ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def describe(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Says words associated with the target where the instance lists some; unskilled, says something vague or blurts a forbidden word."""
    if chance.random() < skill:
        associations = _associations(instance)
        return (
            "CLUE: " + ", ".join(chance.sample(associations, min(2, len(associations))))
            if associations
            else "CLUE: you know it"
        )
    blurted = Fields(instance).texts("related_word")[0]
    return f"CLUE: {blurted}" if chance.random() < 0.5 else "CLUE: something"


def guess(instance: Instance, heard: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Finds the word as often as its skill says, half as often after a vague clue; otherwise says a word near it."""
    vague = heard[-1].text.endswith("CLUE: something")
    if chance.random() < (skill / 2 if vague else skill):
        return f"GUESS: {bare(Fields(instance).text('target_word'), tag='GUESS:')}"
    return f"GUESS: {chance.choice(Fields(instance).texts('related_word'))}"


def _associations(instance: Instance) -> Sequence[str]:
    fields = Fields(instance)
    return fields.texts("associations") if "associations" in fields else ()


GAME = Game(
    name="taboo",
    summary="Describe a word without naming it or its relatives; the other seat guesses.",
    seats=(DESCRIBER, GUESSER),
    rule_sets=RULE_SETS,
    turns_typical=4,
    play=play,
    instances=lambda: own_set("taboo"),
    bots={DESCRIBER: describe, GUESSER: guess},
)
