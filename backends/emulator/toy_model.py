"""The emulator's toy language model: an automaton over short words, sampled as a language model is.

Every token is four characters long, so that texts and token counts always agree. The next token depends on
the model's name, on the conversation and on the tokens generated so far. Four candidate words have logits;
temperature, top_p and seed act on them as in a real sampler. At temperature 0 the most likely word comes,
each time the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from backends.emulator.hash_random import digest8, normal, uniforms
from harness.core.vocabulary import Message

CHARACTERS_A_TOKEN = 4
START_TOKENS = 3  # cost of the chat template for a conversation
MESSAGE_TOKENS = 4  # and for each of its messages (both as OpenAI counted its first chat models)
OTHER_MESSAGE_TOKENS = 7  # under another model's template: any other number serves

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
WORDS = tuple(" " + word for word in _STOP_WORDS)  # no game forbids stop words
PAUSES = ("", " ", "\n", "\n\n", "  ", " \n", "\n ", "\n\n\n")
TOKENS_MIN, TOKENS_MAX = 48, 400  # tokens of a generated text
END_OF_REPLY = "<|end|>"
IMPOSSIBLE = -20.0  # log-probability of a token that is no candidate
END_SHARE = 1 / 120  # probability that the text ends after a token


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """The settings of one generation.

    weights        names the model
    draw_key       names the draw: equal keys, equal draws
    weights_noise  sd of what is added to the logits"""

    weights: bytes
    temperature: float
    top_p: float
    draw_key: bytes
    weights_noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it was drawn, with its alternatives.

    chosen      its place among the candidates; -1: it is none of them
    logits      of the candidates, before temperature"""

    text: str
    chosen: int
    candidates: Sequence[str]
    logits: Sequence[float]

    def logprobs(self) -> list[tuple[str, float]]:
        """Returns the candidates with their log-probabilities, the most likely first."""
        logsum = math.log(sum(map(math.exp, self.logits)))
        return sorted(
            ((word, logit - logsum) for word, logit in zip(self.candidates, self.logits, strict=True)),
            key=lambda pair: -pair[1],
        )

    def logprob(self) -> float:
        """Returns the log-probability of the token itself."""
        if self.chosen < 0:
            return IMPOSSIBLE
        return self.logits[self.chosen] - math.log(sum(map(math.exp, self.logits)))


def tokens_in(text: str) -> int:
    """Returns how many tokens the text has."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def prompt_tokens(messages: Sequence[Message], *, other_template: bool = False) -> int:
    """Returns how many tokens a conversation has, its chat template included."""
    each = OTHER_MESSAGE_TOKENS if other_template else MESSAGE_TOKENS
    return START_TOKENS + sum(each + tokens_in(message.text) for message in messages)


def last_tokens(messages: tuple[Message, ...], tokens_max: int | None) -> tuple[Message, ...]:
    """Returns as much of the conversation's end as fits into tokens_max."""
    if tokens_max is None or prompt_tokens(messages) <= tokens_max:
        return messages
    kept: list[Message] = []
    for message in reversed(messages):
        left = tokens_max - prompt_tokens((*kept, Message(message.role, "")))
        if left <= 0:
            break
        kept.append(Message(message.role, message.text[-left * CHARACTERS_A_TOKEN :]))
    return tuple(reversed(kept))


def conversation_state(messages: Sequence[Message], *, other_template: bool = False) -> bytes:
    """Returns the state from which the model generates after these messages."""
    layout = b"other" if other_template else b"own"
    return digest8(
        layout, *(f"{message.role}\n{message.text}".encode("utf-8", "surrogatepass") for message in messages)
    )


