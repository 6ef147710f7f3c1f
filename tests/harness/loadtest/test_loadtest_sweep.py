"""`lightbulb bench` against an emulator in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.command import command, lightbulb

SWEEP = """
name = "b"
[games.taboo]
items = 4
[models.m.methods.far]
base_url = "{base_url}"
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """An emulator with eight workers and a tenth of a second to the first token."""
    settings = ["latency.first_s=0.1", "latency.tokens_per_s=2000", "latency.workers=8"]
    emulator = subprocess.Popen(
        command("emulate", "--port", 0, *settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert emulator.stdout is not None
    yield emulator.stdout.readline().split()[-1]
    emulator.send_signal(signal.SIGINT)
    emulator.communicate(timeout=30)


def test_a_server_is_measured(base_url: str, tmp_path: Path) -> None:
    """Each stage has its requests in the store, as JSON and as a page, and no figure is better than the
    server."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    stages = ("--requests", 8, "--concurrency", "1,4", "--rates", 20)
    ended = lightbulb("bench", sweep, *stages, "--html", tmp_path / "b.html", "--json")
    assert ended.returncode == 0, ended.stderr
    (found,) = json.loads(ended.stdout)["methods"]
    assert [stage["stage"]["level"] for stage in found["stages"]] == [1, 4, 20]
    for stage in found["stages"]:
        assert (stage["answered"], stage["errors"]) == (stage["stage"]["requests"], 0)
        assert (stage["figures"] is None) == (stage["refused"] is not None)
        if stage["figures"]:
            assert stage["figures"]["ttft_s"][0] >= 0.1
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT stage, count(*), min(first_s - sent_s) >= 0.1, bool_and(due_s <= sent_s AND sent_s <= first_s AND first_s <= done_s)"
            " FROM bench_requests GROUP BY ALL ORDER BY 1"
        ).fetchall()
        assert rows == [(0, 8, True, True), (1, 12, True, True), (2, 8, True, True)]
        assert connection.execute("SELECT count(*) FROM bench_stages WHERE cpu_share > 0").fetchall() == [
            (3,)
        ]
    page = (tmp_path / "b.html").read_text("utf-8")
    assert "m/far" in page
    assert "default-src 'none'" in page


def test_what_is_asked_wrongly_is_said(base_url: str, tmp_path: Path) -> None:
    """A misspelt method and a list of stages that are no numbers are each a clear error before anything is
    measured."""
    sweep = tmp_path / "b.toml"
    sweep.write_text(SWEEP.format(base_url=base_url))
    for arguments, words in (
        (("--method", "m/fra"), 'did you mean "m/far"?'),
        (("--concurrency", "one"), "write numbers with commas"),
    ):
        refused = lightbulb("bench", sweep, *arguments)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr
        assert words in refused.stderr
