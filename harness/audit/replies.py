"""Identical prompts: how often do replies agree, within a method and across methods?

Speaks even where a small model's scores are all zero. Knows hashes of prompts and replies, not their text; the prompt is the unit.
Keeps: every prompt counts once, however often it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.audit.intervals import share_interval
from harness.audit.scores import BoolArray, Column, FloatArray, IntArray
from harness.core.errors import AuditError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyColumns:
    """First replies, column by column, lists or numpy arrays of one length: one row a method, prompt and repeat.

    ask_hash  of the prompt: equal hash, identical prompt
    reply     the reply or its hash; None: no reply came, the row is dropped"""

    method: Column
    ask_hash: Column
    reply: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfMatch:
    """Share of pairs of one method's replies to one prompt that agree, mean over prompts asked at least twice; None without any."""

    method: str
    prompts: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossMatch:
    """Share of pairs (one reply of each method) that agree, mean over common prompts, with its 1 - alpha interval.

    excess  how much rarer they agree than each method's replies with themselves; 0 in expectation if one model answers through both;
            over prompts that both were asked at least twice, None without two of them"""

    method: str
    prompts: int
    share: float
    low: float
    high: float
    excess: float | None
    excess_low: float | None
    excess_high: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFindings:
    """Every method with itself, every other method with the reference; `left_out`: methods without a common prompt."""

    reference: str
    within: tuple[SelfMatch, ...]
    across: tuple[CrossMatch, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """times (methods, distinct replies): how often each was given; prompt_of (distinct replies,); asked (methods, prompts)."""

    times: FloatArray
    prompt_of: IntArray
    asked: FloatArray

    def agreeing(self, a: int, b: int) -> FloatArray:
        """Pairs (a reply of a, a reply of b) that agree, (prompts,)."""
        agreeing = np.bincount(self.prompt_of, weights=self.times[a] * self.times[b], minlength=self.asked.shape[1])
        return np.asarray(agreeing, dtype=np.float64)


def compare_replies(columns: ReplyColumns, reference: str, alpha: float = 0.05) -> ReplyFindings:
    """Agreement of replies to identical prompts.

    raises  AuditError if the reference has no reply
    source  shares: Wilson at the effective number of prompts; excess: Student over prompts"""
    names, counts = _count(columns)
    if reference not in names:
        raise AuditError(f"There are no replies through the reference {reference!r}.")
    a = names.index(reference)
    within = tuple(_self_match(counts, m, name, alpha) for m, name in enumerate(names))
    across, left_out = [], []
    for m, name in enumerate(names):
        if m == a:
            continue
        common = (counts.asked[a] > 0) & (counts.asked[m] > 0)
        if common.any():
            across.append(_cross_match(counts, a, m, (reference, name), common, alpha))
        else:
            left_out.append(name)
    return ReplyFindings(reference=reference, within=within, across=tuple(across), left_out=tuple(left_out))


def _count(columns: ReplyColumns) -> tuple[tuple[str, ...], _Counts]:
    rows = [row for row in zip(columns.method, columns.ask_hash, columns.reply, strict=True) if _came(row[2])]
    names = tuple(sorted({name for name, _, _ in rows}))
    prompts = {prompt: index for index, prompt in enumerate(sorted({prompt for _, prompt, _ in rows}))}
    answers: dict[tuple[str, str], int] = {}
    place = {name: index for index, name in enumerate(names)}
    method = np.fromiter((place[name] for name, _, _ in rows), dtype=np.int64, count=len(rows))
    prompt = np.fromiter((prompts[key] for _, key, _ in rows), dtype=np.int64, count=len(rows))
    answer = np.fromiter((answers.setdefault((key, reply), len(answers)) for _, key, reply in rows), dtype=np.int64, count=len(rows))
    prompt_of = np.zeros(len(answers), dtype=np.int64)
    prompt_of[answer] = prompt
    return names, _Counts(
        times=_table(method, answer, (len(names), len(answers))),
        prompt_of=prompt_of,
        asked=_table(method, prompt, (len(names), len(prompts))),
    )


def _came(reply: object) -> bool:
    return reply is not None and reply is not np.ma.masked


def _table(row: IntArray, column: IntArray, shape: tuple[int, int]) -> FloatArray:
    counts: npt.NDArray[np.int64] = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.float64)


def _self_match(counts: _Counts, m: int, name: str, alpha: float) -> SelfMatch:
    several = counts.asked[m] >= 2
    if not several.any():
        return SelfMatch(method=name, prompts=0, share=None, low=None, high=None)
    share = _within(counts, m, several)
    low, high = _prompt_interval(share, counts.asked[m][several], alpha)
    return SelfMatch(method=name, prompts=int(several.sum()), share=float(share.mean()), low=low, high=high)


def _within(counts: _Counts, m: int, prompts: BoolArray) -> FloatArray:
    n = counts.asked[m][prompts]
    return np.asarray((counts.agreeing(m, m)[prompts] - n) / (n * (n - 1)))


def _across(counts: _Counts, a: int, b: int, prompts: BoolArray) -> FloatArray:
    return np.asarray(counts.agreeing(a, b)[prompts] / (counts.asked[a] * counts.asked[b])[prompts])


def _prompt_interval(share: FloatArray, replies: FloatArray, alpha: float) -> tuple[float, float]:
    """Wilson's interval with prompts as units, each worth at most its replies."""
    worth = np.full(len(share), replies.mean())
    return share_interval(share * worth, worth, alpha)


def _cross_match(counts: _Counts, a: int, b: int, names: tuple[str, str], common: BoolArray, alpha: float) -> CrossMatch:
    share = _across(counts, a, b, common)
    low, high = _prompt_interval(share, np.minimum(counts.asked[a], counts.asked[b])[common], alpha)
    mean = float(share.mean())
    excess = _excess(counts, a, b, alpha)
    return CrossMatch(
        method=names[1],
        prompts=len(share),
        share=mean,
        low=low,
        high=high,
        excess=excess[0] if excess else None,
        excess_low=excess[1] if excess else None,
        excess_high=excess[2] if excess else None,
        sentence=_sentence(names, len(share), (mean, low, high), excess, 100 * (1 - alpha)),
    )


def _excess(counts: _Counts, a: int, b: int, alpha: float) -> tuple[float, float, float] | None:
    """Mean agreement within less agreement across, with Student's interval over prompts."""
    several = (counts.asked[a] >= 2) & (counts.asked[b] >= 2)
    if several.sum() < 2:
        return None
    value = (_within(counts, a, several) + _within(counts, b, several)) / 2 - _across(counts, a, b, several)
    reach = float(stats.t.ppf(1 - alpha / 2, len(value) - 1) * value.std(ddof=1) / np.sqrt(len(value)))
    mean = float(value.mean())
    return mean, mean - reach, mean + reach


def _sentence(
    names: Sequence[str], prompts: int, share: tuple[float, float, float], excess: tuple[float, float, float] | None, level: float
) -> str:
    said = (
        f"First replies of {names[1]} and {names[0]} to {prompts} identical prompts agree in {100 * share[0]:.0f} % "
        f"[{level:g} % {100 * share[1]:.0f}, {100 * share[2]:.0f}]"
    )
    if excess is None:
        return f"{said}; whether that is rarer than within a method needs two repeats."
    return f"{said}; within a method they agree {100 * excess[0]:+.0f} % more often [{100 * excess[1]:+.0f}, {100 * excess[2]:+.0f}]."
