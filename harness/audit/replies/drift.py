"""Has a method changed since earlier days? A small panel of first asks, put again on other days.

Knows days of replies and of facts; nothing of stores. Keeps: an alarm needs a difference that is larger than
the ordinary variation from day to day and than a margin; without a change the mean time to a false alarm is
at least the days asked for, if days vary independently. Does not promise: to see a change below the margin,
or one that comes over weeks; an audit of two full sweeps sees more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

from harness.audit.replies.columns import NOT_REPORTED
from harness.audit.replies.kernels import prepare
from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray
from harness.core.errors import AuditError

DAYS_MEAN = 365.0
MATCH_MIN = (
    0.25  # pairs of replies of different days that are equal, below which words are less noisy than texts
)
DAYS_MIN = 7  # earlier days that an interval needs: one of each day of the week
OF_A_KIND_MIN = 3  # earlier days of the same kind, weekend or not, that a day is compared with
SKEW_DAYS = 30  # days at which half of the observed skew is believed: its error is sqrt(6 / days)
MARGIN = 0.10  # as if one reply in ten were exchanged: total variation, where replies repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReply:
    """One reply to one first ask.

    ask   of its whole prompt: equal hash, identical prompt;  ending  the finish reason in its provider's
          words"""

    item: str
    ask: str
    text: str
    ending: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One method's replies of one day.

    facts          what the provider reports of itself, by name: served model, fingerprint; all values of the
                   day
    prompt_tokens  of each ask, as the provider counts them
    weekend        a Saturday or Sunday"""

    label: str
    replies: tuple[PanelReply, ...]
    facts: Mapping[str, tuple[str, ...]]
    prompt_tokens: Mapping[str, float]
    weekend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFinding:
    """One day compared with earlier days of its kind.

    asks        in common with earlier days
    earlier     days that it is compared with
    difference  how much less similar its replies are to those of the earlier days than these are to each
                other, as a share of the latter: 0 is an ordinary day, 1 nothing in common; None with too few
                days
    ordinary    standard deviation of that figure from day to day: of the days of its kind, or pooled over
                weekend and other days if that is larger
    p           of "an ordinary day", two-sided
    alarm       the baseline starts anew with this day"""

    label: str
    asks: int
    earlier: int
    difference: float | None
    ordinary: float | None
    p: float | None
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvent:
    """A change in what the provider reports of itself: observed, not tested."""

    label: str
    fact: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One method over its days."""

    method: str
    days: tuple[DayFinding, ...]
    events: tuple[DriftEvent, ...]
    days_mean: float
    sentence: str

    @property
    def changed(self) -> bool:
        return any(day.alarm for day in self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """Replies as vectors, whose inner product is the similarity of two replies.

    mean   (days, asks, places) mean vector of a day's replies to an ask;  count  (days, asks)
    square (days, asks) squared length of the mean vectors"""

    mean: FloatArray
    count: IntArray
    square: FloatArray


def drift(method: str, days: Sequence[Day], *, days_mean: float = DAYS_MEAN) -> Drift:
    """Compares each day, in order, with those before it.

    days_mean  mean number of days to a false alarm
    raises     AuditError with fewer than two days, or if no ask was put on two of them
    source     prediction interval for one future value: Hahn & Meeker (1991), Statistical Intervals, 4.7"""
    if len(days) < 2:
        raise AuditError(f"{method}: drift needs two days at least")
    panel = _panel(days)
    if not (panel.count > 0).sum(axis=0).max() > 1:
        raise AuditError(
            f"{method}: no ask was put on two of these days; play the same sweep again, into a store of its "
            "own"
        )
    weekend = np.array([day.weekend for day in days])
    findings, start = [], 0
    for place, day in enumerate(days):
        finding = _finding(panel, weekend, start, place, day.label, days_mean)
        start = place if finding.alarm else start
        findings.append(finding)
    return Drift(
        method=method,
        days=tuple(findings),
        events=tuple(_events(days)),
        days_mean=days_mean,
        sentence=_sentence(method, findings, days_mean),
    )


# --- similarity of days -------------------------------------------------------------------------------------


def _panel(days: Sequence[Day]) -> _Panel:
    """Returns replies as unit vectors: of their text where replies mostly repeat, else of their words."""
    asks = {ask: place for place, ask in enumerate(sorted({r.ask for day in days for r in day.replies}))}
    rows = [(place, reply) for place, day in enumerate(days) for reply in day.replies]
    cell = np.array([place * len(asks) + asks[reply.ask] for place, reply in rows], dtype=np.int64)
    count = np.bincount(cell, minlength=len(days) * len(asks)).reshape(len(days), len(asks))
    panel = _panel_of(cell, _texts(asks, rows), count)
    similarity, shared = _to_others(panel, np.arange(min(len(days), DAYS_MIN)))
    if not shared.any() or similarity[shared].mean() >= MATCH_MIN:
        return panel
    texts = list(dict.fromkeys(reply.text for _, reply in rows))
    place_of = {text: place for place, text in enumerate(texts)}
    words = prepare(texts).words.astype(np.float64)
    return _panel_of(cell, words[[place_of[reply.text] for _, reply in rows]], count)


def _texts(asks: Mapping[str, int], rows: Sequence[tuple[int, PanelReply]]) -> FloatArray:
    """Returns a one-hot vector of each reply: its place among the texts of its ask, (replies, places)."""
    known: list[dict[str, int]] = [{} for _ in asks]
    codes = [
        texts.setdefault(reply.text, len(texts))
        for texts, reply in ((known[asks[reply.ask]], reply) for _, reply in rows)
    ]
    return np.asarray(np.eye(max(codes) + 1)[codes])


def _panel_of(cell: IntArray, vectors: FloatArray, count: IntArray) -> _Panel:
    """Returns the panel of replies with these vectors; cell says of which day and ask each is."""
    sums = np.zeros((count.size, vectors.shape[1]))
    np.add.at(sums, cell, vectors)
    mean = (sums / np.maximum(count.reshape(-1, 1), 1)).reshape(*count.shape, -1)
    return _Panel(mean=mean, count=count, square=np.einsum("dak,dak->da", mean, mean))


def _to_others(panel: _Panel, days: IntArray) -> tuple[FloatArray, BoolArray]:
    """Returns each of these days' mean similarity to the others, by ask, and where both have replies; (days,
    asks)."""
    mean, count = panel.mean[days], panel.count[days]
    to_all = np.einsum("dak,ak->da", mean, _sums(mean, count))
    others = count.sum(axis=0) - count
    similarity = (to_all - count * panel.square[days]) / np.maximum(others, 1)
    return similarity, (count > 0) & (others > 0)


def _sums(mean: FloatArray, count: IntArray) -> FloatArray:
    """Returns the sum of all replies' vectors, (asks, places)."""
    return np.asarray(np.einsum("da,dak->ak", count.astype(np.float64), mean))


