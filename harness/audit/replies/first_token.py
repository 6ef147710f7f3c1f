"""Log-probabilities of first tokens: does a method compute the same numbers as the reference?

A provider that states log-probabilities shows its weights more finely than a reply does: one token of each
prompt is enough to see a changed precision.
Knows numbers by prompt; nothing of texts. Keeps: labels never cross prompts. Does not promise: that two
providers state the same quantity; some apply the temperature first. So a difference is evidence, and no
verdict rests on it.
Source: the energy distance within prompts, Székely & Rizzo (2013), tested by label permutation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.audit.replies.label_permutation import DRAWS, Block, pairs_of, permutation_test
from harness.audit.scores.arrays import FloatArray
from harness.core.seeds import derive_seed

ByPrompt = Mapping[str, Sequence[float]]
"""Prompt -> the log-probability of the first token of each reply to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokens:
    """One method's first tokens compared with the reference's, over the prompts that both have.

    reference, mean   the mean log-probability of the two, each prompt counted once
    difference        of the two; a change of weights can move single prompts up and down and leave it near 0
    spread            mean over prompts of the absolute difference
    p                 of one distribution, by label permutation within prompts; None where no prompt has three
                      values"""

    method: str
    prompts: int
    reference: float
    mean: float
    difference: float
    spread: float
    p: float | None


def compare_all(
    stated: Mapping[str, ByPrompt], reference: str, methods: Sequence[str], *, seed: int
) -> tuple[FirstTokens, ...]:
    """Returns the comparison of each of these methods with the reference, where both state log-probabilities.

    stated   method -> its values
    seed     of the audit"""
    if reference not in stated:
        return ()
    found = (
        compare_first_tokens(
            method, stated[reference], stated[method], seed=derive_seed(seed, "audit", "first tokens", method)
        )
        for method in methods
        if method != reference and method in stated
    )
    return tuple(one for one in found if one is not None)


def compare_first_tokens(
    method: str, reference: ByPrompt, other: ByPrompt, *, seed: int, draws: int = DRAWS
) -> FirstTokens | None:
    """Returns the comparison; None without a common prompt.

    method     the other's name
    reference  the reference's values, by prompt;  other  the method's
    seed       of the relabellings;  draws  how many there are"""
    common = sorted(reference.keys() & other.keys())
    if not common:
        return None
    pairs = [(np.array(reference[prompt]), np.array(other[prompt])) for prompt in common]
    first, second = (np.array([float(pair[side].mean()) for pair in pairs]) for side in (0, 1))
    blocks = _blocks([pair for pair in pairs if len(pair[0]) + len(pair[1]) > 2])
    return FirstTokens(
        method=method,
        prompts=len(common),
        reference=float(first.mean()),
        mean=float(second.mean()),
        difference=float((second - first).mean()),
        spread=float(np.abs(second - first).mean()),
        p=permutation_test(blocks, np.random.default_rng(seed), draws).p if blocks else None,
    )


def _blocks(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> list[Block]:
    """Returns the prompts as strata, those with equal numbers of values together."""
    shapes: dict[tuple[int, int], list[FloatArray]] = {}
    for first, second in pairs:
        shapes.setdefault((len(first), len(second)), []).append(np.concatenate([first, second]))
    blocks = []
    for (first_count, second_count), rows in shapes.items():
        values = np.array(rows)
        one, other = pairs_of(first_count + second_count)
        similarity = -np.abs(values[:, one] - values[:, other])
        blocks.append(Block(first=first_count, second=second_count, similarity=similarity[:, :, None]))
    return blocks
