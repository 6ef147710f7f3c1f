"""How the emulator's model words things: a small automaton over short words, sampled as a language model is.

Every token is four characters long, so that texts and token counts always agree. What comes next depends on the model's name, on all
that it was told and on all it said since; the four words that may come have logits, and temperature, top_p and seed do to them what
they do in a real sampler. At temperature 0 the likeliest word comes, each time the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from backends.emulator.hash_random import digest8, normal, uniforms
from harness.core.vocabulary import Message

CHARACTERS_A_TOKEN = 4
START_TOKENS = 3  # what a template costs a conversation,
MESSAGE_TOKENS = 4  # and each of its messages
OTHER_MESSAGE_TOKENS = 7  # under another template

OPENERS = (
    "Well",
    "Then",
    "Once",
    "Just",
    "Here",
    "When",
    "What",
    "Some",
    "Most",
    "Both",
    "Each",
    "Such",
    "This",
    "That",
    "Over",
    "With",
)
_STOP_WORDS = (
    *("the", "and", "but", "for", "out", "off", "why", "how", "all", "any", "few", "nor", "not", "own"),
    *("too", "can", "now", "you", "him", "his", "she", "her", "its", "who", "are", "was", "has"),
)
WORDS = tuple(" " + word for word in _STOP_WORDS)  # no game takes offence at stop words
PAUSES = ("", " ", "\n", "\n\n", "  ", " \n", "\n ", "\n\n\n")
SHORTEST, LONGEST = 48, 400  # tokens of a talk
END_SHARE = 1 / 120  # how likely a talk ends with each word


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


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it was drawn, and what else might have come.

    chosen      its place among the candidates
    logits      of the candidates, before temperature"""

    text: str
    chosen: int
    candidates: Sequence[str]
    logits: Sequence[float]

    def logprobs(self) -> list[tuple[str, float]]:
        """The candidates with their log-probabilities under the model, the likeliest first."""
        logsum = math.log(sum(map(math.exp, self.logits)))
        return sorted(
            ((word, logit - logsum) for word, logit in zip(self.candidates, self.logits, strict=True)),
            key=lambda pair: -pair[1],
        )

    def logprob(self) -> float:
        """Its own."""
        return self.logits[self.chosen] - math.log(sum(map(math.exp, self.logits)))


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
    return digest8(
        layout, *(f"{message.role}\n{message.text}".encode("utf-8", "surrogatepass") for message in messages)
    )


class _State:
    """Where a reply has come to: draws the next token from the given words."""

    def __init__(self, sampler: Sampler, start: bytes) -> None:
        self._sampler = sampler
        self._at = digest8(b"state", sampler.weights, start)

    def draw(self, words: Sequence[str]) -> Token:
        sampler = self._sampler
        drawn = blake2b(self._at, digest_size=24).digest()
        place, stride = (
            int.from_bytes(drawn[:4], "big"),
            1 + drawn[4] % 3,
        )  # distinct: four strides are fewer than any list of words
        many = len(words)
        candidates = [words[(place + step) % many] for step in (0, stride, 2 * stride, 3 * stride)]
        logits = [0.0, -2.2 * drawn[5] / 256, -1.1 - 2.2 * drawn[6] / 256, -2.2 - 2.2 * drawn[7] / 256]
        if sampler.weights_noise:
            one, other = uniforms(b"noise", self._at), uniforms(b"more noise", self._at)
            logits = [
                logit + sampler.weights_noise * normal(*pair)
                for logit, *pair in zip(logits, one, other, strict=True)
            ]
        chosen = self._chosen(logits)
        self._at = drawn[8:16] if chosen == 0 else digest8(drawn[8:16], chosen.to_bytes(1, "big"))
        return Token(candidates[chosen], chosen, candidates, logits)

    def likeliest(self, words: int) -> str:
        """What `draw` would say at temperature 0, without weighing what it would not."""
        said = ""
        for _ in range(words):
            drawn = blake2b(self._at, digest_size=24).digest()
            said += WORDS[int.from_bytes(drawn[:4], "big") % len(WORDS)]
            self._at = drawn[8:16]
        return said

    def ends(self) -> bool:
        return int.from_bytes(self._at[:2], "big") < 65_536 * END_SHARE

    def _chosen(self, logits: Sequence[float]) -> int:
        sampler = self._sampler
        top = max(logits)
        if sampler.temperature <= 0:
            return logits.index(top)
        weights = [math.exp((logit - top) / sampler.temperature) for logit in logits]
        if sampler.top_p < 1:
            weights = _nucleus(weights, sampler.top_p)
        left = (
            int.from_bytes(blake2b(self._at + sampler.luck, digest_size=8).digest(), "big")
            / 2**64
            * sum(weights)
        )
        for place, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return place
        return weights.index(max(weights))


def _nucleus(weights: Sequence[float], top_p: float) -> list[float]:
    """The likeliest that together reach top_p; the others weigh nothing."""
    goal, reached = top_p * sum(weights), 0.0
    kept = [0.0] * len(weights)
    for place in sorted(range(len(weights)), key=lambda one: -weights[one]):
        kept[place] = weights[place]
        reached += weights[place]
        if reached >= goal - 1e-12:
            break
    return kept


def talk(sampler: Sampler, start: bytes, *, tokens_max: int) -> tuple[Token, ...]:
    """A reply to a conversation that is no game's: words, until it ends by itself or has tokens_max of them."""
    state = _State(sampler, start)
    said = [state.draw(OPENERS)]
    while len(said) < min(tokens_max, LONGEST) and not (len(said) >= SHORTEST and state.ends()):
        said.append(state.draw(WORDS))
    return tuple(said)


def manner(sampler: Sampler, start: bytes, *, words: int) -> str:
    """What a model adds to a bot's reply: words that mean nothing, where the game lets any follow, or white space where it does not."""
    state = _State(sampler, start)
    if not words:
        return state.draw(PAUSES).text
    if sampler.temperature <= 0 and not sampler.weights_noise:
        return state.likeliest(words)
    return "".join(state.draw(WORDS).text for _ in range(words))
