"""Reads the rows of load tests, and the recorded calls that a load test can play again.

Knows the tables; computes no statistics."""

from __future__ import annotations

from typing import NamedTuple

from harness.core.bench_records import BenchRequest, BenchRun, BenchStage
from harness.store.query_server import Readable


class RecordedCall(NamedTuple):
    """The first try of a call with its prompt. messages: (role, text)."""

    sent_at: float
    messages: tuple[tuple[str, str], ...]
    completion_tokens: int | None


def bench_runs(connection: Readable) -> list[BenchRun]:
    """Returns the methods of all load tests, in the order of the runs."""
    rows = connection.execute(f"SELECT {_columns(BenchRun)} FROM bench_runs ORDER BY run_id").fetchall()
    return [BenchRun(*row) for row in rows]


def bench_stages(connection: Readable, run_id: str | None = None) -> list[BenchStage]:
    """Returns the stages of a run, or of all runs, in order."""
    chosen, values = ("WHERE run_id = ?", [run_id]) if run_id is not None else ("", [])
    rows = connection.execute(
        f"SELECT {_columns(BenchStage)} FROM bench_stages {chosen} ORDER BY run_id, method, stage", values
    ).fetchall()
    return [BenchStage(*row) for row in rows]


def bench_requests(connection: Readable, run_id: str) -> list[BenchRequest]:
    """Returns the requests of a run, in the order in which they were due."""
    rows = connection.execute(
        f"SELECT {_columns(BenchRequest)} FROM bench_requests WHERE run_id = ? ORDER BY method, stage, due_s",
        [run_id],
    ).fetchall()
    return [BenchRequest(*row) for row in rows]


def _columns(record: type[BenchRun] | type[BenchStage] | type[BenchRequest]) -> str:
    return ", ".join(f'"{name}"' for name in record._fields)


def recorded_calls(connection: Readable, method: str) -> list[RecordedCall]:
    """Returns the calls of this method with their prompts, in the order in which they were sent; those of all
    methods, if it has none."""
    rows = connection.execute(
        """
        WITH sent AS (
            SELECT calls.method, sent_at, messages, completion_tokens
            FROM calls JOIN prompts USING (episode_id, attempt, turn) WHERE try_number = 0 AND sent_at > 0)
        SELECT sent_at, [m.role for m in messages], [m.content for m in messages], completion_tokens FROM sent
        WHERE method = ? OR ? NOT IN (SELECT method FROM sent) ORDER BY sent_at""",
        [method, method],
    ).fetchall()
    return [
        RecordedCall(at, tuple(zip(roles, texts, strict=True)), tokens) for at, roles, texts, tokens in rows
    ]
