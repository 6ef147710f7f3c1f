"""Fits a server's latency to a store's calls: seconds before the first token, for a prompt token, for a reply
token, for other calls.

Knows columns of numbers. Regresses the time in flight on tokens and on the number of other calls in flight;
time in our own queues is not in it, since the store records it apart. Coefficients are never negative, and a
call's own token costs no less than a token of another call: otherwise a call that was never seen alone would
be predicted to take no time alone. The residuals become factors, which the simulation draws. Calls that
arrived before the server had answered any are fitted apart where they took far longer, since caches were
empty. Fits of samples show how uncertain a fit is. Does not promise: anything about loads that the store does
not contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from scipy.optimize import nnls

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Places = np.ndarray[tuple[int, ...], np.dtype[np.intp]]

CALLS_MIN = 20  # with fewer, the provider's kind is the better guess
CALLS_MIN_TRIAL = 8  # of a trial of the sweep's own methods: still a better guess than their kind
FACTORS_MAX = 400  # quantiles kept of the residuals
COLD_MIN = 1.5  # first calls that took less than so many times the expected time count as warm
LOAD_GAIN = 0.9  # the load is kept if it explains at least a tenth of the residual sum of squares
STRETCHES = 10  # of a sample: long enough to hold calls of one moment together, many enough to differ


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCalls:
    """The answered calls of one server as columns; seconds and tokens."""

    sent_at: Sequence[float]
    latency_s: Sequence[float]
    prompt_tokens: Sequence[float]
    reply_tokens: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFit:
    """latency = factor * (first_s + prompt_s * prompt tokens + reply tokens * (token_s + load_s * other calls
    in flight)).

    factors   quantiles of measured / expected
    cold      factor for the calls sent before any was answered
    error     median of |measured / expected - 1|
    calls     number of calls fitted"""

    first_s: float
    prompt_s: float
    token_s: float
    load_s: float
    factors: tuple[float, ...]
    cold: float
    error: float
    calls: int


def fit_latency(
    calls: TimedCalls, *, calls_min: int = CALLS_MIN, chance: Random | None = None
) -> LatencyFit | None:
    """Fits these calls; None if they are fewer than calls_min.

    chance   fits a random sample of the calls: of STRETCHES stretches of consecutive calls one less, with
             replacement. So fits of samples have the variance of a fit (block bootstrap: Kuensch 1989, Ann.
             Statist. 17:1217; one less: Rao & Wu 1988, JASA 83:231), also where a server's speed changes
             slowly"""
    latency = np.asarray(calls.latency_s, dtype=np.float64)
    if len(latency) < calls_min or float(latency.sum()) <= 0.0:
        return None
    sent, prompt, reply = (
        np.asarray(column, dtype=np.float64)
        for column in (calls.sent_at, calls.prompt_tokens, calls.reply_tokens)
    )
    columns = (latency, prompt, reply, _others(sent, latency))
    every = _sample(np.argsort(sent, kind="stable"), chance)
    first = sent < (sent + latency).min()
    if len(warm_places := every[~first[every]]) >= CALLS_MIN:
        warm = _fit(*(column[warm_places] for column in columns))
        expected = _expected(warm, *(column[first] for column in columns[1:]))
        cold = float(latency[first].sum() / max(expected.sum(), 1e-9))
        if cold >= COLD_MIN:
            return replace(warm, cold=cold)
    return _fit(*(column[every] for column in columns))


def _sample(places: Places, chance: Random | None) -> Places:
    """Returns the places of the calls in a sample; without chance, all of them. places: in the order sent."""
    if chance is None:
        return places
    stretches = np.array_split(places, min(STRETCHES, len(places)))
    drawn = chance.choices(range(len(stretches)), k=max(1, len(stretches) - 1))
    return np.concatenate([stretches[place] for place in drawn])


def _fit(latency: Floats, prompt: Floats, reply: Floats, others: Floats) -> LatencyFit:
    ones = np.ones_like(latency)
    plain = _solve([ones, prompt, reply], latency)
    loaded = _solve([ones, prompt, reply, reply * (1.0 + others)], latency)
    first_s, prompt_s, token_s, load_s = (
        (*plain.weights, 0.0) if loaded.left > LOAD_GAIN * plain.left else loaded.weights
    )
    fitted = LatencyFit(
        first_s=float(first_s),
        prompt_s=float(prompt_s),
        token_s=float(token_s + load_s),
        load_s=float(load_s),
        factors=(),
        cold=1.0,
        error=0.0,
        calls=len(latency),
    )
    expected = _expected(fitted, prompt, reply, others)
    error = float(np.median(np.abs(latency / np.maximum(expected, 1e-9) - 1.0)))
    return replace(fitted, factors=_factors(latency, expected), error=error)


def _expected(fitted: LatencyFit, prompt: Floats, reply: Floats, others: Floats) -> Floats:
    return np.asarray(
        fitted.first_s + fitted.prompt_s * prompt + reply * (fitted.token_s + fitted.load_s * others)
    )


@dataclass(frozen=True, slots=True)
class _Solution:
    weights: Floats
    left: float


def _solve(columns: Sequence[Floats], latency: Floats) -> _Solution:
    design: Any = np.column_stack(columns)
    scale = np.maximum(np.abs(design).max(axis=0), 1e-12)
    weights = nnls(design / scale, latency)[0] / scale
    return _Solution(weights, float(((latency - design @ weights) ** 2).sum()))


def _others(sent: Floats, latency: Floats) -> Floats:
    """Returns the mean number of other calls in flight during each call."""
    times = np.concatenate([sent, sent + latency])
    steps = np.concatenate([np.ones_like(sent), -np.ones_like(sent)])
    order = np.argsort(times, kind="stable")
    times, under_way = times[order], np.cumsum(steps[order])
    area = np.concatenate([[0.0], np.cumsum(under_way[:-1] * np.diff(times))])
    inside = np.interp(sent + latency, times, area) - np.interp(sent, times, area)
    return np.asarray(np.maximum(0.0, inside / np.maximum(latency, 1e-9) - 1.0))


def _factors(latency: Floats, expected: Floats) -> tuple[float, ...]:
    """Returns quantiles of measured / expected, scaled so that drawing from them keeps the mean latency."""
    usable = expected > 0.0
    ratio = latency[usable] / expected[usable]
    if not len(ratio):
        return ()
    drawn = np.quantile(ratio, (np.arange(min(FACTORS_MAX, len(ratio))) + 0.5) / min(FACTORS_MAX, len(ratio)))
    return tuple(float(factor) for factor in drawn * (latency.mean() / expected.mean()) / drawn.mean())
