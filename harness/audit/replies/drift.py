"""Has a method changed since earlier days? A small panel of first asks, put again on other days.

Knows days of replies and of facts; nothing of stores. Keeps: an alarm needs a difference that is larger than
the ordinary variation from day to day and than a margin; without a change the mean time to a false alarm is
at least the days asked for, if days vary independently. Does not promise: to see a change below the margin,
or one that comes over weeks; an audit of two full sweeps sees more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from harness.audit.replies.columns import NOT_REPORTED
from harness.audit.replies.day_variation import EarlierDays, Panel, difference, expectation
from harness.audit.replies.first_token import FirstTokens, compare_first_tokens
from harness.audit.replies.kernels import prepare
from harness.audit.scores.arrays import BoolArray, FloatArray, IntArray
from harness.core.errors import AuditError
from harness.core.seeds import derive_seed

DAYS_MEAN = 365.0
# pairs of replies of different days that are equal, below which words are less noisy than texts
MATCH_MIN = 0.25
DAYS_MIN = 7  # earlier days that an interval needs: one of each day of the week
OF_A_KIND_MIN = 3  # earlier days of the same kind, weekend or not, that a day is compared with
MARGIN = 0.10  # as if one reply in ten were exchanged: total variation, where replies repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReply:
    """One reply to one first ask.

    ask   of its whole prompt: equal hash, identical prompt;  ending  the finish reason in its provider's
          words
    first_logprob   log-probability of its first token; None: not stated"""

    item: str
    ask: str
    text: str
    ending: str | None
    first_logprob: float | None = None


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

    asks        in common with earlier days of its kind, weekend or not
    earlier     days of its kind that it is compared with
    difference  how much less similar its replies are to those of the earlier days than these are to each
                other, as a share of the latter: 0 is an ordinary day, 1 nothing in common; None with too few
                days
    ordinary    standard deviation of that figure from day to day
    p           of an ordinary day that differs so much in this direction
    alarm       the baseline starts anew with this day
    first_tokens   log-probabilities beside those of all earlier days together; None where none are stated on
                   both sides. It does not allow for day-to-day variation, so it raises no alarm"""

    label: str
    asks: int
    earlier: int
    difference: float | None
    ordinary: float | None
    p: float | None
    alarm: bool
    first_tokens: FirstTokens | None = None


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


def drift(method: str, days: Sequence[Day], *, days_mean: float = DAYS_MEAN) -> Drift:
    """Compares each day, in order, with those before it.

    days_mean  mean number of days to a false alarm
    raises     AuditError with fewer than two days, or if no ask was put on two of them"""
    if len(days) < 2:
        raise AuditError(f"{method}: drift needs at least two days")
    panel = _panel(days)
    if not (panel.count > 0).sum(axis=0).max() > 1:
        raise AuditError(
            f"{method}: no prompt was used on two of these days; play the same sweep on each day, with a store for "
            "each day"
        )
    findings = judge_days(panel, np.array([day.weekend for day in days]), [d.label for d in days], days_mean)
    return Drift(
        method=method,
        days=tuple(_with_first_tokens(findings, days)),
        events=tuple(drift_events(days)),
        days_mean=days_mean,
        sentence=drift_sentence(method, findings, days_mean),
    )


# --- similarity of days -------------------------------------------------------------------------------------


def _panel(days: Sequence[Day]) -> Panel:
    """Returns replies as unit vectors: of their text where replies mostly repeat, else of their words."""
    asks = {ask: place for place, ask in enumerate(sorted({r.ask for day in days for r in day.replies}))}
    rows = [(place, reply) for place, day in enumerate(days) for reply in day.replies]
    cell = np.array([place * len(asks) + asks[reply.ask] for place, reply in rows], dtype=np.int64)
    count = np.bincount(cell, minlength=len(days) * len(asks)).reshape(len(days), len(asks))
    panel = _panel_of(cell, _texts(asks, rows), count)
    similarity, shared = _of_first_days(panel).to_others()
    if not shared.any() or similarity[shared].mean() >= MATCH_MIN:
        return panel
    texts = list(dict.fromkeys(reply.text for _, reply in rows))
    place_of = {text: place for place, text in enumerate(texts)}
    words = prepare(texts).words.astype(np.float64)
    return _panel_of(cell, words[[place_of[reply.text] for _, reply in rows]], count)


def _of_first_days(panel: Panel) -> EarlierDays:
    days = EarlierDays(panel)
    for _ in range(min(len(panel.count), DAYS_MIN)):
        days.add_today()
    return days


