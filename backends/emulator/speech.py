"""How the emulator's model words things: a small automaton over short words, sampled as a language model is.

Every token is four characters long, so that texts and token counts always agree. What comes next depends on the model's name, on all
that it was told and on all it said since; the four words that may come have logits, and temperature, top_p and seed do to them what
they do in a real sampler. At temperature 0 the likeliest word comes, each time the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.emulator.luck import digest8, normal, uniforms
from harness.core.vocabulary import Message

CHARACTERS_A_TOKEN = 4
START_TOKENS = 3  # what a template costs a conversation,
MESSAGE_TOKENS = 4  # and each of its messages
OTHER_MESSAGE_TOKENS = 7  # under another template

OPENERS = ("Well", "Then", "Once", "Just", "Here", "When", "What", "Some", "Most", "Both", "Each", "Such", "This", "That", "Over", "With")
WORDS = tuple(
    " " + word for word in "the and but for out off why how all any few nor not own too can now you him his she her its who are was has".split()
)  # stop words, every one: no game takes offence at them
PAUSES = ("", " ", "\n", "\n\n")
LONGEST = 400
END_SHARE = 1 / 120  # how likely a talk ends with each word
_LOGIT_STEP = 1.1  # how far apart the first candidates lie, on average; the top one has about .7 at temperature 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How words are drawn.

    weights       the model
    weights_noise sd of what was done to its logits
    luck          names the draw: equal luck, equal draw"""

    weights: bytes
    temperature: float
    top_p: float
    luck: bytes
    weights_noise: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token as it was drawn: its log-probability under the model, and those of the candidates, the likeliest first."""

    text: str
    logprob: float
    candidates: tuple[tuple[str, float], ...]


def tokens_in(text: str) -> int:
    """About as many tokens as this text would cost."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def prompt_tokens(messages: Sequence[Message], *, other_template: bool = False) -> int:
    """What a conversation costs, its template included."""
    each = OTHER_MESSAGE_TOKENS if other_template else MESSAGE_TOKENS
    return START_TOKENS + sum(each + tokens_in(message.text) for message in messages)


def told(messages: Sequence[Message], *, other_template: bool = False) -> bytes:
    """What the model has been told, as the state its words start from."""
    layout = b"other" if other_template else b"own"
    return digest8(layout, *(f"{message.role}\n{message.text}".encode("utf-8", "surrogatepass") for message in messages))


class _State:
    """Where a reply has come to: draws the next token from the given words."""

    def __init__(self, sampler: Sampler, start: bytes) -> None:
        self._sampler = sampler
        self._at = digest8(b"state", sampler.weights, start)

    def draw(self, words: Sequence[str]) -> Token:
        sampler = self._sampler
        numbers = uniforms(b"logits", self._at)
        first = int.from_bytes(self._at[:4], "big")
        stride = 1 + self._at[4] % 3  # the candidates are distinct: 4 strides are fewer than any list of words
        candidates = [words[(first + place * stride) % len(words)] for place in range(4)]
        logits = [0.0, -_LOGIT_STEP * 2 * numbers[0], -_LOGIT_STEP * (1 + 2 * numbers[1]), -_LOGIT_STEP * (2 + 2 * numbers[2])]
        if sampler.weights_noise:
            shift = uniforms(b"noise", self._at), uniforms(b"more noise", self._at)
            for place in range(4):
                logits[place] += sampler.weights_noise * normal(shift[0][place], shift[1][place])
        chosen = self._chosen(logits)
        logsum = math.log(sum(math.exp(logit) for logit in logits))
        listed = sorted(((word, logit - logsum) for word, logit in zip(candidates, logits, strict=True)), key=lambda pair: -pair[1])
        self._at = digest8(self._at, chosen.to_bytes(1, "big"))
        return Token(text=candidates[chosen], logprob=logits[chosen] - logsum, candidates=tuple(listed))

    def draw_text(self, words: Sequence[str]) -> str:
        return self.draw(words).text

    def ends(self) -> bool:
        return uniforms(b"end", self._at)[0] < END_SHARE

    def _chosen(self, logits: Sequence[float]) -> int:
        sampler = self._sampler
        order = sorted(range(4), key=lambda place: -logits[place])
        if sampler.temperature <= 0:
            return order[0]
        weights = [math.exp((logits[place] - logits[order[0]]) / sampler.temperature) for place in order]
        kept, total = _nucleus(weights, sampler.top_p)
        left = uniforms(b"draw", self._at, sampler.luck)[0] * total
        for place, weight in zip(order[:kept], weights, strict=False):
            left -= weight
            if left < 0:
                return place
        return order[kept - 1]


def _nucleus(weights: Sequence[float], top_p: float) -> tuple[int, float]:
    """How many of the likeliest together reach top_p, and what they weigh."""
    goal, reached = top_p * sum(weights), 0.0
    for number, weight in enumerate(weights, 1):
        reached += weight
        if reached >= goal - 1e-12:
            return number, reached
    return len(weights), reached


def talk(sampler: Sampler, start: bytes, *, tokens_max: int) -> tuple[Token, ...]:
    """A reply to a conversation that is no game's: words, until it ends by itself or has tokens_max of them."""
    state = _State(sampler, start)
    said = [state.draw(OPENERS)]
    while len(said) < min(tokens_max, LONGEST) and not state.ends():
        said.append(state.draw(WORDS))
    return tuple(said)


def manner(sampler: Sampler, start: bytes, *, words: int) -> str:
    """What a model adds to a bot's reply: words that mean nothing, where the game lets any follow, or white space where it does not."""
    state = _State(sampler, start)
    if not words:
        return state.draw_text(PAUSES)
    return "".join(state.draw_text(WORDS) for _ in range(words))
