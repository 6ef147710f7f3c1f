"""The probes' questions: short prompts that show how an access method treats its parameters. Pure.

Knows questions; nothing of answers, which counts.py, texts.py, crowd.py and reasoning.py read. Keeps: no
question needs a model that obeys; numpy is not loaded to ask. `first_asks` need no reply, `later_asks` need
the replies to the first; `alone_asks` are sent one after the other, `crowd_asks` together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.core.records import ProbeRecord
from harness.core.vocabulary import Message, Sampling

TOPICS = (
    "Tell the story of a lighthouse keeper who finds a boat without a crew. "
    "Take your time and tell it at length.",
    "Describe an old market town on a rainy morning, street by street. Leave nothing out.",
    "Explain to a curious child how bread is made, from the field to the table, in many sentences.",
    "Write a long letter from a traveller who has reached the mountains after a hard winter.",
)
REPEATS = 4  # six pairs of replies to a prompt
GREEDY_REPEATS = 16
"""If a second model answers one request in five, it gives two of 16 replies to a prompt, or more, with a
chance of .86: to two of the four topics at least with .99."""
TALK_TOKENS, SHORT_TOKENS, LONG_TOKENS = 24, 6, 300
SEED = 11  # any number; other seeds are the next ones
LENGTHS = (1, 10, 100, 1000)
FILLER = "The road goes on past fields and houses. "
BEGINNINGS = ("Answer in French.", "Answer with a list of ten animals.")
ALONE_REPEATS, CROWD_REPEATS = 5, 8  # of each topic; 32 calls of a crowd are in flight together
LOAD_TOKENS = 48  # the first difference comes late in a reply where batches only add noise
SUMS = (
    "How many whole numbers from 1 to 200 contain the digit 3? Answer with the number alone.",
    "A clock gains 4 minutes every 3 hours. It is set right at noon on Monday. What does it show when it is noon "
    "on Thursday? Answer with the time alone.",
    "In how many ways can 5 different books stand on a shelf if two of them must not stand side by side? Answer "
    "with the number alone.",
    "What is the smallest whole number above 100 that leaves 2 over after division by 3, 4 and 5? Answer with "
    "the number alone.",
)
EFFORTS = ("low", "high")  # values of reasoning_effort in OpenAI's API that other providers also accept
EFFORT_REPEATS = 3  # of each sum and effort: 24 calls
EFFORT_TOKENS = 2048  # thoughts and reply; a count that reaches it says little
LATE = 120  # fillers between a beginning and its end: about a thousand tokens, more than a context cut leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAsk:
    """One question.

    kind, name, number   the probe, its question, and the repeat of this question, from 0"""

    kind: str
    name: str
    number: int
    messages: tuple[Message, ...]
    sampling: Sampling
    tokens_max: int

    @property
    def place(self) -> str:
        return f"{self.kind} {self.name} {self.number}"


def first_asks() -> tuple[ProbeAsk, ...]:
    """Returns the questions that need no reply."""
    greedy, warm = Sampling(temperature=0.0), Sampling(temperature=1.0)
    asks = [
        _ask(kind, str(topic), number, sampling, TALK_TOKENS, TOPICS[topic])
        for kind, sampling, repeats in (("greedy", greedy, GREEDY_REPEATS), ("warm", warm, REPEATS))
        for topic in range(len(TOPICS))
        for number in range(repeats)
    ]
    asks += [
        _ask("seed", str(SEED), number, Sampling(temperature=1.0, seed=SEED), TALK_TOKENS, TOPICS[0])
        for number in range(REPEATS)
    ]
    asks += [
        _ask(
            "seed", str(SEED + other), 0, Sampling(temperature=1.0, seed=SEED + other), TALK_TOKENS, TOPICS[0]
        )
        for other in range(1, 1 + REPEATS)
    ]
    asks += [_ask("short", str(topic), 0, greedy, SHORT_TOKENS, TOPICS[topic]) for topic in (0, 1)]
    asks += [_ask("long", str(topic), 0, greedy, LONG_TOKENS, TOPICS[topic]) for topic in (0, 1)]
    asks += [_ask("length", str(words), 0, greedy, 1, "word " * words + ".") for words in LENGTHS]
    asks.append(_ask("length", "three messages", 0, greedy, 1, "word word.", "word word.", "word word."))
    asks.append(_ask("length", "one of them", 0, greedy, 1, "word word."))
    asks += [
        _ask(
            "beginning",
            f"{name} {which}",
            0,
            greedy,
            TALK_TOKENS,
            f"{beginning} {FILLER * fillers}Now go on.",
        )
        for name, fillers in (("near", 1), ("far", LATE))
        for which, beginning in enumerate(BEGINNINGS)
    ]
    return tuple(asks)


def later_asks(rows: Sequence[ProbeRecord]) -> tuple[ProbeAsk, ...]:
    """Returns the questions that need greedy replies: to stop at a word that these contain."""
    asks = []
    for topic in (0, 1):
        known = [row.reply for row in rows if row.kind == "greedy" and row.name == str(topic) and row.reply]
        stop = _stop_in(known[0]) if known else None
        if stop is not None:
            asks.append(
                _ask(
                    "stop", str(topic), 0, Sampling(temperature=0.0, stop=(stop,)), TALK_TOKENS, TOPICS[topic]
                )
            )
    return tuple(asks)


def alone_asks() -> tuple[ProbeAsk, ...]:
    """Returns the questions that are sent one after the other."""
    return _load_asks("alone", ALONE_REPEATS)


def crowd_asks() -> tuple[ProbeAsk, ...]:
    """Returns the same questions, to be in flight together."""
    return _load_asks("crowd", CROWD_REPEATS)


def _load_asks(kind: str, repeats: int) -> tuple[ProbeAsk, ...]:
    return tuple(
        _ask(kind, str(topic), number, Sampling(temperature=0.0), LOAD_TOKENS, TOPICS[topic])
        for number in range(repeats)
        for topic in range(len(TOPICS))
    )


def effort_asks(sampling: Sampling) -> tuple[ProbeAsk, ...]:
    """Returns the questions that need thoughts, each at both efforts; none if the sweep sets no
    reasoning_effort.

    sampling   of the sweep"""
    if sampling.reasoning_effort is None:
        return ()
    return tuple(
        _ask(
            "effort",
            f"{place} {effort}",
            number,
            replace(sampling, reasoning_effort=effort, tokens_max=None, seed=None, stop=()),
            EFFORT_TOKENS,
            text,
        )
        for place, text in enumerate(SUMS)
        for effort in EFFORTS
        for number in range(EFFORT_REPEATS)
    )


def expected_cost(sampling: Sampling, characters_a_token: float = 4.0) -> tuple[int, int, int]:
    """Estimates the calls, prompt tokens and completion tokens of one method's probes, an upper bound.

    sampling             of the sweep
    characters_a_token   4 is usual for English text"""
    asks = (*first_asks(), *alone_asks(), *crowd_asks(), *effort_asks(sampling))
    stops = 2
    completion = sum(ask.tokens_max for ask in asks) + stops * TALK_TOKENS
    prompt = sum(sum(len(message.text) for message in ask.messages) / characters_a_token + 8 for ask in asks)
    return len(asks) + stops, round(prompt + stops * 30), completion


def _ask(kind: str, name: str, number: int, sampling: Sampling, tokens_max: int, *texts: str) -> ProbeAsk:
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
    messages = tuple(Message(roles[place % 2], text) for place, text in enumerate(texts))
    return ProbeAsk(
        kind=kind, name=name, number=number, messages=messages, sampling=sampling, tokens_max=tokens_max
    )


def _stop_in(reply: str) -> str | None:
    """Returns a word in the second third of a reply's first words, with its space, that does not occur
    before."""
    words = reply.split(" ")[: TALK_TOKENS // 2]
    for place in range(len(words) // 3, len(words)):
        stop = f" {words[place]}"
        if words[place].isalpha() and reply.find(stop) == len(" ".join(words[:place])):
            return stop
    return None
