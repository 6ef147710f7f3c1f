"""Fits a line to models: least squares with errors that allow for unequal variances and for families.

Knows numbers and names; nothing of what they measure. Keeps: every share of variance stands beside its
interval, what single models do to it, and how well it predicts models that it has not seen: single ones, and
whole families, whose models are alike. Does not promise: causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from harness.audit.scores.arrays import FloatArray
from harness.core.errors import AuditError
from harness.core.seeds import derive_seed

DRAWS = 5_000  # of models with replacement: the ends of a 95 % interval are within .01 of R2
FAMILIES_MIN = 5  # with fewer, errors by family rest on too few independent values


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """One coefficient.

    se          HC3 standard error;  low, high  95 % interval by resampling models
    se_family   CR2 standard error, models of one family dependent; None with too few families"""

    term: str
    value: float
    se: float
    low: float
    high: float
    se_family: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """A model whose Cook's distance in a fit exceeds 4/n."""

    model: str
    cook: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Ordinary least squares of a score on one or more facts.

    over        which models;  models  how many points, families: of how many families, None if unknown
    intercept   where all facts are 0
    r2          share of variance explained, with its 95 % interval by resampling models
    r2_without  least and greatest share when one model is left out
    q2          share of variance predicted for models left out one by one; may be negative
    q2_family   the same with whole families left out; None with too few families"""

    over: str
    models: int
    intercept: float
    slopes: tuple[Slope, ...]
    r2: float
    r2_low: float
    r2_high: float
    r2_without: tuple[float, float]
    q2: float
    influential: tuple[Influence, ...]
    families: int | None = None
    q2_family: float | None = None


def fit_line(
    over: str,
    names: Sequence[str],
    scores: FloatArray,
    terms: Mapping[str, FloatArray],
    *,
    families: Sequence[str] | None,
    seed: int,
    draws: int = DRAWS,
) -> Regression:
    """Returns the fit of scores, (models,), to the terms, name -> (models,).

    over      which models, in words
    families  of the models; None: not known
    raises    AuditError if the terms do not differ enough, or all scores are equal
    source    HC3: MacKinnon & White (1985), J. Econometrics 29; CR2: Bell & McCaffrey (2002), Survey
              Methodology 28; Q2 = 1 - PRESS / SST: Allen (1974), Technometrics 16"""
    x, y = np.stack([np.ones(len(scores)), *terms.values()], axis=1), scores
    n, k = x.shape
    if np.linalg.matrix_rank(x) < k or n <= k:
        raise AuditError(f"{over}: the facts of these {n} models do not differ enough to fit a line")
    inverse = np.linalg.inv(x.T @ x)
    slopes = inverse @ x.T @ y
    residual, leverage = y - x @ slopes, np.einsum("ij,jk,ik->i", x, inverse, x)
    left_out = residual / np.maximum(1 - leverage, 1e-12)
    whole = float(((y - y.mean()) ** 2).sum())
    if whole <= 0:
        raise AuditError(f"{over}: all {n} models have the same score: there is nothing to explain")
    robust = inverse @ (x.T * left_out**2) @ x @ inverse
    cook = left_out**2 * leverage / (k * (residual**2).sum() / (n - k))
    drawn, r2_drawn = _resampled(x, y, derive_seed(seed, "characteristics", over, *terms), draws)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    r2_low, r2_high = np.quantile(r2_drawn, [0.025, 0.975])
    without, groups = [_r2(np.delete(x, i, axis=0), np.delete(y, i)) for i in range(n)], _groups(families)
    enough = len(groups) >= max(FAMILIES_MIN, k + 1)
    by_family = np.sqrt(np.diag(_cr2(x, inverse, residual, groups)).clip(min=0)) if enough else None
    return Regression(
        over=over,
        models=n,
        intercept=float(slopes[0]),
        slopes=tuple(
            Slope(
                term=term,
                value=float(slopes[i]),
                se=float(sqrt(robust[i, i])),
                low=float(low[i]),
                high=float(high[i]),
                se_family=None if by_family is None else float(by_family[i]),
            )
            for i, term in enumerate(terms, 1)
        ),
        r2=_r2(x, y),
        r2_low=float(r2_low),
        r2_high=float(r2_high),
        r2_without=(min(without), max(without)),
        q2=1 - float((left_out**2).sum()) / whole,
        influential=_influential(names, cook),
        families=len(groups) or None,
        q2_family=1 - _press(x, y, groups) / whole if enough else None,
    )


def _influential(names: Sequence[str], cook: FloatArray) -> tuple[Influence, ...]:
    """Returns the models above the usual bound on Cook's distance, the largest first."""
    return tuple(
        Influence(model=names[i], cook=float(cook[i]))
        for i in np.argsort(-cook).tolist()
        if cook[i] > 4 / len(names)
    )


def _groups(families: Sequence[str] | None) -> list[list[int]]:
    """Returns the places of each family's models."""
    found: dict[str, list[int]] = {}
    for place, family in enumerate(families or ()):
        found.setdefault(family, []).append(place)
    return list(found.values())


def _cr2(
    x: FloatArray, inverse: FloatArray, residual: FloatArray, groups: Sequence[Sequence[int]]
) -> FloatArray:
    """Returns the covariance of the coefficients for independent groups, bias-reduced: residuals of a group
    are multiplied by (I - H)^(-1/2), H being the group's part of the hat matrix."""
    meat = np.zeros_like(inverse)
    for group in groups:
        rows = x[group]
        values, vectors = np.linalg.eigh(np.eye(len(group)) - rows @ inverse @ rows.T)
        root = np.where(values > 1e-10, 1 / np.sqrt(np.maximum(values, 1e-10)), 0.0)
        adjusted = vectors @ (root * (vectors.T @ residual[group]))
        score = rows.T @ adjusted
        meat += np.outer(score, score)
    return np.asarray(inverse @ meat @ inverse)


def _press(x: FloatArray, y: FloatArray, groups: Sequence[Sequence[int]]) -> float:
    """Returns the sum of squared errors of predictions for each group from the other groups."""
    total = 0.0
    for group in groups:
        kept = np.setdiff1d(np.arange(len(y)), group)
        slopes = np.linalg.lstsq(x[kept], y[kept], rcond=None)[0]
        total += float(((y[group] - x[group] @ slopes) ** 2).sum())
    return total


def _r2(x: FloatArray, y: FloatArray) -> float:
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - float((residual**2).sum()) / float(((y - y.mean()) ** 2).sum())


def _resampled(x: FloatArray, y: FloatArray, seed: int, draws: int) -> tuple[FloatArray, FloatArray]:
    """Returns slopes and shares of variance of fits to models drawn with replacement: (draws, terms),
    (draws,)."""
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=draws).astype(np.float64)
    moments = np.einsum("di,ij,ik->djk", weight, x, x)
    slopes = np.einsum(
        "djk,dk->dj", np.linalg.pinv(moments, hermitian=True), np.einsum("di,ij,i->dj", weight, x, y)
    )
    residual = (weight * (y - slopes @ x.T) ** 2).sum(axis=1)
    mean = weight @ y / len(y)
    whole = (weight * (y - mean[:, None]) ** 2).sum(axis=1)
    varied = whole > 0
    return slopes[varied], 1 - residual[varied] / whole[varied]
