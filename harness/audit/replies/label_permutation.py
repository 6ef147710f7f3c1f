"""Relabelling within strata: are two samples, a few values a stratum, from one source?

Within a stratum (identical prompt) the method is only a label. All ways to hand out the labels are
enumerated, the statistic of each is one matrix product away, and a relabelling of the whole is a random index
a stratum and a sum.
Knows similarities, not of what. Keeps: exact p-values, (1 + count) / (draws + 1); labels never cross
strata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.sparse import csr_array

from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray

DRAWS = 1_999
LABELLINGS_MAX = 1_024  # up to six repeats each all labellings are tried, beyond that so many random ones
_STRATA = 64  # strata summed together: bounds memory at some 10 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Strata of one shape.

    first, second  how many values each sample has in every stratum
    similarity     (strata, pairs, kernels): of each pair of the stratum's values, the first sample's values
                   before the second's, pairs in the order of `pairs_of`"""

    first: int
    second: int
    similarity: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationResult:
    """The result of a label permutation test: the maximum mean discrepancy of each kernel (its square, mean
    over strata), a p for each, and the p of the largest standardised one."""

    discrepancy: tuple[float, ...]
    p_kernels: tuple[float, ...]
    p: float


def pairs_of(values: int) -> tuple[IntArray, IntArray]:
    """Returns the indices of all unordered pairs of so many values."""
    one, other = np.triu_indices(values, 1)
    return one.astype(np.int64), other.astype(np.int64)


def permutation_test(
    blocks: Sequence[Block], rng: np.random.Generator, draws: int = DRAWS
) -> PermutationResult:
    """Tests that both samples come from one source, stratum by stratum, with every kernel on the same
    relabellings.

    source  unbiased MMD: Gretton et al. (2012), JMLR 13; length as an energy distance: Székely & Rizzo
            (2013); the largest of several standardised statistics calibrated by the same draws: Westfall &
            Young (1993)"""
    sums, largest = _drawn(blocks, rng, draws)
    return PermutationResult(
        discrepancy=tuple(sums[0].tolist()),
        p_kernels=tuple((sums >= sums[0]).mean(axis=0).tolist()),
        p=float((largest >= largest[0]).mean()),
    )


def _drawn(blocks: Sequence[Block], rng: np.random.Generator, draws: int) -> tuple[FloatArray, FloatArray]:
    """Returns the statistic of each kernel, first for the true labels and then for each permutation of them,
    as (1 + draws, kernels), and the largest standardised one of each row."""
    sums = np.zeros((draws + 1, blocks[0].similarity.shape[2]))
    for block in blocks:
        _add_draws(sums, block, rng)
    sums = np.round(sums / sum(len(block.similarity) for block in blocks), 10)
    spread = sums.std(axis=0)
    standard = np.round((sums - sums.mean(axis=0)) / np.where(spread > 0, spread, 1.0), 9)
    return sums, standard.max(axis=1)


def _add_draws(sums: FloatArray, block: Block, rng: np.random.Generator) -> None:
    """Adds the block's strata to the first row, labelled as they are, and to each other row under labels of
    its own."""
    weight = pair_weights(_labellings(block.first, block.second, rng), block.first, block.second)
    labellings, draws, kernels = weight.shape[1], len(sums) - 1, sums.shape[1]
    for start in range(0, len(block.similarity), _STRATA):
        tables = np.ascontiguousarray(
            (block.similarity[start : start + _STRATA].transpose(0, 2, 1) @ weight).transpose(0, 2, 1)
        )
        sums[0] += tables[:, 0].sum(axis=0)
        strata = len(tables)
        choices = (
            rng.integers(labellings, size=(draws, strata), dtype=np.uint16)
            + np.arange(strata, dtype=np.int32) * labellings
        )
        ends = np.arange(0, draws * strata + 1, strata, dtype=np.int32)
        # A draw adds up one row of each stratum's table: a sparse matrix of ones, which scipy multiplies.
        chosen = csr_array(
            (np.ones(draws * strata), choices.reshape(-1), ends), shape=(draws, strata * labellings)
        )
        sums[1:] += chosen @ tables.reshape(-1, kernels)


def _labellings(first: int, second: int, rng: np.random.Generator) -> BoolArray:
    """Draws labellings as (labellings, values), True for the first sample; the first row is the observed
    labelling.

    With samples of one size swapping all labels changes nothing, so half of the labellings do."""
    values = first + second
    half = first == second
    if comb(values, first) // (1 + half) > LABELLINGS_MAX:
        order = rng.permuted(np.tile(np.arange(values), (LABELLINGS_MAX, 1)), axis=1)
        order[0] = np.arange(values)
        return np.asarray(order < first, dtype=np.bool_)
    chosen = [one for one in combinations(range(values), first) if not half or one[0] == 0]
    labels = np.zeros((len(chosen), values), dtype=np.bool_)
    labels[np.repeat(np.arange(len(chosen)), first), np.array(chosen).reshape(-1)] = True
    return labels


def pair_weights(labels: BoolArray, first: int, second: int) -> FloatArray:
    """Computes the weight of each pair's similarity in the statistic under each labelling, (pairs,
    labellings); a sample of one value has no pair inside it."""
    one, other = pairs_of(labels.shape[1])
    in_first = labels[:, one] & labels[:, other]
    in_second = ~labels[:, one] & ~labels[:, other]
    inside_first = 2 / (first * (first - 1)) if first > 1 else 0.0
    inside_second = 2 / (second * (second - 1)) if second > 1 else 0.0
    weight = np.where(in_first, inside_first, np.where(in_second, inside_second, -2 / (first * second)))
    return np.asarray(weight.T, dtype=np.float64)
