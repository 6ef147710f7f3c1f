"""Counts how much of a sweep has ended, method by method, for every table of scores and verdicts.

Joins the counts of planned plays to the audit room; computes no score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.audit.scores.arrays import EpisodeColumns
from harness.audit.scores.unfinished import MethodProgress
from harness.store.planned_plays import PlayCounts
from harness.store.reader import EpisodeRows
from harness.store.reply_ends import KeptReplies

AGAIN = "again"
Counts = Mapping[tuple[str, str], PlayCounts]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPlays:
    """One access method's plays, by what has become of them.

    planned      None for an imported method, which has no plan
    ended        with an outcome; failed: without one, by an error; open: begun, and neither of these
    complete     nothing more is to be played
    unknown_ends replies that are kept although nothing says that they are complete, of how many replies; the
                 store is of a version that took any end for good
    blocks       look blocks of the plan, or its sessions if it has several; whole_blocks: of which all plays
                 have ended or failed: an unfinished method is judged by these alone"""

    method: str
    planned: int | None
    ended: int
    failed: int
    open: int
    never_begun: int
    complete: bool
    blocks: int
    whole_blocks: int
    unknown_ends: int = 0
    replies: int = 0


def replicate_of(method: str) -> str:
    """Returns the name under which the second play of a reference is audited."""
    return f"{method} ({AGAIN})"


def player(method: str, arm: str) -> str:
    """Returns the name under which the plays of a method and arm are audited."""
    return replicate_of(method) if arm == AGAIN else method


def method_plays(
    counts: Counts, rows: EpisodeRows, methods: Sequence[str], kept: Sequence[KeptReplies]
) -> tuple[MethodPlays, ...]:
    """Returns the plays of these methods and of their A/A replicates.

    rows   all ended episodes, those of unfinished blocks included
    kept   the replies of methods that have some without a known end"""
    unknown = {player(one.method, one.arm): one for one in kept}
    ended = Counter(zip(rows.method, rows.arm, rows.status, strict=True))
    found = []
    for method in methods:
        arms = [arm for name, arm in counts if name == method] or sorted(
            {arm for name, arm, _ in ended if name == method}, reverse=True
        )
        found += [_plays(counts.get((method, arm)), method, arm, ended) for arm in arms or ["main"]]
    return tuple(
        replace(one, unknown_ends=ends.unknown, replies=ends.replies)
        if (ends := unknown.get(one.method))
        else one
        for one in found
    )


def _plays(
    counted: PlayCounts | None, method: str, arm: str, ended: Mapping[tuple[str, str, str], int]
) -> MethodPlays:
    """Returns one arm's plays: by its plan, or as the episodes show them where there is none."""
    if counted is None:
        finished = ended.get((method, arm, "finished"), 0)
        failed = ended.get((method, arm, "failed"), 0)
        return MethodPlays(
            method=player(method, arm),
            planned=None,
            ended=finished,
            failed=failed,
            open=0,
            never_begun=0,
            complete=True,
            blocks=0,
            whole_blocks=0,
        )
    return MethodPlays(
        method=player(method, arm),
        planned=counted.planned,
        ended=counted.ended,
        failed=counted.failed,
        open=counted.open,
        never_begun=0 if counted.settled else counted.never_begun,
        complete=counted.complete,
        blocks=len(counted.shares),
        whole_blocks=counted.whole,
    )


def complete(plays: Iterable[MethodPlays]) -> bool:
    """Returns whether nothing more is to be played by any of these."""
    return all(one.complete for one in plays)


def progress_of(counts: Counts, rows: EpisodeRows) -> dict[str, MethodProgress]:
    """Returns how far each planned method's plays have ended; empty where all have.

    rows   all ended episodes, those of unfinished blocks included"""
    if all(counted.complete for counted in counts.values()):
        return {}
    ended: Counter[tuple[str, str, str]] = Counter()
    points: dict[tuple[str, str, str], float] = {}
    columns = zip(rows.method, rows.arm, rows.game, rows.outcome, rows.score, strict=True)
    for method, arm, game, outcome, score in columns:
        if outcome is not None:
            ended[method, arm, game] += 1
            points[method, arm, game] = points.get((method, arm, game), 0.0) + (score or 0.0)
    return {
        player(method, arm): MethodProgress(
            complete=counted.complete,
            shares=counted.shares,
            whole=counted.whole,
            planned=counted.games,
            ended={game: ended[method, arm, game] for game in counted.games},
            points={game: points.get((method, arm, game), 0.0) for game in counted.games},
        )
        for (method, arm), counted in counts.items()
    }


def episode_columns(rows: EpisodeRows) -> EpisodeColumns:
    """Returns the rows by method; an A/A replicate is a method of its own and never pooled with the
    reference."""
    return EpisodeColumns(
        method=[*map(player, rows.method, rows.arm)],
        game=rows.game,
        item=rows.item,
        repeat=rows.repeat,
        outcome=rows.outcome,
        score=rows.score,
        batch=rows.batch,
        calls=rows.calls,
        session=rows.session,
        started_at=rows.started_at,
        finished_at=rows.finished_at,
    )
