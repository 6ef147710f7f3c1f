"""Counts a store's rows for pages: calls by access method, ends of episodes; chooses transcripts.

Knows the tables; computes no statistics. Keeps: the size of a result depends on the number of methods, games
and reasons and on the requested bytes, not on the size of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from harness.core.vocabulary import Message
from harness.store.query_server import Readable

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BINS_A_DECADE = 8
BIN_FIRST, BIN_LAST = -6 * BINS_A_DECADE, 4 * BINS_A_DECADE  # a microsecond to three hours
REPEATS_SHOWN = 3  # of one item by one method; `lightbulb show` has the others

# Counts, times and request ids differ between two failures of one cause; they become "#". An HTTP status
# stays.
_MASKED = r"regexp_replace(reason, '[0-9a-fA-F]{8}[0-9a-fA-F-]*|\d+(\.\d+)?', '#', 'g')"
_CAUSE = rf"replace({_MASKED}, 'HTTP #', 'HTTP ' || regexp_extract(reason, 'HTTP (\d+)', 1))"
ITEM = "concat_ws(':', game, rules, instance_set, experiment, instance, content_hash)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLine:
    """One run or import of this store."""

    run_id: str
    name: str
    version: str
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTally:
    """One access method's calls.

    prompt_tokens, completion_tokens   as the provider reported; None if it reported none
    cost_usd      None if no price is known
    busy_s        from the first call sent to the last reply, summed over runs
    latency_s     at QUANTILES, of answered calls; empty if no time was recorded
    histogram     calls by latency, in bins of equal width on a logarithmic scale: (lower edge in seconds,
                  calls)"""

    method: str
    model: str
    provider: str
    dialect: str
    base_url: str
    sampling_json: str
    calls: int
    errors: int
    retries: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    busy_s: float | None
    queue_s_mean: float | None
    latency_s: tuple[float, ...]
    histogram: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Episodes of one game with the same end and cause. methods: (access method, episodes, id of one of
    them)."""

    game: str
    ended: str
    cause: str
    count: int
    methods: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTurn:
    seat: str
    added: tuple[Message, ...]
    reply: str
    violation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEpisode:
    """One episode with its transcript. item: the same for all plays of one item; puzzle: its short name."""

    episode_id: str
    model: str
    method: str
    game: str
    item: str
    puzzle: str
    repeat: int
    arm: str
    ended: str
    score: float | None
    reason: str
    turns: tuple[ShownTurn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One access method, or a pair, over all runs of the store.

    episodes, failed     finished ones of the main arm; failed ones of any arm
    clemscore, played    None: nothing was scored
    busy_s               from the first call sent to the last reply, summed over runs; None: no known times"""

    method: str
    episodes: int
    failed: int
    clemscore: float | None
    played: float | None
    errors: int
    cost_usd: float | None
    busy_s: float | None


def method_results(connection: Readable) -> tuple[MethodResult, ...]:
    """Returns the results of every method that has episodes, in the order of their names."""
    tallies = {tally.method: tally for tally in method_tallies(connection)}
    rows = connection.execute("""
        SELECT method, count(*) FILTER (status = 'finished' AND arm = 'main'),
               count(*) FILTER (status = 'failed'), any_value(clemscore), any_value(played)
        FROM last_episodes LEFT JOIN (SELECT method, clemscore, played FROM clemscores) USING (method)
        GROUP BY method ORDER BY method""").fetchall()
    return tuple(
        MethodResult(
            method=method,
            episodes=episodes,
            failed=failed,
            clemscore=clemscore,
            played=played,
            errors=tallies[method].errors if method in tallies else 0,
            cost_usd=tallies[method].cost_usd if method in tallies else None,
            busy_s=tallies[method].busy_s if method in tallies else None,
        )
        for method, episodes, failed, clemscore, played in rows
    )


def sweep_lines(connection: Readable) -> tuple[SweepLine, ...]:
    rows = connection.execute(
        "SELECT run_id, name, version, started_at FROM sweeps ORDER BY run_id"
    ).fetchall()
    return tuple(
        SweepLine(run_id=run, name=name, version=version, started_at=at) for run, name, version, at in rows
    )


def method_tallies(connection: Readable) -> tuple[MethodTally, ...]:
    """Returns the counts of every access method, in the order of the sweeps."""
    facts = connection.execute("""
        SELECT method, model, provider, dialect, base_url, sampling_json
        FROM (SELECT *, row_number() OVER () AS place FROM methods)
        QUALIFY run_id = max(run_id) OVER (PARTITION BY method) ORDER BY place""").fetchall()
    columns = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'calls'"
    ).fetchall()
    cost = "sum(cost_usd)" if ("cost_usd",) in columns else "NULL::DOUBLE"
    counts = {
        row[0]: row[1:]
        for row in connection.execute(f"""
        SELECT method, count(*), count(error_class), count(*) FILTER (try_number > 0),
            sum(prompt_tokens),
               sum(completion_tokens), {cost},
               any_value(busy_s), avg(queue_s) FILTER (sent_at > 0),
               quantile_cont(latency_s, {list(QUANTILES)}) FILTER (error_class IS NULL AND latency_s > 0)
        FROM calls LEFT JOIN (
            SELECT method, sum(run_s) AS busy_s FROM (
                SELECT method, max(sent_at + latency_s) - min(sent_at) AS run_s
                FROM calls WHERE sent_at > 0 GROUP BY method, run_id) GROUP BY method) USING (method)
        GROUP BY method""").fetchall()
    }
    histograms: dict[str, list[tuple[float, int]]] = {}
    for method, count, place in connection.execute(
        f"""
        SELECT method, count(*),
               least(greatest(floor(log10(latency_s) * {BINS_A_DECADE})::BIGINT, {BIN_FIRST}), {BIN_LAST})
                   AS place
        FROM calls WHERE error_class IS NULL AND latency_s > 0 GROUP BY ALL ORDER BY method, place"""
    ).fetchall():
        histograms.setdefault(method, []).append((10 ** (place / BINS_A_DECADE), count))
    return tuple(_tally(fact, counts.get(fact[0]), histograms.get(fact[0], [])) for fact in facts)


def _tally(
    fact: Sequence[str], counts: Sequence[object] | None, histogram: Sequence[tuple[float, int]]
) -> MethodTally:
    method, model, provider, dialect, base_url, sampling_json = fact
    calls, errors, retries, prompt_tokens, completion_tokens, cost_usd, busy_s, queue_s, latency = counts or (
        0,
        0,
        0,
        *[None] * 6,
    )
    return MethodTally(
        method=method,
        model=model,
        provider=provider,
        dialect=dialect,
        base_url=base_url,
        sampling_json=sampling_json,
        calls=_int(calls) or 0,
        errors=_int(errors) or 0,
        retries=_int(retries) or 0,
        prompt_tokens=_int(prompt_tokens),
        completion_tokens=_int(completion_tokens),
        cost_usd=_float(cost_usd),
        busy_s=_float(busy_s),
        queue_s_mean=_float(queue_s),
        latency_s=tuple(latency) if isinstance(latency, list | tuple) else (),
        histogram=tuple(histogram),
    )


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def endings(connection: Readable) -> tuple[Cluster, ...]:
    """Returns aborted, failed and unscored episodes by cause; the most frequent cause is first."""
    rows = connection.execute(f"""
        SELECT game, coalesce(outcome, status) AS ended, {_CAUSE} AS cause, method, count(*), min(episode_id)
        FROM last_episodes WHERE coalesce(outcome, status) NOT IN ('success', 'lost')
        GROUP BY ALL ORDER BY 5 DESC, 1, 2, 3, 4""").fetchall()
    clusters: dict[tuple[str, str, str], list[tuple[str, int, str]]] = {}
    for game, ended, cause, method, count, example in rows:
        clusters.setdefault((game, ended, cause), []).append((method, count, example))
    made = [
        Cluster(
            game=game, ended=ended, cause=cause, count=sum(row[1] for row in methods), methods=tuple(methods)
        )
        for (game, ended, cause), methods in clusters.items()
    ]
    return tuple(sorted(made, key=lambda cluster: -cluster.count))


def chosen_episodes(
    connection: Readable, *, bytes_max: int, first: Sequence[str] = ()
) -> tuple[ShownEpisode, ...]:
    """Returns transcripts of limited size: the requested ones, then all plays of an item, item after item.

    Items with different ends come first; items are taken from each game in turn, in an order that does not
    depend on scores.

    bytes_max  limit of the transcripts' text in UTF-8
    first      ids of episodes that are included in any case"""
    rows = connection.execute(
        f"""
        WITH sizes AS (
            SELECT episode_id, attempt, sum(strlen(added_json) + strlen(reply)) AS bytes
            FROM transcripts GROUP BY ALL),
        known AS (
            SELECT episode_id, model, game, {ITEM} AS item, coalesce(outcome, status) AS ended, bytes
            FROM last_episodes JOIN sizes USING (episode_id, attempt) WHERE repeat < {REPEATS_SHOWN}),
        items AS (
            SELECT model, game, item, sum(bytes) AS bytes, count(DISTINCT ended) AS ends
            FROM known GROUP BY model, game, item),
        placed AS (
            SELECT *, row_number() OVER (PARTITION BY model, game ORDER BY ends > 1 DESC, md5(item)) AS place
            FROM items),
        fitting AS (
            SELECT model, item FROM placed
            QUALIFY sum(bytes) OVER (ORDER BY place, model, game ROWS UNBOUNDED PRECEDING) <= ?)
        SELECT episode_id FROM known SEMI JOIN fitting USING (model, item)
        UNION SELECT episode_id FROM known WHERE list_contains(?, episode_id) ORDER BY 1""",
        [bytes_max, list(first)],
    ).fetchall()
    wanted = [row[0] for row in rows]
    return shown_episodes(connection, wanted) if wanted else ()


def shown_episodes(connection: Readable, wanted: Sequence[str]) -> tuple[ShownEpisode, ...]:
    turns: dict[str, list[ShownTurn]] = {}
    for episode_id, seat, added, reply, violation in connection.execute(
        """
        SELECT episode_id, seat, added_json, reply, violation
        FROM transcripts JOIN last_episodes USING (episode_id, attempt)
        WHERE list_contains(?, episode_id) ORDER BY episode_id, turn""",
        [list(wanted)],
    ).fetchall():
        messages = tuple(Message(one["role"], one["text"]) for one in orjson.loads(added))
        turns.setdefault(episode_id, []).append(
            ShownTurn(seat=seat, added=messages, reply=reply, violation=violation)
        )
    heads = connection.execute(
        f"""
        SELECT episode_id, model, method, game, {ITEM}, experiment || ' ' || instance, repeat, arm,
            coalesce(outcome, status),
               score, reason
        FROM last_episodes WHERE list_contains(?, episode_id) ORDER BY model, game, 5, arm DESC, method,
            repeat""",
        [list(wanted)],
    ).fetchall()
    return tuple(
        ShownEpisode(
            episode_id=episode_id,
            model=model,
            method=method,
            game=game,
            item=item,
            puzzle=puzzle,
            repeat=repeat,
            arm=arm,
            ended=ended,
            score=score,
            reason=reason,
            turns=tuple(turns.get(episode_id, ())),
        )
        for episode_id, model, method, game, item, puzzle, repeat, arm, ended, score, reason in heads
    )
