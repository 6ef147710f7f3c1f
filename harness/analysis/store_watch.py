"""Compares the days of a watch in one store: has a method changed?

Joins the rows of the panel to the audit room. Calls of one date (UTC) are one day. Only days that asked
prompts of the last panel are compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from harness.analysis.store_drift import MethodDrift
from harness.audit.replies.drift import Day, PanelReply
from harness.audit.replies.token_days import watched
from harness.core.errors import AuditError
from harness.core.records import ProbeRecord
from harness.store.file import open_to_read
from harness.store.watch_queries import watch_rows


def store_watch(store: Path, *, days_mean: float) -> tuple[MethodDrift, ...]:
    """Returns every method that was watched, in order of name.

    days_mean  mean number of days to a false alarm
    raises     AuditError if none was; StoreError"""
    with open_to_read(store) as connection:
        rows = watch_rows(connection)
    if not rows:
        raise AuditError(f"{store}: no call of a watch was answered; lightbulb watch run plays a day")
    found = []
    for method, own in groupby(rows, key=lambda row: row.method):
        days = _days(list(own))
        found.append(MethodDrift(replies=watched(method, days, days_mean=days_mean), scores=None))
    return tuple(found)


def _days(rows: Sequence[ProbeRecord]) -> list[Day]:
    newest = {row.name for row in rows if row.check_at == rows[-1].check_at}
    kept = [row for row in rows if row.name in newest]
    return [_day(date, list(own)) for date, own in groupby(kept, key=lambda row: date_of(row.check_at))]


def date_of(check_at: float) -> str:
    """Returns the date (UTC), which is the label of a day, of calls of this moment."""
    return f"{datetime.fromtimestamp(check_at, UTC):%Y-%m-%d}"


def _day(date: str, rows: Sequence[ProbeRecord]) -> Day:
    tokens: dict[str, list[int]] = {}
    for row in rows:
        if row.prompt_tokens is not None:
            tokens.setdefault(row.name, []).append(row.prompt_tokens)
    facts = {
        "served model": tuple(sorted({row.served_model for row in rows if row.served_model})),
        "upstream": tuple(sorted({row.upstream for row in rows if row.upstream})),
        "system fingerprint": tuple(
            sorted({row.system_fingerprint for row in rows if row.system_fingerprint})
        ),
    }
    return Day(
        label=date,
        weekend=datetime.fromtimestamp(rows[0].check_at, UTC).weekday() >= 5,
        replies=tuple(
            PanelReply(item=row.name, ask=row.name, text=row.reply or "", ending=row.finish_reason)
            for row in rows
        ),
        facts={name: values for name, values in facts.items() if values},
        prompt_tokens={ask: sum(counts) / len(counts) for ask, counts in tokens.items()},
    )
