"""Pairs of replies to one prompt: how alike the two replies of each pair are, for two methods at a time.

Knows arrays of replies and the kernels; nothing of tests or verdicts. Keeps: pairs of a prompt stand in the
order of `pairs_of`, the reference's replies before the method's; prompts of one shape are compared together,
in pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.audit.replies.columns import PromptReplies
from harness.audit.replies.divergence import Pairs
from harness.audit.replies.kernels import KERNELS, likeness
from harness.audit.replies.label_permutation import Block, pairs_of
from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray

_PAIRS_AT_ONCE = 200_000  # some 100 MB of texts and kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPrompts:
    """Prompts with `first` replies of the reference and `second` of the method, and every pair of these
    replies.

    prompts     (prompts,)
    similarity  (prompts, pairs, kernels)
    equal       (prompts, pairs): the same text
    common      (prompts, pairs): bytes before the first difference"""

    first: int
    second: int
    prompts: IntArray
    similarity: FloatArray
    equal: BoolArray
    common: IntArray


def compare_prompts(replies: PromptReplies, a: int, b: int, prompts: IntArray) -> list[ComparedPrompts]:
    """Compares the replies of methods a and b to these prompts, one value for each shape and piece."""
    return [_compare(replies, a, b, *shape) for shape in _shapes(replies, a, b, prompts)]


def blocks_of(compared: Sequence[ComparedPrompts], wanted: BoolArray) -> list[Block]:
    """Returns the wanted prompts as strata of a permutation test.

    wanted  (all prompts,)"""
    return [
        Block(first=part.first, second=part.second, similarity=part.similarity[wanted[part.prompts]])
        for part in compared
        if wanted[part.prompts].any()
    ]


def diverging_pairs(
    replies: PromptReplies, a: int, b: int, compared: Sequence[ComparedPrompts], chosen: IntArray
) -> Pairs:
    """Returns the pairs of the chosen prompts, numbered from 0; those that were not compared have equal
    replies only.

    chosen  (prompts,), ascending, each with two replies of each method or more"""
    equal = np.zeros(replies.count.shape[1], dtype=np.bool_)
    equal[chosen] = True
    for part in compared:
        equal[part.prompts] = False
    parts = [
        _pairs(part.first, part.second, part.prompts, part.common, ~part.equal)
        for part in compared
        if min(part.first, part.second) >= 2
    ]
    for first, second, prompts in _shapes(replies, a, b, np.flatnonzero(equal)):
        size = replies.size[replies.start[a][prompts]][:, None]
        parts.append(_pairs(first, second, prompts, size, np.zeros_like(size, dtype=np.bool_)))
    prompt, kind, common, parted = (np.concatenate([part[k] for part in parts]) for k in range(4))
    return Pairs(prompt=np.searchsorted(chosen, prompt), kind=kind, common=common, parted=parted)


def _shapes(replies: PromptReplies, a: int, b: int, prompts: IntArray) -> Iterator[tuple[int, int, IntArray]]:
    """Yields the prompts by their numbers of replies, in pieces that fit into memory."""
    shape, group = np.unique(
        np.stack([replies.count[a][prompts], replies.count[b][prompts]]), axis=1, return_inverse=True
    )
    for index, (first, second) in enumerate(shape.T.tolist()):
        chosen = prompts[group.reshape(-1) == index]
        step = max(1, _PAIRS_AT_ONCE // max(1, (first + second) * (first + second - 1) // 2))
        for start in range(0, len(chosen), step):
            yield first, second, chosen[start : start + step]


def _compare(
    replies: PromptReplies, a: int, b: int, first: int, second: int, prompts: IntArray
) -> ComparedPrompts:
    rows = np.concatenate(
        [
            replies.start[a][prompts][:, None] + np.arange(first),
            replies.start[b][prompts][:, None] + np.arange(second),
        ],
        axis=1,
    )
    left, right = (rows[:, place].reshape(-1) for place in pairs_of(first + second))
    shape = (len(prompts), -1)
    similarity, common = similarity_of(replies, left, right)
    return ComparedPrompts(
        first=first,
        second=second,
        prompts=prompts,
        similarity=similarity.reshape(*shape, len(KERNELS)),
        equal=(replies.reply[left] == replies.reply[right]).reshape(shape),
        common=common.reshape(shape),
    )


def similarity_of(replies: PromptReplies, left: IntArray, right: IntArray) -> tuple[FloatArray, IntArray]:
    """Returns, for pairs of rows, every kernel, (pairs, kernels), and the bytes before the first difference,
    (pairs,)."""
    table = np.ones((len(left), len(KERNELS)))
    common = replies.size[left].copy()
    differing = np.flatnonzero(replies.reply[left] != replies.reply[right])
    one, other = replies.place[left[differing]], replies.place[right[differing]]
    texts = len(replies.texts.size)
    key, where = np.unique(
        np.minimum(one, other) * max(texts, 1) + np.maximum(one, other), return_inverse=True
    )
    measured = likeness(replies.texts, key // max(texts, 1), key % max(texts, 1))
    where = where.reshape(-1)
    table[differing, 0] = 0.0
    for kernel, values in ((1, measured.prefix), (2, measured.position), (3, measured.words)):
        table[differing, kernel] = values[where]
    table[:, 4] = -np.abs(replies.size[left] - replies.size[right])
    table[:, 5] = replies.ending[left] == replies.ending[right]
    common[differing] = measured.common[where]
    return table, common


def _pairs(
    first: int, second: int, prompts: IntArray, common: IntArray, parted: BoolArray
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """Returns a row each pair: prompt, kind (0 within the reference, 1 within the method, 2 across), common
    bytes, parted."""
    one, other = pairs_of(first + second)
    kind = np.where(other < first, 0, np.where(one >= first, 1, 2))
    shape = (len(prompts), len(one))
    return (
        np.repeat(prompts, len(one)),
        np.tile(kind, len(prompts)),
        np.broadcast_to(common, shape).reshape(-1),
        np.broadcast_to(parted, shape).reshape(-1),
    )
