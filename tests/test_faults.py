"""Every fifth answer goes wrong, in every way providers know: no score notices."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tests.command import lightbulb

SWEEP = """
name = "{name}"
seed = 3
[games.wordle]
items = 30
[games.taboo]
items = 20
[games.privateshared]
items = 2
[retry]
tries_max = 12
wait_max_s = 0.1
first_byte_s = {patience_s}
[models.bots.methods.a]
emulator = {{ skill = 0.7, seed = 3, latency = {{ first_s = 0.01, spread = 0.5 }}, faults = {{ rate = {rate} }} }}
concurrency = 32
"""
RESULTS = """
    SELECT key, status, outcome, score, reason, turns, requests, parsed, violated, metrics_json FROM last_episodes ORDER BY key"""
REPLIES = """
    SELECT episodes.key, calls.turn, reply FROM calls JOIN last_episodes AS episodes USING (episode_id, attempt)
    WHERE error_class IS NULL ORDER BY ALL"""


def played(folder: Path, name: str, *, rate: float, patience_s: float) -> Path:
    sweep = folder / f"{name}.toml"
    sweep.write_text(SWEEP.format(name=name, rate=rate, patience_s=patience_s))
    ended = lightbulb("run", sweep)
    assert ended.returncode == 0, ended.stderr
    return folder / f"{name}.duckdb"


def rows(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("faulty"), "faulty", rate=0.2, patience_s=0.3)


def test_every_failure_is_a_call_row_with_its_class(faulty: Path) -> None:
    """429, 500, 503, resets, cut and foreign bodies, errors in a 200 and stalls: a fifth of all calls, each
    with the class that says who must act, its status and its words; a wrong usage field is no failure, but it
    is not counted as a cost either way."""
    failed = rows(
        faulty,
        "SELECT error_class, http_status, count(*) FROM calls WHERE error_class IS NOT NULL GROUP BY ALL",
    )
    (answered,) = rows(faulty, "SELECT count(*) FROM calls WHERE error_class IS NULL")[0]
    share = sum(int(str(number)) for _, _, number in failed) / (
        int(str(answered)) + sum(int(str(number)) for _, _, number in failed)
    )
    assert 0.1 <= share <= 0.3
    kinds = {(str(error), status) for error, status, _ in failed}
    expected = {
        ("RateLimited", 429),
        ("Unavailable", 500),
        ("Unavailable", 503),
        # A used connection that is reset before the headers is tried again at once, without a row.
        ("Garbled", 200),  # cut or foreign bodies
        ("TimedOut", None),
    }
    assert expected <= kinds, kinds
    assert {error for error, _ in kinds} <= {"RateLimited", "Unavailable", "Garbled", "TimedOut"}
    assert rows(
        faulty,
        "SELECT count(*) FROM calls WHERE error_class IS NOT NULL AND (error_text IS NULL OR error_text = '')",
    ) == [(0,)]


def test_no_score_differs_from_the_undisturbed_run_s(faulty: Path, tmp_path: Path) -> None:
    """Every episode ends, and every reply, outcome, score and count is that of the run without faults."""
    clean = played(tmp_path, "clean", rate=0.0, patience_s=10.0)
    assert rows(clean, "SELECT count(*) FROM calls WHERE error_class IS NOT NULL") == [(0,)]
    assert rows(faulty, "SELECT DISTINCT status FROM episodes") == [("finished",)]
    assert rows(faulty, REPLIES) == rows(clean, REPLIES)
    assert rows(faulty, RESULTS) == rows(clean, RESULTS)
