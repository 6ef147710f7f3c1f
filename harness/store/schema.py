"""Defines the tables, from the classes of core/records.py, and the views.

One class is one table; one field is one column. Tables have no primary keys: keys are unique by construction
and checked by query; an index on the large tables would halve the writer's speed. Times `*_at` are seconds
since 1970. A new version only adds tables and columns: migration.py."""

from __future__ import annotations

import types
import typing

from harness.core.bench_records import BenchRequest, BenchRun, BenchStage
from harness.core.records import (
    AuditPlanRecord,
    CallRecord,
    EngineSample,
    EpisodeRecord,
    GateEvent,
    LogprobRecord,
    LookRecord,
    MethodRecord,
    ModelRecord,
    ProbeRecord,
    PulseRecord,
    Record,
    RescoreRecord,
    SummaryRecord,
    SweepRecord,
    TurnRecord,
)
from harness.store.reply_ends import CUT_PLAYS, CUT_REASON
from harness.store.time_breakdown import TIME_BY_METHOD

VERSION = 5

TABLES: dict[type[Record], str] = {
    SweepRecord: "sweeps",
    ModelRecord: "models",
    MethodRecord: "methods",
    EpisodeRecord: "episodes",
    TurnRecord: "turns",
    CallRecord: "calls",
    LogprobRecord: "logprobs",
    SummaryRecord: "summaries",
    AuditPlanRecord: "audit_plans",
    GateEvent: "gate_events",
    PulseRecord: "pulses",
    EngineSample: "engine_samples",
    BenchRun: "bench_runs",
    BenchStage: "bench_stages",
    BenchRequest: "bench_requests",
    LookRecord: "looks",
    ProbeRecord: "probes",
    RescoreRecord: "rescores",
}

_SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}

