"""Reads what a store holds of a sweep: which planned episodes ended, and how far the others came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.access.game_sets import game_sets
from harness.config.episode_plans import Cells, GameSet, numbered, planned
from harness.config.sweep import SweepSpec
from harness.core.vocabulary import EpisodePlan, item_key
from harness.progress.meters import ScoreSum
from harness.scheduler.episode import Beginning, RecordedTurn
from harness.scheduler.spending import Spending
from harness.store.file import open_to_read
from harness.store.query_server import Readable
from harness.store.resuming import (
    Which,
    abandoned_attempts,
    failed_attempts,
    points_by_game,
    session_ends,
    spent_by_method,
    stored_cells,
    stored_draws,
    unfinished_turns,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The rows that earlier runs left in the store.

    ended       seating -> its episodes that are not to be played again
    failed      how many of these failed
    beginnings  episode id -> where its unfinished play stands
    session_ends  (seating, session) -> when its last stored episode ended, in seconds since 1970
    spent       method -> what its calls cost
    points      (method, game) -> its episodes and the sum of their scores"""

    ended: Mapping[str, Cells]
    failed: int
    beginnings: dict[str, Beginning]
    session_ends: Mapping[tuple[str, int], float]
    spent: dict[str, Spending]
    points: dict[tuple[str, str], ScoreSum]

    def beginning(self, plan: EpisodePlan) -> Beginning:
        """Returns where this episode stands, and forgets it: each is asked for once."""
        return self.beginnings.pop(plan.episode_id, Beginning())


def read_stored(
    connection: Readable, spec: SweepSpec, sets: Mapping[str, GameSet], *, retry_failed: bool
) -> Stored:
    """Returns what the store holds of the sweep.

    retry_failed  count failed episodes as not ended, so that they are played again"""
    again = abandoned_attempts(connection)
    failures, failed = failed_attempts(connection), 0
    if retry_failed:
        again |= failures
    elif failures:
        failed = sum(map(len, cells_of(connection, "failed", spec, sets).values()))
    beginnings = {episode: Beginning(attempt=last + 1) for episode, last in again.items()}
    for episode, turns in unfinished_turns(connection).items():
        beginnings[episode] = Beginning(
            attempt=turns[0].attempt,
            turns=[
                RecordedTurn(ask_hash=turn.ask_hash, reply=turn.reply, stored=turn.has_row) for turn in turns
            ],
        )
    ended = cells_of(connection, "finished" if retry_failed else "ended", spec, sets)
    spent = {
        row.method: Spending(calls=row.calls, tokens=row.tokens, cost_usd=row.cost_usd)
        for row in spent_by_method(connection)
    }
    points = {
        (method, game): ScoreSum(episodes=count, total=total)
        for method, game, count, total in points_by_game(connection)
    }
    return Stored(
        ended=ended,
        failed=failed,
        beginnings=beginnings,
        session_ends=session_ends(connection) if spec.audit.sessions > 1 else {},
        spent=spent,
        points=points,
    )


def cells_of(
    connection: Readable, which: Which, spec: SweepSpec, sets: Mapping[str, GameSet]
) -> dict[str, Cells]:
    """Returns seating -> its planned episodes that the store holds.

    which  "ended", "finished" or "failed": the episodes that count"""
    items = numbered(sets)
    cells = {
        name: Cells(items=len(items), repeats=spec.repeats, arms=spec.arms(name)) for name in spec.seatings()
    }
    keys = [item_key(item.instance, item.chosen.rules) for item in items]
    seats = [item.chosen.seats for item in items]
    for row in stored_cells(connection, which, items=keys, seats=seats, repeats=spec.repeats):
        if row.method in cells:
            cells[row.method].hold(row.arm, row.held)
    return cells


def episodes_planned(spec: SweepSpec, sets: Mapping[str, GameSet]) -> dict[str, int]:
    """Returns seating -> how many episodes it has in all."""
    return {
        name: planned(seating, sets, repeats=spec.repeats, arms=spec.arms(name))
        for name, seating in spec.seatings().items()
    }


def draws_of(store: Path) -> dict[str, str | None]:
    """Returns how the instances of the games in this store were chosen; nothing for a store that is not
    there."""
    if not store.exists():
        return {}
    with open_to_read(store) as connection:
        return stored_draws(connection)


def episodes_lacking(spec: SweepSpec, *, source: Path, store: Path) -> int:
    """Returns how many episodes of the sweep the store lacks; a store that does not exist lacks all.

    source  the sweep file: relative paths start beside it, and errors name it"""
    sets = game_sets(spec, source, draws=draws_of(store))
    total = sum(episodes_planned(spec, sets).values())
    if not store.exists():
        return total
    with open_to_read(store) as connection:
        return total - sum(map(len, cells_of(connection, "ended", spec, sets).values()))
