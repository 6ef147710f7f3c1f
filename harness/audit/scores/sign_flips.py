"""The primary test: the sign-flip test of paired differences.

Within an item the method is only a label. If two methods serve one model alike, swapping their labels within
any item changes nothing: it flips the sign of the item's difference. Knows differences, not what they
measure. Keeps: exact p-values, (1 + count) / (draws + 1), whatever the distribution of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.audit.scores.arrays import BoolArray, FloatArray
from harness.audit.scores.intervals import POINTS_MAX, equal_weights
from harness.core.seeds import derive_seed

DRAWS = 9_999  # the smallest p is 1/10,000; Monte Carlo error at .05 is .002
DRAWS_MAX = 49_999  # the first interim analysis has a level of 3 in 100,000: smaller levels are never reached
CHUNK = 2_500  # draws whose signs are held at once: about 10 MB for 420 items


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlipResult:
    """The p-values of each contrast.

    joint     (contrasts,): p of "nothing differs, on any endpoint, in any game"
    adjusted  (contrasts, endpoints, 1 + games): Westfall-Young p of each statistic, the macro one first; the
              smallest is the joint p"""

    joint: FloatArray
    adjusted: FloatArray


def sign_flip_test(
    differences: Sequence[Sequence[FloatArray]],
    shared: Sequence[BoolArray],
    names: Sequence[str],
    seed: int,
    draws: int = DRAWS,
) -> SignFlipResult:
    """Tests studentised differences by joint sign flips; the joint p rests on the smallest over endpoints x
    (1 + games).

    differences  [endpoint][game]: (contrasts, items), 0 where not shared
    shared       [game]: (contrasts, items)
    names        of the games: each has its own stream under the seed
    source       Westfall & Young (1993), step-down min-p; studentised sign flips: Janssen (1999), Romano
                 (1990)"""
    statistics = _statistics(differences, shared, names, seed, draws)
    observed_first = statistics.reshape(draws + 1, statistics.shape[1], -1)
    # In each column, how many draws are at least as large: a p in units of 1/(draws + 1). Ties make p larger.
    counts = stats.rankdata(-observed_first, method="max", axis=0).astype(np.int32)
    adjusted = np.stack([_step_down(counts[:, contrast]) for contrast in range(counts.shape[1])])
    return SignFlipResult(joint=adjusted.min(axis=1), adjusted=adjusted.reshape(statistics.shape[1:]))


def joint_rejections(
    differences: Sequence[Sequence[FloatArray]],
    shared: Sequence[BoolArray],
    names: Sequence[str],
    seed: int,
    *,
    draws: int,
    alpha: float,
) -> BoolArray:
    """Returns for each contrast whether `sign_flip_test` with many draws gives a joint p of at most alpha,
    (contrasts,): an estimate from few draws, for thousands of simulated contrasts.

    A rank among few draws stands for a range of ranks among many; its middle is taken, since the p of the few
    draws themselves is too large on average. Not where the observed statistic ties with draws: with few items
    there are no more ranks. Arguments as of `sign_flip_test`."""
    statistics = _statistics(differences, shared, names, seed, draws)
    by_contrast = np.ascontiguousarray(statistics.reshape(draws + 1, statistics.shape[1], -1).swapaxes(0, 1))
    counts = (by_contrast >= by_contrast[:, :1]).sum(axis=1)  # p of each statistic in units of 1/(draws + 1)
    smallest = counts.min(axis=1)
    rejected = np.zeros(len(smallest), dtype=np.bool_)
    for contrast in np.flatnonzero(smallest <= 2 * alpha * (draws + 1)):
        rank, values = int(smallest[contrast]), by_contrast[contrast]
        # A draw has one of the `rank` smallest p of a column where it exceeds the (rank + 1)-th largest
        # value.
        bounds = np.partition(values, (draws - rank, draws - rank + 1), axis=0)
        tied = ((values == values[0]).sum(axis=0) > 1)[counts[contrast] == rank].any()
        steps = (0, 0) if tied else (0, 1)
        shares = [(values > bounds[draws - rank + step]).any(axis=1).mean() for step in steps]
        rejected[contrast] = sum(shares) / 2 <= alpha
    return rejected


def single_p(
    differences: Sequence[FloatArray],
    shared: Sequence[BoolArray],
    names: Sequence[str],
    seed: int,
    draws: int = DRAWS,
) -> FloatArray:
    """Returns p of "nothing differs" in each game by itself, not adjusted for multiple testing, (contrasts,
    games).

    differences, shared  [game]: (contrasts, items)
    names                of the games: each has its own stream under the seed"""
    statistics = _statistics([differences], shared, names, seed, draws)[:, :, 0, 1:]
    return np.asarray((statistics >= statistics[0]).mean(axis=0), dtype=np.float64)


def _statistics(
    differences: Sequence[Sequence[FloatArray]],
    shared: Sequence[BoolArray],
    names: Sequence[str],
    seed: int,
    draws: int,
) -> FloatArray:
    """Returns |mean| / se of every draw, (1 + draws, contrasts, endpoints, 1 + games); the first row is the
    observation."""
    contrasts, endpoints, games = len(shared[0]), len(differences), len(shared)
    n = np.stack([mask.sum(axis=1) for mask in shared], axis=1).astype(np.float64)
    weight = equal_weights(n)
    result = np.zeros((draws + 1, contrasts, endpoints, 1 + games))
    macro, macro_variance = np.zeros(result.shape[:3]), np.zeros(result.shape[:3])
    for g in range(games):
        columns = np.concatenate([endpoint[g] for endpoint in differences])
        rng = np.random.default_rng(derive_seed(seed, "audit", "flips", names[g]))
        sums = _flipped_sums(columns, rng, draws).reshape(draws + 1, endpoints, contrasts).transpose(0, 2, 1)
        square = (columns**2).sum(axis=1).reshape(endpoints, contrasts).T
        count = np.maximum(n[:, g], 1)[:, None]
        mean = sums / count
        variance = np.where(count > 1, (square - count * mean**2) / np.maximum(count - 1, 1), POINTS_MAX**2)
        variance[variance <= 1e-10 * (1 + square / count)] = 0.0
        result[..., 1 + g] = _ratio(mean, variance / count)
        macro += weight[:, g, None] * mean
        macro_variance += (weight[:, g, None] ** 2) * variance / count
    result[..., 0] = _ratio(macro, macro_variance)
    return result


def _flipped_sums(columns: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Returns the sums of each column under all draws of signs, (1 + draws, columns), all signs + in the
    first row.

    Sums are rounded so that equal sums in another order compare as equal."""
    items = columns.shape[1]
    blocks = [columns.sum(axis=1)[None]]
    for start in range(0, draws, CHUNK):
        signs: npt.NDArray[np.int8] = (
            2 * rng.integers(0, 2, size=(min(CHUNK, draws - start), items), dtype=np.int8) - 1
        )
        blocks.append(signs.astype(np.float64) @ columns.T)
    return np.round(np.concatenate(blocks), 7)


def _ratio(mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Returns |mean| / sqrt(variance) to nine decimals; 0 where both are 0, infinite where only the variance
    is."""
    size = np.where(np.abs(mean) <= 1e-9, 0.0, np.abs(mean))
    out = np.where(size > 0, np.inf, 0.0)
    np.divide(size, np.sqrt(variance), out=out, where=variance > 0)
    return np.asarray(np.round(out, 9), dtype=np.float64)


def _step_down(counts: npt.NDArray[np.int32]) -> FloatArray:
    """Returns the adjusted p of the first row's columns against row minima over the columns with a p as large
    or larger.

    counts  (1 + draws, columns): each entry's own p in units of 1/(1 + draws)"""
    order = np.argsort(counts[0], kind="stable")
    smallest_left = np.minimum.accumulate(counts[:, order[::-1]], axis=1)[:, ::-1]
    in_order = np.maximum.accumulate((smallest_left <= counts[0, order]).mean(axis=0))
    adjusted = np.empty(len(order))
    adjusted[order] = in_order
    return adjusted