VIEWS: dict[str, str] = {
    # The plays that rest on a reply that a failure or a filter cut, as versions before 0.2.0 stored some.
    "cut_plays": CUT_PLAYS,
    # The last attempt of every episode; abandoned attempts are left out. A play of cut_plays is failed.
    "last_episodes": f"""
        SELECT * EXCLUDE (cut) REPLACE (
            if(cut, 'failed', status) AS status, if(cut, NULL, outcome) AS outcome, if(cut, NULL, score) AS score,
            if(cut AND status = 'finished', '{CUT_REASON}', reason) AS reason)
        FROM (
            SELECT *, (episode_id, attempt) IN (FROM cut_plays) AS cut FROM episodes
            WHERE status <> 'abandoned'
            QUALIFY attempt = max(attempt) OVER (PARTITION BY episode_id))""",
    # One row for each finished episode of the main arm; aborted and unscored episodes have no score.
    "scores": """
        SELECT model, method, game, experiment, instance, repeat, episode_id, outcome, reason, score,
               outcome IN ('success', 'lost') AS played,
               turns, make_timestamp(CAST(started_at * 1e6 AS BIGINT)) AS started_utc,
                   finished_at - started_at AS seconds, arm
        FROM last_episodes WHERE status = 'finished' AND arm = 'main'""",
    # Clemscore as published, for each model and access method: rounded, then averaged over games.
    "clemscores": """
        WITH games AS (
            SELECT model, method, game,
                   count(*) AS episodes, count(*) FILTER (outcome = 'aborted') AS aborted,
                   round_even(100 * count(*) FILTER (outcome <> 'aborted') / count(*), 2) AS played,
                   round_even(avg(score) FILTER (outcome <> 'aborted'), 2) AS quality
            FROM last_episodes WHERE status = 'finished' AND outcome <> 'unscored' AND arm = 'main'
            GROUP BY ALL
        ), means AS (
            SELECT model, method, sum(episodes) AS episodes, sum(aborted) AS aborted,
                   round_even(avg(played), 2) AS played, round_even(avg(quality), 2) AS quality
            FROM games GROUP BY ALL
        )
        SELECT model, method, round_even(played / 100 * quality, 2) AS clemscore, played, quality, episodes,
            aborted FROM means""",
    # Every call with the play that it belongs to; plays of the arm `again` and failed tries included.
    "calls_full": """
        SELECT calls.*, model, split_part(calls.method, '/', -1) AS way, game, experiment, instance, arm, repeat,
               status, outcome, make_timestamp(CAST(sent_at * 1e6 AS BIGINT)) AS sent_utc,
               error_class IS NULL AS ok
        FROM calls LEFT JOIN (
            SELECT episode_id, attempt, model, game, experiment, instance, arm, repeat, status, outcome
            FROM episodes) AS plays
        USING (episode_id, attempt)""",
    # Every turn with its whole prompt, as a chat: each seat's messages grow from turn to turn.
    "prompts": """
        WITH RECURSIVE numbered AS (
            SELECT episode_id, attempt, turn, seat, method, history_kept,
                   list_transform(CAST(from_json(added_json, '[{"role":"VARCHAR","text":"VARCHAR"}]')
                                       AS STRUCT(role VARCHAR, "text" VARCHAR)[]),
                                  lambda one: {'role': one.role, 'content': one."text"}) AS added,
                   row_number() OVER (PARTITION BY episode_id, attempt, seat ORDER BY turn) AS place
            FROM turns
        ), built AS (
            SELECT episode_id, attempt, turn, seat, method, place, added AS messages
            FROM numbered WHERE place = 1
            UNION ALL
            SELECT later.episode_id, later.attempt, later.turn, later.seat, later.method, later.place,
                   list_concat(list_slice(built.messages, 1, later.history_kept), later.added)
            FROM built JOIN numbered AS later
            ON later.episode_id = built.episode_id AND later.attempt = built.attempt
                AND later.seat = built.seat AND later.place = built.place + 1
        )
        SELECT episode_id, attempt, turn, seat, method, messages FROM built""",
    # The newest row of every access method, and of every model: a store has one for each run.
    "methods_latest": """
        SELECT * FROM methods QUALIFY run_id = max(run_id) OVER (PARTITION BY method)""",
    "models_latest": """
        SELECT * FROM models QUALIFY run_id = max(run_id) OVER (PARTITION BY model)""",
    # Time and tokens of every access method's calls.
    "calls_by_method": """
        SELECT method, count(*) AS calls, count(error_class) AS errors,
               sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
               median(latency_s) AS latency_s_median, quantile_cont(latency_s, 0.95) AS latency_s_p95,
                   avg(queue_s) AS queue_s_mean
        FROM calls GROUP BY method""",
    # The use of every second of a run.
    "time_by_method": TIME_BY_METHOD,
    # Every turn with its reply: the new messages, the reply, the game's check of it.
    "transcripts": """
        SELECT turns.episode_id, turns.attempt, turns.turn, seat, turns.method, history_kept, added_json,
            reply, violation,
               finish_reason, prompt_tokens, completion_tokens, latency_s, turns.ask_hash
        FROM turns JOIN calls ON calls.episode_id = turns.episode_id AND calls.attempt = turns.attempt
            AND calls.turn = turns.turn
                              AND calls.error_class IS NULL""",
}


def columns(record: type[Record]) -> list[str]:
    """Returns the table's columns, in order."""
    return list(record._fields)


def statements() -> list[str]:
    """Returns the statements that make an empty file a store of this version."""
    tables = [f"CREATE TABLE {table_definition(record)}" for record in TABLES]
    views = [f"CREATE VIEW {name} AS {query}" for name, query in VIEWS.items()]
    return [
        "CREATE TABLE store (version BIGINT NOT NULL)",
        f"INSERT INTO store VALUES ({VERSION})",
        *tables,
        *views,
    ]


def table_definition(record: type[Record]) -> str:
    """Returns the table's name and columns in the form that CREATE TABLE takes."""
    hints = typing.get_type_hints(record)
    each = (
        f'"{name}" {_type_of(hints[name])}{"" if _may_be_none(hints[name]) else " NOT NULL"}'
        for name in columns(record)
    )
    return f"{TABLES[record]} ({', '.join(each)})"


def nullable_type(record: type[Record], name: str) -> str:
    """Returns the type of a column that is added to a table with rows, where it is NULL."""
    return _type_of(typing.get_type_hints(record)[name])


def _may_be_none(hint: object) -> bool:
    return isinstance(hint, types.UnionType)


def _type_of(hint: object) -> str:
    if isinstance(hint, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    assert isinstance(hint, type)
    return _SQL_TYPES[hint]
