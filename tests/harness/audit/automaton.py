"""Replies with a known truth: a random automaton that writes letters, through access methods with known
defects.

A model of data, not data. 3,001 states, 48 tokens; each state has logits, and its next state follows from the
token. At temperature 0 a request adds a little noise to every logit, as batched arithmetic does; perturbed
logits represent coarser weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.audit.replies.columns import ReplyColumns
from harness.audit.scores.arrays import FloatArray, IntArray

STATES, TOKENS = 3_001, 48
LETTERS = np.frombuffer(
    b"\0      abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO", dtype=np.uint8
)  # 0 ends the reply, six are spaces
SHARPNESS = 12.0  # logits' sd: the likeliest token has .86 on average
NOISE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An access method that serves the automaton; by default unchanged, at temperature 0.

    weights      sd of what is added to every logit for good
    noise        sd of what each request adds
    routed       share of requests answered by another automaton
    tokens_max   the longest reply"""

    temperature: float = 0.0
    weights: float = 0.0
    noise: float = NOISE
    routed: float = 0.0
    tokens_max: int = 60


TRUE = Served()
EIGHT_BIT = Served(weights=0.06)
FOUR_BIT = Served(weights=0.27)
ROUTED = Served(routed=0.2)
WARM = Served(temperature=0.3)
CAPPED = Served(tokens_max=12)


def ask(methods: Sequence[Served], *, prompts: int, repeats: int, seed: int) -> ReplyColumns:
    """Every prompt put to every method so often; methods are m0, m1, ...; the automaton is the same for one
    seed."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, SHARPNESS, (STATES, TOKENS))
    other = rng.normal(0, SHARPNESS, (STATES, TOKENS))
    start = rng.integers(0, STATES, prompts)
    texts: list[bytes] = []
    for served in methods:
        coarse = logits + served.weights * rng.normal(size=logits.shape)
        begun = np.repeat(start, repeats)
        elsewhere = rng.random(len(begun)) < served.routed
        own = _write(coarse, begun, served, rng)
        away = _write(other, begun, served, rng) if served.routed else own
        texts += [a if moved else b for a, b, moved in zip(away, own, elsewhere, strict=True)]
    methods_of = np.repeat([f"m{m}" for m in range(len(methods))], prompts * repeats)
    prompt = np.tile(np.repeat(np.arange(prompts), repeats), len(methods))
    return ReplyColumns(
        method=methods_of,
        item=prompt,
        turn=np.zeros(len(prompt), dtype=np.int64),
        ask_hash=prompt,
        reply=[text.decode() for text in texts],
        size=[len(text) for text in texts],
        ending=[
            "length" if len(text) >= methods[i // (prompts * repeats)].tokens_max else "stop"
            for i, text in enumerate(texts)
        ],
    )


def _write(logits: FloatArray, state: IntArray, served: Served, rng: np.random.Generator) -> list[bytes]:
    written = np.zeros((len(state), served.tokens_max), dtype=np.uint8)
    going = np.ones(len(state), dtype=np.bool_)
    state = state.copy()
    for place in range(served.tokens_max):
        here = logits[state] + served.noise * rng.normal(size=(len(state), TOKENS))
        if served.temperature:
            here = here / served.temperature + rng.gumbel(size=here.shape)
        token = here.argmax(axis=1)
        if place < 4:
            token = np.maximum(token, 1)  # no reply is empty
        going &= token > 0
        written[going, place] = LETTERS[token[going]]
        state = (state * 31 + token * 97 + 7) % STATES
    return [bytes(row[row > 0]) for row in written]
