"""Days of first tokens compared by total variation, for a panel of one-token calls.

Knows first tokens by day and prompt; nothing of stores. A day's statistic is the mean over prompts of the
total variation between its first tokens and those of the other days together. Keeps: an alarm needs two days
in a row whose statistic is above that of earlier days by more than ordinary days vary, and by more than
WATCH_MARGIN. Without a change the mean time to a false alarm is at least the days asked for, if days vary
independently. Does not promise: to see a change that moves fewer first tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.audit.replies.day_variation import Panel, Variation, expectation
from harness.audit.replies.drift import (
    DAYS_MEAN,
    DAYS_MIN,
    OF_A_KIND_MIN,
    Day,
    DayFinding,
    Drift,
    drift_events,
    drift_sentence,
)
from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray
from harness.core.errors import AuditError

EARLIER_MAX = 90  # earlier days of one kind; a season says more of an ordinary day than last year does
WATCH_MARGIN = 0.05
"""Total variation above that of ordinary days from which a day is suspect. Half of drift's: a panel of
prompts whose answers flip moves as a whole, and two days have to agree."""


def watched(method: str, days: Sequence[Day], *, days_mean: float = DAYS_MEAN) -> Drift:
    """Compares each day, in order, with those before it.

    days       a reply of them is one token
    days_mean  mean number of days to a false alarm
    raises     AuditError if there is no day"""
    if not days:
        raise AuditError(f"{method}: the store has no day of a panel; lightbulb watch run plays one")
    weekend = np.array([day.weekend for day in days])
    findings = judge_token_days(token_panel(days), weekend, [day.label for day in days], days_mean)
    return Drift(
        method=method,
        days=findings,
        events=tuple(drift_events(days)),
        days_mean=days_mean,
        sentence=_sentence(method, findings, days_mean),
    )


def _sentence(method: str, findings: Sequence[DayFinding], days_mean: float) -> str:
    sentence = drift_sentence(method, findings, days_mean, margin=WATCH_MARGIN)
    if findings[-1].alarm or not is_suspect(findings[-1], suspect_level(days_mean)):
        return sentence
    return (
        f"{sentence} The last day is far from ordinary days; if the next day is as far, a change is reported."
    )


def token_panel(days: Sequence[Day]) -> Panel:
    """Returns the share of each first token, by day and prompt."""
    asks = {ask: place for place, ask in enumerate(sorted({r.ask for day in days for r in day.replies}))}
    known: list[dict[str, int]] = [{} for _ in asks]
    cells = [
        (day, asks[reply.ask], (texts := known[asks[reply.ask]]).setdefault(reply.text, len(texts)))
        for day, replies in enumerate(days)
        for reply in replies.replies
    ]
    counts = np.zeros((len(days), len(asks), max((len(texts) for texts in known), default=1)))
    for cell in cells:
        counts[cell] += 1
    count = counts.sum(axis=2).astype(np.int64)
    mean = counts / np.maximum(count, 1)[:, :, None]
    return Panel(mean=mean, count=count, square=np.einsum("dak,dak->da", mean, mean))


def judge_token_days(
    panel: Panel, weekend: BoolArray, labels: Sequence[str], days_mean: float
) -> tuple[DayFinding, ...]:
    """Compares each day with the earlier ones of its kind since the last alarm.

    panel    shares of first tokens
    weekend  (days,) a Saturday or Sunday
    labels   of the days"""
    findings: list[DayFinding] = []
    level = suspect_level(days_mean)
    start, suspect = 0, None
    for today, label in enumerate(labels):
        earlier = np.array([day for day in range(start, today) if day != suspect], dtype=np.int64)
        same, other = (
            earlier[weekend[earlier] == kind][-EARLIER_MAX:] for kind in (weekend[today], not weekend[today])
        )
        finding = _finding(label, panel, today, same, other, level)
        if is_suspect(finding, level):
            if suspect is None:
                suspect = today
            else:
                finding = replace(finding, alarm=True)
                start, suspect = suspect, None
        elif finding.p is not None:
            suspect = None
        findings.append(finding)
    return tuple(findings)


def suspect_level(days_mean: float) -> float:
    """Returns the p below which a day is suspect: two such days in a row are as rare as one in days_mean."""
    return 1 / float(np.sqrt(days_mean))


def is_suspect(finding: DayFinding, level: float) -> bool:
    """Returns whether the day is far from the earlier ones; another such day after it is an alarm."""
    return (
        finding.p is not None
        and finding.p < level
        and finding.difference is not None
        and finding.difference > WATCH_MARGIN
    )


def _finding(
    label: str, panel: Panel, today: int, same: IntArray, other: IntArray, level: float
) -> DayFinding:
    usual = _variation(panel, same)
    answered = (panel.count[today] > 0) & ~np.isnan(usual.mean)
    if len(same) + len(other) < DAYS_MIN or usual.days < OF_A_KIND_MIN or not answered.any():
        return DayFinding(
            label=label,
            asks=int(((panel.count[same].sum(axis=0) > 0) & (panel.count[today] > 0)).sum()),
            earlier=len(same),
            difference=None,
            ordinary=None,
            p=None,
            alarm=False,
        )
    ordinary = expectation(usual, _variation(panel, other), answered)
    pooled, known = _pooled(panel, same)
    distance = _distance(panel.mean[today], pooled)
    answered = answered & known
    difference = float(distance[answered].mean() - usual.mean[answered].mean())
    return DayFinding(
        label=label,
        asks=int(answered.sum()),
        earlier=usual.days,
        difference=difference,
        ordinary=ordinary.spread,
        p=ordinary.p(difference, level),
        alarm=False,
    )


def _pooled(panel: Panel, days: IntArray) -> tuple[FloatArray, BoolArray]:
    """Returns the shares of first tokens of these days together, and the prompts that were answered."""
    count = panel.count[days]
    replies = count.sum(axis=0)
    sums = np.einsum("dak,da->ak", panel.mean[days], count)
    return np.asarray(sums / np.maximum(replies, 1)[:, None]), np.asarray(replies > 0)


def _distance(here: FloatArray, there: FloatArray) -> FloatArray:
    """Returns the total variation over the last axis."""
    return np.asarray(np.abs(here - there).sum(axis=-1) / 2)


def _variation(panel: Panel, days: IntArray) -> Variation:
    """Measures the distance of each of these days to the others together, by prompt, and how it varies."""
    prompts = panel.count.shape[1]
    if len(days) < 2:
        return Variation(mean=np.full(prompts, np.nan), days=0, variance=0.0, noise=np.full(prompts, np.nan))
    mean, count = panel.mean[days], panel.count[days].astype(np.float64)
    weighted = mean * count[:, :, None]
    others = count.sum(axis=0) - count
    rest = (weighted.sum(axis=0) - weighted) / np.maximum(others, 1)[:, :, None]
    shared = (count > 0) & (others > 0)
    distance = np.where(shared, _distance(mean, rest), 0.0)
    compared = shared.sum(axis=0)
    by_prompt = np.where(compared > 0, distance.sum(axis=0) / np.maximum(compared, 1), np.nan)
    whole = shared.any(axis=1)
    by_day = (distance.sum(axis=1) / np.maximum(shared.sum(axis=1), 1))[whole]
    squares = np.where(shared, (distance - by_prompt) ** 2, 0.0).sum(axis=0)
    return Variation(
        mean=by_prompt,
        days=len(by_day),
        variance=float(by_day.var(ddof=1)) if len(by_day) > 1 else 0.0,
        noise=np.where(compared > 1, squares / np.maximum(compared - 1, 1), np.nan),
    )
