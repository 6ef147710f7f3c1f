"""Has a method changed since last time? A small panel of asks, put again on other days.

Knows days of replies and of facts; nothing of stores. Keeps: each day is held against all earlier days
pooled, for which replies came today is then pure chance, and independent of every day before; without a
change the mean time to a false alarm is at least the days asked for. Does not promise: to see a change of a
few asks in a hundred; the audit of two full sweeps does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from harness.audit.replies.columns import ReplyColumns
from harness.audit.replies.label_permutation import DRAWS
from harness.audit.replies.reply_audit import sample_p
from harness.core.errors import AuditError
from harness.core.seeds import derive_seed

DAYS_MEAN = 365.0
TODAY, EARLIER = "today", "earlier"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelReply:
    """One reply to one first ask.

    ask   of its whole prompt: equal hash, identical prompt;  ending  why it ended, in its provider's words"""

    item: str
    ask: str
    text: str
    ending: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one method said on one day.

    facts          what the provider told of itself, by name: served model, fingerprint, price; several values
                   where it told several
    prompt_tokens  of each ask, as the provider counted them"""

    label: str
    replies: tuple[PanelReply, ...]
    facts: Mapping[str, tuple[str, ...]]
    prompt_tokens: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFinding:
    """One day against all before it.

    asks      in common with them
    p         of "as before"; None on the first day, and where nothing was asked before
    evidence  of the detector after this day;  alarm: it has reached what was asked for, and starts anew"""

    label: str
    asks: int
    p: float | None
    evidence: float
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvent:
    """A step in what the provider tells of itself: seen, not tested."""

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


def drift(
    method: str, days: Sequence[Day], *, days_mean: float = DAYS_MEAN, seed: int = 0, draws: int = DRAWS
) -> Drift:
    """The days in order, each against those before it.

    days_mean  mean number of days to a false alarm
    raises     AuditError with fewer than two days, or if no ask was put on two of them
    source     Shiryaev-Roberts over e-values: Shin, Ramdas & Rinaldo (2024), New England J. Statist. Data
               Sci. 2; a p as an e-value: Vovk & Wang (2021), Ann. Statist. 49"""
    if len(days) < 2:
        raise AuditError(f"{method}: drift needs two days at least")
    found = tuple(_findings(method, days, days_mean, seed, draws))
    if all(day.p is None for day in found):
        raise AuditError(
            f"{method}: no ask was put on two of these days; play the same sweep again, into a store of its own"
        )
    return Drift(
        method=method,
        days=found,
        events=tuple(_events(days)),
        days_mean=days_mean,
        sentence=_sentence(method, found, days_mean),
    )


def _findings(method: str, days: Sequence[Day], days_mean: float, seed: int, draws: int) -> list[DayFinding]:
    pool: list[PanelReply] = []
    evidence = 0.0
    found = []
    for day in days:
        known = {reply.ask for reply in pool}
        asks = len({reply.ask for reply in day.replies} & known)
        p = _day_p(pool, day.replies, derive_seed(seed, "drift", method, day.label), draws) if asks else None
        if p is not None:
            evidence = (1 + evidence) / (2 * sqrt(p))
        alarm = evidence >= days_mean
        found.append(DayFinding(label=day.label, asks=asks, p=p, evidence=evidence, alarm=alarm))
        if alarm:
            pool, evidence = [], 0.0
        pool += day.replies
    return found


def _day_p(pool: Sequence[PanelReply], today: Sequence[PanelReply], seed: int, draws: int) -> float | None:
    rows = [(EARLIER, reply) for reply in pool] + [(TODAY, reply) for reply in today]
    columns = ReplyColumns(
        method=[when for when, _ in rows],
        item=[reply.item for _, reply in rows],
        turn=[0] * len(rows),
        ask_hash=[reply.ask for _, reply in rows],
        reply=[reply.text for _, reply in rows],
        size=[len(reply.text.encode("utf-8", "replace")) for _, reply in rows],
        ending=[reply.ending for _, reply in rows],
    )
    return sample_p(columns, TODAY, EARLIER, np.random.default_rng(seed), draws)


def _events(days: Sequence[Day]) -> list[DriftEvent]:
    found = []
    for before, after in pairwise(days):
        for fact in sorted({*before.facts, *after.facts}):
            was, now = (", ".join(day.facts.get(fact, ())) or "not said" for day in (before, after))
            if was != now:
                found.append(DriftEvent(label=after.label, fact=fact, before=was, after=now))
        common = sorted(before.prompt_tokens.keys() & after.prompt_tokens.keys())
        moved = [after.prompt_tokens[ask] - before.prompt_tokens[ask] for ask in common]
        if any(moved):
            was, now = (
                f"{sum(day.prompt_tokens[ask] for ask in common) / len(common):.1f}"
                for day in (before, after)
            )
            found.append(
                DriftEvent(label=after.label, fact="tokens of identical prompts", before=was, after=now)
            )
    return found


def _sentence(method: str, found: Sequence[DayFinding], days_mean: float) -> str:
    alarms = [day for day in found if day.alarm]
    if alarms:
        when = ", ".join(day.label for day in alarms)
        return (
            f"{method} has changed: announced on {when}, with a false alarm in {days_mean:,.0f} days on average. "
            "Audit full sweeps of before and after, on equal items."
        )
    return (
        f"{method}: no change announced in {len(found)} days; evidence {found[-1].evidence:.2g} of {days_mean:,.0f}. "
        "A change of few replies can hide for long."
    )