def _texts(asks: Mapping[str, int], rows: Sequence[tuple[int, PanelReply]]) -> FloatArray:
    """Returns a one-hot vector of each reply: its place among the texts of its ask, (replies, places)."""
    known: list[dict[str, int]] = [{} for _ in asks]
    codes = [
        texts.setdefault(reply.text, len(texts))
        for texts, reply in ((known[asks[reply.ask]], reply) for _, reply in rows)
    ]
    return np.asarray(np.eye(max(codes) + 1)[codes])


def _panel_of(cell: IntArray, vectors: FloatArray, count: IntArray) -> Panel:
    """Returns the panel of replies with these vectors; cell says of which day and ask each is."""
    sums = np.zeros((count.size, vectors.shape[1]))
    np.add.at(sums, cell, vectors)
    mean = (sums / np.maximum(count.reshape(-1, 1), 1)).reshape(*count.shape, -1)
    return Panel(mean=mean, count=count, square=np.einsum("dak,dak->da", mean, mean))


# --- one day against earlier ones ---------------------------------------------------------------------------


def judge_days(
    panel: Panel, weekend: BoolArray, labels: Sequence[str], days_mean: float
) -> tuple[DayFinding, ...]:
    """Compares each day with the earlier ones of its kind since the last alarm.

    weekend  (days,) a Saturday or Sunday;  labels  of the days"""
    kinds = {kind: EarlierDays(panel.of_days(weekend == kind)) for kind in (False, True)}
    findings = []
    for label, kind in zip(labels, weekend.tolist(), strict=True):
        finding = _finding(label, kinds[kind], kinds[not kind], days_mean)
        if finding.alarm:
            for days in kinds.values():
                days.forget()
        kinds[kind].add_today()
        findings.append(finding)
    return tuple(findings)


def _finding(label: str, same: EarlierDays, other: EarlierDays, days_mean: float) -> DayFinding:
    """Compares today with the earlier days of its kind, if there are enough."""
    usual = same.variation()
    answered = same.answered & ~np.isnan(usual.mean)
    if len(same) + len(other) < DAYS_MIN or usual.days < OF_A_KIND_MIN or not answered.any():
        return DayFinding(
            label=label,
            asks=int(same.answered.sum()),
            earlier=len(same),
            difference=None,
            ordinary=None,
            p=None,
            alarm=False,
        )
    ordinary = expectation(usual, other.variation(), answered)
    found = difference(usual, same.of_today(), answered)
    p = ordinary.p(found, 1 / days_mean)
    return DayFinding(
        label=label,
        asks=int(answered.sum()),
        earlier=usual.days,
        difference=found,
        ordinary=ordinary.spread,
        p=p,
        alarm=p < 1 / days_mean and abs(found) > MARGIN,
    )


def _with_first_tokens(findings: Sequence[DayFinding], days: Sequence[Day]) -> Iterator[DayFinding]:
    """Yields the findings with the log-probabilities of each day beside those of all days before it."""
    earlier: dict[str, list[float]] = {}
    for number, (finding, day) in enumerate(zip(findings, days, strict=True)):
        today: dict[str, list[float]] = {}
        for reply in day.replies:
            if reply.first_logprob is not None:
                today.setdefault(f"{reply.item} {reply.ask}", []).append(reply.first_logprob)
        seed = derive_seed(0, "drift", "first tokens", number)
        yield replace(finding, first_tokens=compare_first_tokens(day.label, earlier, today, seed=seed))
        for prompt, values in today.items():
            earlier.setdefault(prompt, []).extend(values)


def drift_events(days: Sequence[Day]) -> list[DriftEvent]:
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


def drift_sentence(
    method: str, findings: Sequence[DayFinding], days_mean: float, *, margin: float = MARGIN
) -> str:
    """Returns what the days of one method show. margin: differences below it are not reported."""
    alarms = [day for day in findings if day.alarm]
    if alarms:
        when = "; ".join(
            f"{day.label} by {100 * abs(day.difference or 0.0):.0f} %, ordinary days by "
            f"{100 * (day.ordinary or 0.0):.1f} %"
            for day in alarms
        )
        return (
            f"{method} has changed: its replies differ from those of earlier days by more than the ordinary "
            f"day-to-day variation ({when}). One false alarm in {days_mean:,.0f} days is expected. To test the "
            "change, audit two full sweeps on equal items: one from before and one from after it."
        )
    last = findings[-1]
    if last.difference is None or last.ordinary is None:
        return (
            f"{method}: there are not enough days yet. A day needs {DAYS_MIN} earlier days, {OF_A_KIND_MIN} of "
            f"them of the same kind (weekend or not). The number of days so far is {len(findings)}."
        )
    return (
        f"{method}: no change beyond the ordinary day-to-day variation in {len(findings)} days. The last day "
        f"differs by {100 * abs(last.difference):.1f} %, ordinary days by {100 * last.ordinary:.1f} %. "
        f"Changes below {100 * margin:.0f} % are not reported."
    )
