"""Reads what pages draw while a sweep runs and afterwards: sums of calls by time, results on common items,
lists of episodes.

Knows the tables; computes no statistics. Keeps: rows are only appended, so the sums of the rows from one
place to another never change, and a page that is open for long reads each row once. A place is DuckDB's
rowid."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from harness.store.query_server import Readable
from harness.store.report_queries import ITEM, ShownEpisode, shown_episodes

BINS_A_DECADE = 24  # of latency: 10 % wide
EPISODES_MAX = 200  # rows of a list: a page shows the last ones
EVENTS_MAX = 300
PLAYS_MAX = 40  # of one item


class CallSum(NamedTuple):
    """Calls of one access method sent within one slot of time; slot None: no time is stored."""

    method: str
    slot: int | None
    calls: int
    errors: int
    retries: int
    tokens: int
    cost_usd: float | None
    latency_s: float


class ErrorSum(NamedTuple):
    """Failed calls of one method, slot, class and status, with the last text."""

    method: str
    slot: int | None
    error_class: str
    http_status: int | None
    calls: int
    text: str
    at: float


class LatencyBin(NamedTuple):
    """Answered calls of one method and slot by latency: bin k begins at 10 ** (k / BINS_A_DECADE) s."""

    method: str
    slot: int | None
    place: int
    calls: int


class OutcomeCount(NamedTuple):
    """Last plays of the main arm by how they ended."""

    model: str
    method: str
    game: str
    ended: str
    episodes: int


class CommonResult(NamedTuple):
    """Mean score of a method in a game over the items that every method of its model has finished there."""

    model: str
    game: str
    method: str
    items: int
    mean: float
    deviation: float | None


class Event(NamedTuple):
    at: float
    gate: str
    kind: str
    detail: str


class EpisodeLine(NamedTuple):
    """A row of a list of episodes."""

    episode_id: str
    method: str
    game: str
    item: str
    arm: str
    repeat: int
    ended: str
    score: float | None
    reason: str
    turns: int
    finished_at: float


def sweep_budget(connection: Readable) -> dict[str, float]:
    """Returns the limits of calls, tokens and cost_usd that the last sweep sets for all runs over this store
    together."""
    rows = connection.execute("""
        SELECT CAST(spec_json -> 'budget' AS VARCHAR) FROM sweeps ORDER BY run_id DESC LIMIT 1""").fetchall()
    budget = orjson.loads(rows[0][0]) if rows and rows[0][0] is not None else None
    names = ("calls", "tokens", "cost_usd")
    return {name: budget[name] for name in names if budget.get(name) is not None} if budget else {}


def call_count(connection: Readable) -> int:
    return int(connection.execute("SELECT count(*) FROM calls").fetchall()[0][0])


def time_span(connection: Readable) -> tuple[float, float] | None:
    """Returns when the first and the last call were sent; None if no time is stored."""
    ((first, last),) = connection.execute(
        "SELECT min(sent_at), max(sent_at) FROM calls WHERE sent_at > 0"
    ).fetchall()
    return None if first is None else (first, last)


def _slot(step_s: float) -> str:
    return f"CASE WHEN sent_at > 0 THEN CAST(floor(sent_at / {step_s!r}) AS BIGINT) END"


def call_sums(connection: Readable, first: int, after: int, *, step_s: float) -> list[CallSum]:
    """Returns sums of the calls at the places from `first` to before `after`, by method and slot."""
    rows = connection.execute(f"""
        SELECT method, {_slot(step_s)} AS slot, count(*), count(error_class),
               count(*) FILTER (try_number > 0),
               CAST(coalesce(sum(prompt_tokens), 0) + coalesce(sum(completion_tokens), 0) AS BIGINT),
               sum(cost_usd), sum(latency_s)
        FROM calls WHERE rowid >= {first} AND rowid < {after} GROUP BY ALL""").fetchall()
    return [CallSum(*row) for row in rows]


def error_sums(connection: Readable, first: int, after: int, *, step_s: float) -> list[ErrorSum]:
    rows = connection.execute(f"""
        SELECT method, {_slot(step_s)} AS slot, error_class, http_status, count(*),
               coalesce(max_by(left(error_text, 300), sent_at), ''), max(sent_at)
        FROM calls WHERE rowid >= {first} AND rowid < {after} AND error_class IS NOT NULL
        GROUP BY ALL""").fetchall()
    return [ErrorSum(*row) for row in rows]


def latency_bins(connection: Readable, first: int, after: int, *, step_s: float) -> list[LatencyBin]:
    rows = connection.execute(f"""
        SELECT method, {_slot(step_s)} AS slot,
               CAST(floor(log10(latency_s) * {BINS_A_DECADE}) AS BIGINT) AS place, count(*)
        FROM calls
        WHERE rowid >= {first} AND rowid < {after} AND error_class IS NULL AND latency_s > 0
        GROUP BY ALL""").fetchall()
    return [LatencyBin(*row) for row in rows]


def outcome_counts(connection: Readable) -> list[OutcomeCount]:
    rows = connection.execute("""
        SELECT model, method, game, coalesce(outcome, status), count(*)
        FROM last_episodes WHERE arm = 'main' GROUP BY ALL ORDER BY ALL""").fetchall()
    return [OutcomeCount(*row) for row in rows]


def common_results(connection: Readable) -> list[CommonResult]:
    """Returns each method's mean over the items of a game that all methods of its model have finished; an
    aborted play counts 0."""
    rows = connection.execute(f"""
        WITH items AS (
            SELECT model, game, method, {ITEM} AS item,
                   avg(CASE WHEN outcome = 'aborted' THEN 0 ELSE score END) AS points
            FROM last_episodes
            WHERE status = 'finished' AND arm = 'main' AND outcome <> 'unscored' AND method NOT LIKE '%+%'
            GROUP BY ALL),
        methods AS (SELECT model, count(DISTINCT method) AS methods FROM items GROUP BY model),
        common AS (
            SELECT model, game, item FROM items JOIN methods USING (model)
            GROUP BY model, game, item, methods HAVING count(*) = methods)
        SELECT model, game, method, count(*), avg(points), stddev_samp(points)
        FROM items SEMI JOIN common USING (model, game, item) GROUP BY ALL ORDER BY ALL""").fetchall()
    return [CommonResult(*row) for row in rows]


def gate_events(connection: Readable) -> list[Event]:
    """Returns the last events of the gates, the oldest first."""
    rows = connection.execute(
        f'SELECT "at", gate, kind, detail FROM gate_events ORDER BY "at" DESC LIMIT {EVENTS_MAX}'
    ).fetchall()
    return [Event(*row) for row in reversed(rows)]


def episode_lines(
    connection: Readable, *, method: str = "", game: str = "", ended: str = ""
) -> list[EpisodeLine]:
    """Returns the last episodes that ended, the latest first; an empty filter lets all pass."""
    rows = connection.execute(
        f"""
        SELECT episode_id, method, game, experiment || ' ' || instance, arm, repeat,
               coalesce(outcome, status), score, reason, turns, finished_at
        FROM last_episodes
        WHERE (? = '' OR method = ?) AND (? = '' OR game = ?) AND (? = '' OR coalesce(outcome, status) = ?)
        ORDER BY finished_at DESC, episode_id LIMIT {EPISODES_MAX}""",
        [method, method, game, game, ended, ended],
    ).fetchall()
    return [EpisodeLine(*row) for row in rows]


def plays_of_item(connection: Readable, episode_id: str) -> tuple[ShownEpisode, ...]:
    """Returns an episode and the other plays of its item by methods of its model, with their transcripts."""
    rows = connection.execute(
        f"""
        WITH one AS (SELECT model, {ITEM} AS item FROM last_episodes WHERE episode_id = ?)
        SELECT episode_id FROM last_episodes JOIN one ON last_episodes.model = one.model AND {ITEM} = one.item
        ORDER BY episode_id <> ?, arm DESC, repeat, method LIMIT {PLAYS_MAX}""",
        [episode_id, episode_id],
    ).fetchall()
    return shown_episodes(connection, [row[0] for row in rows])
