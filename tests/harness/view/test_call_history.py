"""Sums of calls by time, read a part at a time."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from harness.store.file import open_to_read
from harness.view.call_history import SLOTS_MAX, CallHistory
from tests.harness.report.telling import telling_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return telling_store(tmp_path / "told.duckdb")


def _grow(store: Path, times: int, apart_s: float) -> None:
    with duckdb.connect(str(store)) as connection:
        connection.execute(
            f"INSERT INTO calls SELECT calls.* REPLACE (sent_at + r.range * {apart_s} AS sent_at)"
            f" FROM calls, range(1, {times}) r"
        )


def test_parts_add_up_to_the_whole(store: Path) -> None:
    """Read before and after rows came: the same as read at once, for methods and for slots."""
    parts, whole = CallHistory(), CallHistory()
    with open_to_read(store) as connection:
        parts.update(connection)
    _grow(store, 5, 7.0)
    with open_to_read(store) as connection:
        parts.update(connection)
        parts.update(connection)
        whole.update(connection)
        ((calls,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
    assert parts.rows == whole.rows == calls
    assert parts.methods == whole.methods
    assert parts.slots == whole.slots
    assert sum(one.calls for one in parts.slots.values()) == calls


def test_slots_double_when_a_run_grows_long(store: Path) -> None:
    """However long a run, its lines have a bounded number of points, and no call is lost."""
    history = CallHistory()
    with open_to_read(store) as connection:
        history.update(connection)
    before_s = history.step_s
    _grow(store, 20, 3_600.0)
    with open_to_read(store) as connection:
        history.update(connection)
    values = history.time_values()
    assert history.step_s > before_s
    assert isinstance(values["slots"], int)
    assert values["slots"] <= SLOTS_MAX + 1
    assert sum(one.calls for one in history.slots.values()) == history.rows


def test_failed_requests_are_counted_by_cause(store: Path) -> None:
    """Each class and status of a method has its number of requests and its last message; the most frequent
    cause is first, and the last error is the latest of them."""
    failures = [
        (2.0, "Unavailable", 503, "busy"),
        (3.0, "Unavailable", 503, "still <b>busy</b>"),
        (1.0, "TimedOut", None, "silent"),
    ]
    with duckdb.connect(str(store)) as connection:
        for place, (at, kind, status, text) in enumerate(failures):
            connection.execute(
                "INSERT INTO calls BY NAME SELECT * REPLACE (? AS try_number, ? AS sent_at, ? AS error_class,"
                " ? AS http_status, ? AS error_text, 'm/failing' AS method) FROM calls LIMIT 1",
                [100 + place, at, kind, status, text],
            )
    history = CallHistory()
    with open_to_read(store) as connection:
        history.update(connection)
    values = history.method_values("m/failing")
    assert values["error_causes"] == [
        {"error_class": "Unavailable", "status": 503, "text": "still <b>busy</b>", "count": 2, "at": 3.0},
        {"error_class": "TimedOut", "status": None, "text": "silent", "count": 1, "at": 1.0},
    ]
    assert isinstance(values["error_causes"], list)
    assert values["last_error"] == values["error_causes"][0]


def test_quantiles_are_those_of_the_calls(store: Path) -> None:
    """To a bin of a tenth."""
    history = CallHistory()
    with open_to_read(store) as connection:
        history.update(connection)
        rows = connection.execute(
            "SELECT method, quantile_disc(latency_s, 0.95) FROM calls GROUP BY method"
        ).fetchall()
    for method, p95 in rows:
        assert history.methods[method].quantile_s(0.95) == pytest.approx(p95, rel=0.12)
