"""The prompts of a load test: lines of a user's file, or texts of given lengths; in an order without end.

Pure but for `read_prompts`. Lengths are in the server's own tokens as far as a TokenScale knows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from typing import cast, get_args

import orjson

from harness.core.errors import SpecError
from harness.core.seeds import stream
from harness.core.user_files import MIB, read_text
from harness.core.vocabulary import Message, Prompt, ReplyFormat, Role
from harness.loadtest.lengths import LengthDistribution

TRAFFIC_BYTES_MAX = 512 * MIB  # of recorded traffic, which is held in memory
# Common words of one token each in the vocabularies of most models.
_WORDS = (
    *("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school"),
    *("state", "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week"),
    *("company", "system", "program", "question", "work", "number", "night", "point", "home", "water"),
    *("room", "mother", "area", "money", "story", "fact", "month", "lot", "right", "study", "book", "eye"),
    *("job", "word", "business", "issue", "side", "kind", "head", "house", "service", "friend", "father"),
)


def read_prompts(path: Path, *, tokens_max: int) -> list[Prompt]:
    """Reads one prompt from each line: plain text, or JSON with "messages" or "prompt".

    raises  SpecError naming the line that is neither"""
    lines = read_lines(path, "one prompt in each line")
    prompts = [
        Prompt(
            messages=_messages(line, f"{path}:{number}"),
            reply_format=ReplyFormat(regex=".*", tokens_max=tokens_max),
            episode=f"bench-{number}",
            item=f"prompts:{number}",
            seat="asker",
            turn=0,
        )
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not prompts:
        raise SpecError(f"{path}: contains no prompt; write one in each line")
    return prompts


def read_lines(path: Path, wanted: str) -> list[str]:
    """Reads a text file.

    wanted  its content in words
    raises  SpecError if it cannot be read"""
    text = read_text(path, bytes_max=TRAFFIC_BYTES_MAX, remedy=f"name a file with {wanted}")
    return text.split("\n")  # splitlines would cut texts, at U+2028 for example


def _messages(line: str, where: str) -> tuple[Message, ...]:
    if not line.lstrip().startswith("{"):
        return (Message("user", line),)
    try:
        found = messages_in(orjson.loads(line))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SpecError(
            f"{where}: not a prompt ({error}); write text, or JSON with messages or prompt"
        ) from error
    if found is None:
        raise SpecError(f"{where}: JSON without messages or prompt")
    return found


def messages_in(value: object) -> tuple[Message, ...] | None:
    """Returns the messages of an object with "messages" or "prompt"; None if it has neither.

    raises  KeyError, TypeError for messages that are none"""
    match value:
        case {"messages": [*messages]} if messages:
            return tuple(map(_message, messages))
        case {"prompt": str(text)}:
            return (Message("user", text),)
    return None


def _message(value: Mapping[str, object]) -> Message:
    role, text = value["role"], value["content"]
    if role not in get_args(Role) or not isinstance(text, str):
        raise TypeError(
            f"a message has role {role!r} and content {text!r}, not one of {get_args(Role)} and a text"
        )
    return Message(cast("Role", role), text)


def repeat_shuffled(prompts: Sequence[Prompt], *, seed: int) -> Iterator[Prompt]:
    """Yields the prompts in a shuffled order, again and again. From the second round on a prefix cache knows
    them."""
    order = list(prompts)
    stream(seed, "traffic").shuffle(order)
    return cycle(order)


# --- texts of given lengths -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScale:
    """The server's count of the tokens of a prompt of words: overhead + a_word * words."""

    overhead: float = 0.0
    a_word: float = 1.0

    def words(self, tokens: int) -> int:
        """Returns how many words make a prompt of so many tokens; at least one."""
        return max(1, round((tokens - self.overhead) / self.a_word))


PROBE_WORDS = (40, 240)


def token_scale(counts: Sequence[int | None]) -> TokenScale:
    """Returns the scale from the server's counts of two prompts of PROBE_WORDS words; one word is one token
    where the server does not count."""
    few, many = counts
    if few is None or many is None or many <= few:
        return TokenScale()
    a_word = (many - few) / (PROBE_WORDS[1] - PROBE_WORDS[0])
    return TokenScale(overhead=few - a_word * PROBE_WORDS[0], a_word=a_word)


def words_prompt(words: int, *, chance: Random, tokens_max: int, opening: str = "") -> Prompt:
    """Returns a prompt of so many words, which no game asks: an emulator's automaton answers it.

    opening   text that the prompt begins with; its words are not counted"""
    text = " ".join(chance.choices(_WORDS, k=words))
    return Prompt(
        messages=(Message("user", f"{opening} {text}" if opening else text),),
        reply_format=ReplyFormat(regex=".*", tokens_max=tokens_max),
        episode="bench",
        item="",
        seat="asker",
        turn=0,
    )


def prompts_of_lengths(
    prompt_tokens: LengthDistribution,
    output_tokens: LengthDistribution,
    *,
    shared_prefix: int,
    scale: TokenScale,
    seed: int,
    stage: str,
) -> Iterator[Prompt]:
    """Yields prompts of drawn lengths without end. Each is random, so that a prefix cache knows none of them.

    shared_prefix   tokens at the start that all prompts share;  they count as a part of the length
    scale           of the server
    stage           names the stage: all stages have the same lengths, and each its own words"""
    chance, spoken = stream(seed, "lengths"), stream(seed, "words", stage)
    shared = scale.words(shared_prefix) if shared_prefix else 0
    opening = " ".join(stream(seed, "shared prefix").choices(_WORDS, k=shared))
    while True:
        words = max(1, scale.words(prompt_tokens.draw_whole(chance)) - shared)
        yield words_prompt(words, chance=spoken, tokens_max=output_tokens.draw_whole(chance), opening=opening)


def with_output_lengths(
    prompts: Iterator[Prompt], output_tokens: LengthDistribution, *, seed: int
) -> Iterator[Prompt]:
    """Yields the prompts with drawn limits of their replies."""
    chance = stream(seed, "output lengths")
    for prompt in prompts:
        limit = output_tokens.draw_whole(chance)
        yield prompt._replace(reply_format=dataclasses.replace(prompt.reply_format, tokens_max=limit))


def random_line(chance: Random) -> str:
    return f"[{chance.getrandbits(64):016x}]"


def with_first_line(prompt: Prompt, line: str) -> Prompt:
    """Returns the prompt with a line before its first message: no prefix cache knows a random one."""
    first, *others = prompt.messages
    return prompt._replace(messages=(Message(first.role, f"{line}\n{first.text}"), *others))
