"""Replies that hardly repeat: words drawn at random around a prompt's topic, through methods with known
differences.

A model of data, not data. A reply mixes frequent words, by Zipf's law, with words of its prompt's topic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.audit.replies.columns import ReplyColumns

FREQUENT, TOPIC, VOCABULARY = 300, 25, 1_600
REFUSAL = "I am sorry, but I cannot help with that."
_LETTERS = np.array(list("abcdefghijklmnoprstuvwy"))


def _vocabulary(rng: np.random.Generator) -> np.ndarray:
    return np.array(["".join(rng.choice(_LETTERS, size=rng.integers(3, 9))) for _ in range(VOCABULARY)])


WORDS = _vocabulary(np.random.default_rng(5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The style in which a method writes; by default that of the reference.

    words            the shortest reply and the end of the range of lengths
    of_topic         share of a reply's words that are of its prompt's topic; 0: replies do not depend on the
                     prompt
    refused, foreign share of replies that refuse, or that are replies to another prompt
    other_topics     every prompt has another topic than for the reference
    other_words      no word is in common with the reference"""

    words: tuple[int, int] = (10, 30)
    of_topic: float = 0.4
    refused: float = 0.0
    foreign: float = 0.0
    other_topics: bool = False
    other_words: bool = False


REFERENCE = Style()
DIFFERENT_STYLES: dict[str, Style] = {
    "no word in common": Style(other_words=True),
    "half the length": Style(words=(5, 15)),
    "other subjects": Style(other_topics=True),
    "10 % refusals": Style(refused=0.1),
    "10 % foreign": Style(foreign=0.1),
}


def independent_of_the_prompt(style: Style) -> Style:
    """Returns the style for replies of some thirty random words, whatever the prompt."""
    return replace(style, of_topic=0.0, words=(style.words[0] + 10, style.words[1] + 10))


def write(styles: tuple[Style, ...], *, prompts: int, repeats: int, seed: int) -> ReplyColumns:
    """Returns every prompt's replies through every method; methods are m0, m1, ..., prompts are items of
    their own."""
    rng = np.random.default_rng(seed)
    topics = [_topics(prompts, rng) for _ in range(2)]
    rows = [
        (f"m{m}", prompt, _reply(style, topics[style.other_topics], prompt, rng))
        for m, style in enumerate(styles)
        for prompt in range(prompts)
        for _ in range(repeats)
    ]
    prompt_of = [prompt for _, prompt, _ in rows]
    return ReplyColumns(
        method=[method for method, _, _ in rows],
        item=prompt_of,
        turn=[0] * len(rows),
        ask_hash=prompt_of,
        reply=[text for _, _, text in rows],
        size=[len(text) for _, _, text in rows],
        ending=["stop"] * len(rows),
    )


def _topics(prompts: int, rng: np.random.Generator) -> np.ndarray:
    """Draws the words of each prompt's topic, (prompts, TOPIC), from the middle of the vocabulary."""
    return np.array(
        [rng.choice(800 - FREQUENT, size=TOPIC, replace=False) + FREQUENT for _ in range(prompts)]
    )


def _reply(style: Style, topics: np.ndarray, prompt: int, rng: np.random.Generator) -> str:
    if rng.random() < style.refused:
        return REFUSAL
    if rng.random() < style.foreign:
        prompt = int(rng.integers(len(topics)))
    count = int(rng.integers(*style.words))
    rank = np.minimum(
        np.floor(np.exp(rng.random(count) * np.log(FREQUENT + 1))).astype(int) - 1, FREQUENT - 1
    )
    of_topic = rng.random(count) < style.of_topic
    word = np.where(of_topic, topics[prompt][rng.integers(TOPIC, size=count)], rank)
    return " ".join(WORDS[word + 800 * style.other_words])
