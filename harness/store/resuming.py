"""Reads the state from which a run continues: the stored episodes, the turns of open ones, the cost so far.

Knows the tables; computes nothing. A sweep waits for these queries: column by column they read a million
calls in a fraction of a second."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Literal, NamedTuple

import orjson

from harness.core.records import SweepRecord
from harness.store.query_server import Readable

Which = Literal["ended", "finished", "failed"]

_FINISHED = "status = 'finished' AND (episode_id, attempt) NOT IN (FROM cut_plays)"
_WHICH: dict[Which, str] = {
    "ended": "status <> 'abandoned'",
    "finished": _FINISHED,
    "failed": f"status <> 'abandoned' AND episode_id NOT IN (SELECT episode_id FROM episodes WHERE {_FINISHED})",
}


class StoredCells(NamedTuple):
    """The stored episodes of one seating and arm.

    method   for a pair: both names, joined by +
    held     "1" for a stored episode, "0" for another one: item by item, all repeats of an item together"""

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
    """Returns which episodes of these items and repeats the store holds.

    SQL compares the plan with the store by the parts of the keys, item by item; keys of all episodes would
    take too long.

    which     "ended": finished or failed; "failed": failed and not finished later. A play that rests on a
              cut reply is failed
    items     (game, rules, instance set, experiment, instance, content hash); the position is the item's
              number
    seats     number of seats of each item
    repeats   number of repeats"""
    if not items:
        return []
    rows = connection.execute(
        f"""
        WITH items AS (
            SELECT unnest(CAST($1 AS VARCHAR[][])) AS item, unnest(CAST($2 AS BIGINT[])) AS seats,
                unnest(range(len($2))) AS number
        ), parts AS (
            SELECT item[1] AS game, item[2] AS rules, item[3] AS instance_set, item[4] AS experiment,
                item[5] AS instance,
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
    """A stored reply of an unfinished play. has_row: its turn row is stored too."""

    attempt: int
    turn: int
    ask_hash: str
    reply: str
    has_row: bool


def unfinished_turns(connection: Readable) -> dict[str, list[StoredTurn]]:
    """Returns episode id -> the turns of its last play, in order, for unfinished plays without a cut reply.

    The first query finds these plays from a few columns of first turns. The second reads their rows by rowid:
    they are few among a million calls, and a search by rowid does not scan the table."""
    cut_off = dict(
        connection.execute("""
            SELECT episode_id, max(attempt) FROM calls ANTI JOIN episodes USING (episode_id, attempt)
                ANTI JOIN cut_plays USING (episode_id, attempt)
            WHERE turn = 0 AND error_class IS NULL GROUP BY episode_id""").fetchall()
    )
    ids = list(cut_off)
    rows = connection.execute(
        """
        SELECT episode_id, turn, attempt, ask_hash, reply FROM calls
        WHERE rowid IN (
            SELECT rowid FROM calls WHERE error_class IS NULL AND episode_id IN (SELECT unnest(?)))""",
        [ids],
    ).fetchall()
    with_row = set(
        connection.execute(
            "SELECT episode_id, turn, attempt FROM turns WHERE episode_id IN (SELECT unnest(?))", [ids]
        ).fetchall()
    )
    turns: dict[str, list[StoredTurn]] = {}
    for episode_id, turn, attempt, ask_hash, reply in sorted(rows, key=itemgetter(0, 1, 2)):
        known = turns.setdefault(episode_id, [])
        if attempt == cut_off[episode_id] and turn == len(
            known
        ):  # a gap means a lost call; play continues before it
            has_row = (episode_id, turn, attempt) in with_row
            known.append(
                StoredTurn(attempt=attempt, turn=turn, ask_hash=ask_hash, reply=reply, has_row=has_row)
            )
    return turns


def abandoned_attempts(connection: Readable) -> dict[str, int]:
    """Returns episode id -> number of its last attempt, for episodes whose last attempt cannot be continued:
    it was abandoned, or it is unfinished and a reply of it was cut."""
    rows = connection.execute("""
        SELECT episode_id, attempt FROM (
            SELECT episode_id, attempt, status FROM episodes
            UNION ALL SELECT episode_id, attempt, 'abandoned' FROM cut_plays
                ANTI JOIN episodes USING (episode_id, attempt))
        QUALIFY attempt = max(attempt) OVER (PARTITION BY episode_id) AND status = 'abandoned'""").fetchall()
    return dict(rows)


def failed_attempts(connection: Readable) -> dict[str, int]:
    """Returns episode id -> number of its last attempt, for episodes whose last attempt failed or rests on a
    cut reply."""
    rows = connection.execute("SELECT episode_id, attempt FROM last_episodes WHERE status = 'failed'")
    return dict(rows.fetchall())


class RunCounts(NamedTuple):
    """The episodes of a run that finished, and the reasons of those that failed, with their numbers."""

    finished: int
    failures: dict[str, int]


def ended_in_runs(connection: Readable, run_ids: Sequence[str]) -> dict[str, RunCounts]:
    """Returns what ended in each of these runs. An episode that ended in several of them counts for the
    last."""
    rows = connection.execute(
        """
        SELECT run_id, status, if(status = 'failed', reason, '') AS why, count(*) AS episodes FROM (
            SELECT run_id, status, reason FROM episodes
            WHERE status <> 'abandoned' AND list_contains(CAST(? AS VARCHAR[]), run_id)
            QUALIFY attempt = max(attempt) OVER (PARTITION BY episode_id))
        GROUP BY ALL ORDER BY episodes DESC, why""",
        [list(run_ids)],
    ).fetchall()
    return {
        one: RunCounts(
            finished=sum(count for run_id, status, _, count in rows if (run_id, status) == (one, "finished")),
            failures={
                why: count for run_id, status, why, count in rows if (run_id, status) == (one, "failed")
            },
        )
        for one in run_ids
    }


def session_ends(connection: Readable) -> dict[tuple[str, int], float]:
    """Returns (method, session) -> when the last of its stored episodes ended, in seconds since 1970."""
    rows = connection.execute(
        "SELECT method, session, max(finished_at) FROM episodes WHERE session NOT NULL GROUP BY method,"
        " session"
    ).fetchall()
    return {(method, session): ended_at for method, session, ended_at in rows}


class MethodSpent(NamedTuple):
    """The cost of a method's calls in all runs, as far as its provider counted tokens."""

    method: str
    calls: int
    tokens: int
    cost_usd: float


def spent_by_method(connection: Readable) -> list[MethodSpent]:
    rows = connection.execute("""
        SELECT method, count(*), coalesce(sum(prompt_tokens::HUGEINT + completion_tokens), 0),
            coalesce(sum(cost_usd), 0)
        FROM calls GROUP BY method""").fetchall()
    return [MethodSpent(*row) for row in rows]


def stored_sweeps(connection: Readable) -> list[SweepRecord]:
    """Returns the runs and imports of a store, oldest first."""
    names = ", ".join(SweepRecord._fields)
    rows = connection.execute(f"SELECT {names} FROM sweeps ORDER BY run_id").fetchall()
    return [SweepRecord(*row) for row in rows]


def latest_spec(connection: Readable) -> tuple[int, dict[str, object]]:
    """Returns the number of sweeps and imports in this store, and the last sweep's specification; the last
    import's if there is no sweep, empty if there is neither."""
    rows = connection.execute("SELECT spec_json FROM sweeps ORDER BY run_id DESC").fetchall()
    specs = [orjson.loads(spec_json) for (spec_json,) in rows]
    return len(specs), next((spec for spec in specs if "models" in spec), specs[0] if specs else {})


def stored_draws(connection: Readable) -> dict[str, str | None]:
    """Returns for each game that a sweep of this store plays how its instances were chosen: the name that the
    first sweep with this game gives, None where it gives none. Imports play nothing."""
    draws: dict[str, str | None] = {}
    rows = connection.execute("SELECT spec_json, planned_json FROM sweeps ORDER BY run_id").fetchall()
    for spec_json, planned_json in rows:
        spec = orjson.loads(spec_json)
        named = orjson.loads(planned_json).get("draw", {}) if planned_json else {}
        for game in spec.get("games", {}) if "models" in spec else ():
            draws.setdefault(game, named.get(game))
    return draws


def points_by_game(connection: Readable) -> list[tuple[str, str, int, float]]:
    """Returns (method, game, finished episodes, sum of their scores); aborted and unscored episodes add 0."""
    return connection.execute(
        "SELECT method, game, count(*), coalesce(sum(score), 0) FROM last_episodes"
        " WHERE status = 'finished' AND arm = 'main' GROUP BY ALL"
    ).fetchall()
