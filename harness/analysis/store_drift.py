"""Compares stores of different days: has a method changed?

Joins stores to the audit room. Each store is one day: the same sweep played again into a store of its own.
Replies to first asks are compared with those of all earlier days; scores of equal items with those of the
first day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.audit.replies.drift import Day, Drift, PanelReply, drift
from harness.audit.scores.arrays import EpisodeColumns, score_array
from harness.audit.scores.findings import Audit
from harness.audit.scores.score_audit import audit
from harness.core.errors import AuditError, StoreError
from harness.store.file import open_to_read
from harness.store.planned_plays import play_counts
from harness.store.reader import (
    AuditChoices,
    EpisodeRows,
    FirstReply,
    audit_choices,
    episode_rows,
    replies_to_first_asks,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDrift:
    """One method: its replies day by day, and its scores, each later day against the first; None if scores
    are not comparable."""

    replies: Drift
    scores: Audit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    label: str
    first_at: float
    replies: Sequence[FirstReply]
    episodes: EpisodeRows
    choices: AuditChoices


def store_drift(stores: Sequence[Path], *, days_mean: float) -> tuple[MethodDrift, ...]:
    """Returns every method that was asked on two of these days, in order of name.

    stores  in any order: their first calls date them
    raises  AuditError if no method was; StoreError"""
    days = sorted(map(_read, _distinct(stores)), key=lambda day: day.first_at)
    methods = sorted({reply.method for day in days for reply in day.replies})
    found = []
    for method in methods:
        asked = [day for day in days if any(reply.method == method for reply in day.replies)]
        if len(asked) > 1:
            told = drift(method, [_day(day, method) for day in asked], days_mean=days_mean)
            found.append(MethodDrift(replies=told, scores=_scores(asked, method)))
    if not found:
        raise AuditError(
            "no access method was asked in two of these stores; "
            f"they contain {', '.join(methods) or 'no replies'}"
        )
    return tuple(found)


def _distinct(stores: Sequence[Path]) -> Sequence[Path]:
    if len({store.resolve() for store in stores}) < len(stores):
        raise AuditError("a store is named twice; name stores of different days")
    return stores


def _read(store: Path) -> _Store:
    with open_to_read(store) as connection:
        replies = replies_to_first_asks(connection)
        if not replies:
            raise StoreError(
                f"{store}: no block of items in this store is complete, or it has no reply; "
                "drift compares the replies of complete blocks"
            )
        first = min(reply.sent_at for reply in replies)
        return _Store(
            label=f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d} {store.stem}",
            first_at=first,
            replies=replies,
            episodes=episode_rows(connection).counted(play_counts(connection)),
            choices=audit_choices(connection),
        )


def _day(day: _Store, method: str) -> Day:
    replies = [reply for reply in day.replies if reply.method == method]
    tokens: dict[str, list[int]] = {}
    for reply in replies:
        if reply.prompt_tokens is not None:
            tokens.setdefault(reply.ask_hash, []).append(reply.prompt_tokens)
    facts = {
        "served model": tuple(sorted({reply.served_model for reply in replies if reply.served_model})),
        "system fingerprint": tuple(sorted({reply.fingerprint for reply in replies if reply.fingerprint})),
    }
    return Day(
        label=day.label,
        weekend=datetime.fromtimestamp(day.first_at, UTC).weekday() >= 5,
        replies=tuple(
            PanelReply(
                item=reply.item,
                ask=reply.ask_hash,
                text=reply.reply,
                ending=reply.ending,
                first_logprob=reply.first_logprob,
            )
            for reply in replies
        ),
        facts={name: values for name, values in facts.items() if values},
        prompt_tokens={ask: sum(counts) / len(counts) for ask, counts in tokens.items()},
    )


def _scores(days: Sequence[_Store], method: str) -> Audit | None:
    """Compares each later day with the first, as if days were access methods; None if no item was finished on
    both."""
    rows = [row for day in days for row in _episodes(day, method)]
    if not rows:
        return None
    label, game, item, repeat, batch, outcome, score, calls = zip(*rows, strict=True)
    columns = EpisodeColumns(
        method=label,
        game=game,
        item=item,
        repeat=repeat,
        batch=batch,
        outcome=outcome,
        score=score,
        calls=calls,
    )
    chosen = days[0].choices
    try:
        return audit(
            score_array(columns),
            days[0].label,
            margin=chosen.margin,
            margin_played=chosen.margin_played,
            margin_game=chosen.margin_game,
            alpha=chosen.alpha,
            seed=chosen.seed,
        )
    except AuditError:
        return None


def _episodes(day: _Store, method: str) -> Iterator[tuple[object, ...]]:
    rows = day.episodes
    columns = zip(
        rows.method,
        rows.arm,
        rows.game,
        rows.item,
        rows.repeat,
        rows.batch,
        rows.outcome,
        rows.score,
        rows.calls,
        strict=True,
    )
    for name, arm, *rest in columns:
        if name == method and arm == "main":
            yield day.label, *rest
