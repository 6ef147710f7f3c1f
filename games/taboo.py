"""Taboo: one seat describes a word without the word itself and its related words; the other seat guesses it.

The rules are those published with clembench v1.6. A comment marks each line that keeps an oddity of them. No
reply is asked for twice: a reply in a wrong format aborts the episode, and a forbidden word loses it. Reading
the first instance loads the stemmer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from string import punctuation

from games.fields import Fields
from games.instances import own_set, stop_words
from games.rulesets import RULE_SETS, TOKENS_MAX
from games.stemmer import CHARACTERS_REMOVED_MAX, stem
from harness.core.protocols import Game
from harness.core.vocabulary import KEPT, Ask, Instance, Message, Outcome, Parse, Play, ReplyFormat, Requests

DESCRIBER = "describer"
GUESSER = "guesser"

# ── instance ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class TabooItem:
    """A word to describe, the stems that a clue may not contain, and the first prompt of each seat."""

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
        rounds_max = fields.number("max_turns", least=1)
        listed = "\n".join(f"- {word}" for word in related[:3])
        describer_prompt = fields.text("describer_initial_prompt").replace("$TARGET_WORD$", target)
        return cls(
            target=target,
            forbidden=frozenset(map(stem, (target, *related))),
            rounds_max=rounds_max,
            describer_prompt=describer_prompt.replace("$REL_WORD$", listed).replace("$N$", str(rounds_max)),
            guesser_prompt=fields.text("guesser_initial_prompt").replace("$N$", str(rounds_max)),
        )


# ── reply formats ───────────────────────────────────────────────────────────────────────────────────────────

CLUE_FORMAT = ReplyFormat(regex="CLUE: [!-~][ -~]{0,79}", tokens_max=TOKENS_MAX)
GUESS_FORMAT = ReplyFormat(regex="GUESS: [a-z]{1,24}", tokens_max=TOKENS_MAX)

# ── play ────────────────────────────────────────────────────────────────────────────────────────────────────


def play(instance: Instance, rules: str) -> Play:
    """Plays up to three rounds of a clue and a guess; both rule sets are the same here."""
    item = TabooItem.read(instance)
    describer_messages = [Message("user", item.describer_prompt)]
    guesser_messages: list[Message] = []
    opening = f"{item.guesser_prompt}\n\n"

    for round_number in range(1, item.rounds_max + 1):
        clue = yield Ask(seat=DESCRIBER, messages=tuple(describer_messages), reply_format=CLUE_FORMAT)
        if not clue.startswith("CLUE:"):
            return aborted("clue does not start with CLUE:", round_number)
        if uses_forbidden_word(clue, item):
            return lost("clue uses a forbidden word", round_number)
        describer_messages.append(Message("assistant", clue))

        guesser_messages.append(Message("user", opening + clue))
        opening = ""
        guess = yield Ask(seat=GUESSER, messages=tuple(guesser_messages), reply_format=GUESS_FORMAT)
        if not guess.startswith("GUESS:"):
            return aborted("guess does not start with GUESS:", round_number)
        if normalise_reply(guess, tag="GUESS:") == item.target:
            return success(round_number)
        guesser_messages.append(Message("assistant", guess))
        describer_messages.append(Message("user", guess))

    return lost("no right guess in the last round", item.rounds_max)


def normalise_reply(reply: str, *, tag: str) -> str:
    """Returns the reply in lower case, without its tag and without ASCII punctuation.

    White space is stripped before punctuation is removed, and not again: "word ." keeps a space at its end
    and is a wrong guess. Nothing replaces the removed characters. The published scores contain these
    effects."""
    return reply.replace(tag, "").strip().lower().translate(WITHOUT_PUNCTUATION)


WITHOUT_PUNCTUATION = str.maketrans("", "", punctuation)


def uses_forbidden_word(clue: str, item: TabooItem) -> bool:
    """Tells if a word of the clue has the stem of the target or of a related word.

    Single spaces separate words: a tab, a line end or a dash hides one. Stop words are skipped, so a related
    word that is a stop word can be used. The published scores contain both effects."""
    longest = max(map(len, item.forbidden)) + CHARACTERS_REMOVED_MAX
    words = {word for word in normalise_reply(clue, tag="CLUE:").split(" ") if len(word) <= longest}
    return any(stem(word) in item.forbidden for word in words - stop_words())


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────
# The published figures count one request a round, not one a call, and one violated request in an aborted
# episode.


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


# ── bots ────────────────────────────────────────────────────────────────────────────────────────────────────


def describe(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Names associated words of the target; on a failed draw, gives a vague or a forbidden clue."""
    if chance.random() < skill:
        associations = _associations(instance)
        return (
            "CLUE: " + ", ".join(chance.sample(associations, min(2, len(associations))))
            if associations
            else "CLUE: you know it"
        )
    forbidden = Fields(instance).texts("related_word")[0]
    return f"CLUE: {forbidden}" if chance.random() < 0.5 else "CLUE: something"


def guess(instance: Instance, messages: tuple[Message, ...], skill: float, chance: Random) -> str:
    """Guesses the target, after a vague clue with half the skill; on a failed draw, a related word."""
    vague = messages[-1].text.endswith("CLUE: something")
    if chance.random() < (skill / 2 if vague else skill):
        return f"GUESS: {normalise_reply(Fields(instance).text('target_word'), tag='GUESS:')}"
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