# --- one day against earlier ones ---------------------------------------------------------------------------


def _finding(
    panel: _Panel, weekend: BoolArray, start: int, today: int, label: str, days_mean: float
) -> DayFinding:
    """Compares one day with the days from `start` to it: those of its kind, weekend or not, if there are
    enough."""
    earlier = np.arange(start, today)
    asks = int(((panel.count[earlier] > 0).any(axis=0) & (panel.count[today] > 0)).sum())
    same = weekend[earlier] == weekend[today]
    strata = [earlier[same], earlier[~same]]
    if len(earlier) < DAYS_MIN or len(strata[0]) < OF_A_KIND_MIN or not asks:
        return DayFinding(
            label=label,
            asks=asks,
            earlier=len(strata[0]),
            difference=None,
            ordinary=None,
            p=None,
            alarm=False,
        )
    varied = [_variation(panel, days) for days in strata if len(days) > 1]
    freedom = sum(len(one.standardised) - 1 for one in varied)
    pooled = np.sqrt(sum((len(one.standardised) - 1) * one.spread**2 for one in varied) / freedom)
    ordinary = float(max(pooled, varied[0].spread))
    difference = _difference(panel, strata[0], today)
    tail = _tail([one.standardised for one in varied], days_mean) if difference > 0 else 1.0
    p = _p_ordinary(difference, ordinary * tail, len(strata[0]), freedom)
    return DayFinding(
        label=label,
        asks=asks,
        earlier=len(strata[0]),
        difference=difference,
        ordinary=ordinary,
        p=p,
        alarm=p < 1 / days_mean and abs(difference) > MARGIN,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variation:
    """Variation between days of one kind.

    spread        standard deviation of a day's similarity to the others, as a share of the mean
    standardised  (days,) how much less similar each is than the mean, in these deviations"""

    spread: float
    standardised: FloatArray


def _variation(panel: _Panel, days: IntArray) -> _Variation:
    """Measures how similar each of these days is to the others.

    The spread is at least the deviation that asks which vary independently give: the sampling noise within a
    day."""
    similarity, shared = _to_others(panel, days)
    by_day = _mean_where(similarity, shared)
    if len(by_day) < 2 or by_day.mean() < 1e-12:
        return _Variation(spread=0.0, standardised=np.zeros(len(days)))
    spread = max(float(by_day.std(ddof=1)), _noise(similarity, shared))
    below = by_day.mean() - by_day
    return _Variation(
        spread=spread / float(by_day.mean()), standardised=below / spread if spread > 1e-12 else below
    )


def _tail(standardised: Sequence[FloatArray], days_mean: float) -> float:
    """Returns by how much the upper tail of the differences is longer than a normal one, at the level of an
    alarm.

    Days differ by small amounts often and by large ones rarely, which is skew; without this, services whose
    days vary half-normally give twice the false alarms.
    source  Cornish & Fisher (1938), first term"""
    values = np.concatenate(standardised)
    skew = max(0.0, float((values**3).mean()) / max(float((values**2).mean()) ** 1.5, 1e-12))
    skew *= len(values) / (len(values) + SKEW_DAYS)
    level = float(stats.norm.isf(0.5 / days_mean))
    return float(1 + skew * (level**2 - 1) / (6 * level))


def _difference(panel: _Panel, days: IntArray, today: int) -> float:
    """Returns how much less similar today's replies are to those of these days than these are to each
    other."""
    usual = _mean_where(*_to_others(panel, days))
    sums = _sums(panel.mean[days], panel.count[days])
    replies = panel.count[days].sum(axis=0)
    here = (replies > 0) & (panel.count[today] > 0)
    similarity = np.einsum("ak,ak->a", panel.mean[today], sums) / np.maximum(replies, 1)
    if not here.any() or not len(usual) or usual.mean() < 1e-12:
        return 0.0
    return 1 - float(similarity[here].mean() / usual.mean())


def _mean_where(values: FloatArray, shared: BoolArray) -> FloatArray:
    """Returns the mean over shared asks, (days,); days without one are left out."""
    known = shared.any(axis=1)
    return np.asarray((values * shared).sum(axis=1)[known] / shared.sum(axis=1)[known])


def _noise(similarity: FloatArray, shared: BoolArray) -> float:
    """Returns the standard deviation of a day's mean if asks vary independently: the sampling noise within a
    day."""
    count = shared.sum(axis=0)
    mean = (similarity * shared).sum(axis=0) / np.maximum(count, 1)
    square = (((similarity - mean) * shared) ** 2).sum(axis=0) / np.maximum(count - 1, 1)
    return float(np.sqrt(square.sum()) / max(int((count > 0).sum()), 1))


def _p_ordinary(difference: float, spread: float, days: int, freedom: int) -> float:
    """Returns the two-sided p of one future day, by Student's t.

    days   whose mean it is compared with;  freedom  degrees of freedom of the spread"""
    if spread < 1e-12:
        return 1.0 if abs(difference) < 1e-12 else 0.0
    return float(2 * stats.t.sf(abs(difference) / (spread * np.sqrt(1 + 1 / days)), freedom))


def _events(days: Sequence[Day]) -> list[DriftEvent]:
    events = []
    for before, after in pairwise(days):
        for fact in sorted({*before.facts, *after.facts}):
            was, now = (", ".join(day.facts.get(fact, ())) or NOT_REPORTED for day in (before, after))
            if was != now:
                events.append(DriftEvent(label=after.label, fact=fact, before=was, after=now))
        common = sorted(before.prompt_tokens.keys() & after.prompt_tokens.keys())
        moved = [after.prompt_tokens[ask] - before.prompt_tokens[ask] for ask in common]
        if any(moved):
            was, now = (
                f"{sum(day.prompt_tokens[ask] for ask in common) / len(common):.1f}"
                for day in (before, after)
            )
            events.append(
                DriftEvent(label=after.label, fact="tokens of identical prompts", before=was, after=now)
            )
    return events


def _sentence(method: str, findings: Sequence[DayFinding], days_mean: float) -> str:
    alarms = [day for day in findings if day.alarm]
    if alarms:
        when = "; ".join(
            f"{day.label} by {100 * abs(day.difference or 0.0):.0f} %, where days ordinarily differ by "
            f"{100 * (day.ordinary or 0.0):.1f} %"
            for day in alarms
        )
        return (
            f"{method} has changed: its replies differ from those of earlier days by more than ordinary "
            f"day-to-day variation ({when}). A false alarm comes once in {days_mean:,.0f} days. "
            "Audit full sweeps of before and after, on equal items."
        )
    last = findings[-1]
    if last.difference is None or last.ordinary is None:
        return (
            f"{method}: not enough days yet: a day needs {DAYS_MIN} earlier days, {OF_A_KIND_MIN} of them of "
            f"its kind (weekend or not); there are {len(findings)} days in all."
        )
    return (
        f"{method}: no change beyond ordinary day-to-day variation in {len(findings)} days; the last one "
        f"differs by {100 * abs(last.difference):.1f} %, where days ordinarily differ by "
        f"{100 * last.ordinary:.1f} %. "
        f"Changes below {100 * MARGIN:.0f} % are not reported."
    )
