"""Measures what one scored token shows of the weights that wrote it. Pure.

At temperature 0 the reference itself writes its most likely token. The token margin is the log-probability
of the most likely token minus that of the token in the reply, in nats (natural logarithms). It is at most
CAP, and for the test at most CAP_TESTED. Above temperature 0, a token that the reference's own sampler drew
has a uniform place in the distribution from which it was drawn.
Sources: Token-DiFR, arXiv 2511.20621 (the capped margin); the randomised probability integral transform
(Czado, Gneiting & Held 2009, Biometrics 65)."""

from __future__ import annotations

from math import exp
from typing import NamedTuple

from harness.core.vocabulary import ScoredToken

CAP = 5.0  # nats, of what is stored
# Nats, of what is tested. The text of a reply can be split into other tokens than those that were written.
# The margins of such a reply are some nats, and say nothing of the weights: at 5 they hid bfloat16 beside
# float32 (power .28 in 3,000 tokens), which .02 shows.
CAP_TESTED = 0.02
TEMPERATURE_MAX = 1.0  # above it, unlisted tokens may hold most of the probability
NUCLEUS_ROUNDING = 1e-9


class Place(NamedTuple):
    """The probability before a token, and up to it, of the tokens by falling probability."""

    low: float
    high: float


def margin(token: ScoredToken) -> float:
    """Returns the log-probability of the most likely token minus that of this one, at most CAP."""
    return min(CAP, max(0.0, max(token.top, default=token.logprob) - token.logprob))


def place(token: ScoredToken, *, temperature: float, top_p: float) -> Place:
    """Returns the place of the token in the distribution at this temperature, cut to top_p.

    Tokens that are not listed count with the largest probability that they can have together, which is exact
    at temperature 1.
    temperature   above 0, at most TEMPERATURE_MAX"""
    weights = [exp(value / temperature) for value in token.top]
    left = max(0.0, 1.0 - sum(map(exp, token.top)))
    least = min(token.top, default=0.0)
    total = sum(weights) + left * exp(least * (1 / temperature - 1))
    inside, reached = 0, 0.0
    while inside < len(weights) and reached < top_p * total - NUCLEUS_ROUNDING:
        reached += weights[inside]
        inside += 1
    whole = total if reached < top_p * total - NUCLEUS_ROUNDING else reached
    if token.rank > len(weights):
        return Place(min(1.0, sum(weights) / whole), 1.0)
    before = sum(weights[: token.rank - 1])
    return Place(min(1.0, before / whole), min(1.0, (before + weights[token.rank - 1]) / whole))