class _State:
    """The state of a generation: draws the next token from a list of words."""

    def __init__(self, sampler: Sampler, start: bytes) -> None:
        self._sampler = sampler
        self._at = digest8(b"state", sampler.weights, start)

    def draw(self, words: Sequence[str]) -> Token:
        drawn, candidates, logits = self.offer(words)
        chosen = self._chosen(logits)
        self._at = drawn[8:16] if chosen == 0 else digest8(drawn[8:16], chosen.to_bytes(1, "big"))
        return Token(candidates[chosen], chosen, candidates, logits)

    def follow(self, words: Sequence[str], text: str) -> Token:
        """Returns this token of a given text with the model's candidates, and advances the state by it.

        The token's place is -1 if the model has no such candidate."""
        drawn, candidates, logits = self.offer(words)
        chosen = candidates.index(text) if text in candidates else -1
        after = chosen.to_bytes(1, "big") if chosen > 0 else b"other" + text.encode("utf-8", "surrogatepass")
        self._at = drawn[8:16] if chosen == 0 else digest8(drawn[8:16], after)
        return Token(text, chosen, candidates, logits)

    def offer(self, words: Sequence[str]) -> tuple[bytes, list[str], list[float]]:
        """Returns the state's random bytes, and the candidates for the next token with their logits."""
        sampler = self._sampler
        drawn = blake2b(self._at, digest_size=24).digest()
        # The four places are distinct for the list lengths used here: 8, 16 and 27.
        place, stride = int.from_bytes(drawn[:4], "big"), 1 + drawn[4] % 3
        many = len(words)
        candidates = [words[(place + step) % many] for step in (0, stride, 2 * stride, 3 * stride)]
        logits = [0.0, -2.2 * drawn[5] / 256, -1.1 - 2.2 * drawn[6] / 256, -2.2 - 2.2 * drawn[7] / 256]
        if sampler.weights_noise:
            one, other = uniforms(b"noise", self._at), uniforms(b"more noise", self._at)
            logits = [
                logit + sampler.weights_noise * normal(*pair)
                for logit, *pair in zip(logits, one, other, strict=True)
            ]
        return drawn, candidates, logits

    def most_likely(self, words: int) -> str:
        """Returns the text that `draw` generates at temperature 0 without noise, without computing the
        alternatives."""
        text = ""
        for _ in range(words):
            drawn = blake2b(self._at, digest_size=24).digest()
            text += WORDS[int.from_bytes(drawn[:4], "big") % len(WORDS)]
            self._at = drawn[8:16]
        return text

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
            int.from_bytes(blake2b(self._at + sampler.draw_key, digest_size=8).digest(), "big")
            / 2**64
            * sum(weights)
        )
        for place, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return place
        return weights.index(max(weights))


def _nucleus(weights: Sequence[float], top_p: float) -> list[float]:
    """Sets to 0 the weights outside the most likely candidates that together reach top_p."""
    goal, reached = top_p * sum(weights), 0.0
    kept = [0.0] * len(weights)
    for place in sorted(range(len(weights)), key=lambda one: -weights[one]):
        kept[place] = weights[place]
        reached += weights[place]
        if reached >= goal - 1e-12:
            break
    return kept


def generate_text(sampler: Sampler, start: bytes, *, tokens_max: int) -> tuple[Token, ...]:
    """Generates a reply to a conversation of no game: it ends by itself or after tokens_max tokens."""
    state = _State(sampler, start)
    tokens = [state.draw(OPENERS)]
    while len(tokens) < min(tokens_max, TOKENS_MAX) and not (len(tokens) >= TOKENS_MIN and state.ends()):
        tokens.append(state.draw(WORDS))
    return tuple(tokens)


def score_text(sampler: Sampler, start: bytes, pieces: Sequence[str]) -> tuple[Token, ...]:
    """Returns the tokens of a given reply to a conversation, each with this model's candidates.

    pieces   the reply's tokens; END_OF_REPLY for its end"""
    state = _State(sampler, start)
    tokens = []
    for place, piece in enumerate(pieces):
        if place >= TOKENS_MIN and state.ends():
            tokens.append(Token(piece, 0 if piece == END_OF_REPLY else -1, (END_OF_REPLY,), (0.0,)))
        else:
            tokens.append(state.follow(WORDS if place else OPENERS, piece))
    return tuple(tokens)


def tokens_of_text(sampler: Sampler, start: bytes, text: str) -> tuple[Token, ...]:
    """Returns the tokens of a text that the model did not generate, such as a bot's reply, with
    log-probabilities: each piece replaces the word that the model would have drawn at its place."""
    state = _State(sampler, start)
    tokens = []
    for place in range(0, len(text), CHARACTERS_A_TOKEN):
        piece, drawn = text[place : place + CHARACTERS_A_TOKEN], state.draw(WORDS)
        candidates = [piece if n == drawn.chosen else word for n, word in enumerate(drawn.candidates)]
        tokens.append(Token(piece, drawn.chosen, candidates, drawn.logits))
    return tuple(tokens)


def generate_filler(sampler: Sampler, start: bytes, *, words: int) -> str:
    """Generates what follows a bot's reply: this many words without meaning, or, for 0 words, white space."""
    state = _State(sampler, start)
    if not words:
        return state.draw(PAUSES).text
    if sampler.temperature <= 0 and not sampler.weights_noise:
        return state.most_likely(words)
    return "".join(state.draw(WORDS).text for _ in range(words))
