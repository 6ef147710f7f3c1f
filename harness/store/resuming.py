"""Rows out of a store that a run goes on from: which episodes it holds, how far the others came, what was spent.

Knows the tables; computes nothing. A sweep waits for this: a million calls are read in a fraction of a second, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import orjson

from harness.store.query_server import Readable

Which = Literal["ended", "finished", "failed"]

_WHICH: dict[Which, str] = {
    "ended": "status <> 'abandoned'",
    "finished": "status = 'finished'",
    "failed": "status = 'failed' AND episode_id NOT IN (SELECT episode_id FROM episodes WHERE status = 'finished')",
}


class StoredCells(NamedTuple):
    """Episodes of one seating and arm that the store holds.

    method   a pair's names, joined by +, where two played together
    held     "1" for an episode that is there, "0" for one that is not: item by item, of each all repeats"""

    method: str
    arm: str
    held: str


def stored_cells(
    connection: Readable,
    which: Which,
    *,
    items: Sequence[tuple[str, ...]],
    seats: Sequence[int],
    repeats: int,
) -> list[StoredCells]:
    """Of the episodes of these items, each with so many seats, at these many repeats: those that the store holds.

    The plan is compared with the store here, in SQL: by the parts of its keys, item by item, not key by key.

    which   "ended": finished or failed; "failed": not finished since
    items   (game, rules, instance set, experiment, instance, content hash) each; their places here are their numbers"""
    if not items:
        return []
    rows = connection.execute(
        f"""
        WITH items AS (
            SELECT unnest(CAST($1 AS VARCHAR[][])) AS item, unnest(CAST($2 AS BIGINT[])) AS seats, unnest(range(len($2))) AS number
        ), parts AS (
            SELECT item[1] AS game, item[2] AS rules, item[3] AS instance_set, item[4] AS experiment, item[5] AS instance,
                   item[6] AS content_hash, seats, number
            FROM items
        )
        SELECT method, arm, bitstring_agg(number * $3 + repeat, 0, {len(items) * repeats - 1})
        FROM episodes JOIN parts USING (content_hash, instance, experiment, instance_set, rules, game)
        WHERE {_WHICH[which]} AND batch = repeat AND repeat < $3
              AND (seating = method OR seating = repeat(method || '+', seats - 1) || method)
        GROUP BY method, arm""",
        [[list(item) for item in items], list(seats), repeats],
    ).fetchall()
    return [StoredCells(*row) for row in rows]


class StoredTurn(NamedTuple):
    """A recorded reply of an unfinished play; has_row: its turn row is stored too."""

    attempt: int
    turn: int
    ask_hash: str
    reply: str
    has_row: bool


def unfinished_turns(connection: Readable) -> dict[str, list[StoredTurn]]:
    """Episode id -> the turns of its last play, in order, for plays that a stop cut short.

    First which they are, from the few columns of first turns, then their rows: among a million calls they are few, and what is asked for
    by its place in the table is not looked for in all of it."""
    cut_off = dict(
        connection.execute("""
            SELECT episode_id, max(attempt) FROM calls ANTI JOIN episodes USING (episode_id, attempt)
            WHERE turn = 0 AND error_class IS NULL GROUP BY episode_id""").fetchall()
    )
    ids = list(cut_off)
    rows = connection.execute(
        """
        SELECT episode_id, turn, attempt, ask_hash, reply FROM calls
        WHERE rowid IN (SELECT rowid FROM calls WHERE error_class IS NULL AND episode_id IN (SELECT unnest(?)))""",
        [ids],
    ).fetchall()
    with_row = set(
        connection.execute(
            "SELECT episode_id, turn, attempt FROM turns WHERE episode_id IN (SELECT unnest(?))", [ids]
        ).fetchall()
    )
    turns: dict[str, list[StoredTurn]] = {}
    for episode_id, turn, attempt, ask_hash, reply in sorted(rows):
        known = turns.setdefault(episode_id, [])
        if attempt == cut_off[episode_id] and turn == len(
            known
        ):  # a gap would mean a lost call; play on from before it
            has_row = (episode_id, turn, attempt) in with_row
            known.append(
                StoredTurn(attempt=attempt, turn=turn, ask_hash=ask_hash, reply=reply, has_row=has_row)
            )
    return turns


def last_attempts(connection: Readable, status: str) -> dict[str, int]:
    """Episode id -> the number of its last attempt, for episodes whose last attempt ended so."""
    rows = connection.execute(
        "SELECT episode_id, attempt FROM episodes QUALIFY attempt = max(attempt) OVER (PARTITION BY episode_id) AND status = ?",
        [status],
    ).fetchall()
    return dict(rows)


class MethodSpent(NamedTuple):
    """What a method's calls cost in all runs, as far as its provider counted."""

    method: str
    calls: int
    tokens: int
    cost_usd: float


def spent_by_method(connection: Readable) -> list[MethodSpent]:
    rows = connection.execute("""
        SELECT method, count(*), coalesce(sum(prompt_tokens + completion_tokens), 0)::BIGINT, coalesce(sum(cost_usd), 0)
        FROM calls GROUP BY method""").fetchall()
    return [MethodSpent(*row) for row in rows]


def latest_spec(connection: Readable) -> tuple[int, dict[str, object]]:
    """How many sweeps and imports this store has seen, and the specification of the last; empty where there is none."""
    rows = connection.execute("SELECT spec_json FROM sweeps ORDER BY run_id").fetchall()
    return len(rows), orjson.loads(rows[-1][0]) if rows else {}


def points_by_game(connection: Readable) -> list[tuple[str, str, int, float]]:
    """(method, game, finished episodes, sum of their scores): aborted and unscored ones earned nothing."""
    return connection.execute(
        "SELECT method, game, count(*), coalesce(sum(score), 0) FROM episodes WHERE status = 'finished' AND arm = 'main' GROUP BY ALL"
    ).fetchall()
