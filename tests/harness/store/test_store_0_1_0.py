"""Tests of a store that version 0.1.0 made: it is read as it is, and the same sweep continues it.

tests/data/store_0_1_0 holds the sweep, the store of its run, stopped with five open episodes and 39 not yet
begun, with imported averages of another method, and the results that 0.1.0 had when it finished the sweep."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from harness.store import schema
from harness.store.file import open_to_read
from harness.store.report_queries import method_results
from tests.bots import RESULTS, rows
from tests.command import lightbulb

DATA = Path(__file__).parents[2] / "data" / "store_0_1_0"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the store."""
    shutil.copy(DATA / "t.toml", tmp_path)
    (tmp_path / "t.duckdb").write_bytes(gzip.decompress((DATA / "t.duckdb.gz").read_bytes()))
    return tmp_path / "t.duckdb"


def test_a_rescoring_that_is_refused_leaves_it_as_it_is(store: Path) -> None:
    """Bots and a method that it lacks cannot score; no byte of the file changes."""
    before = store.read_bytes()
    for method in ("bots/good", "bots/nobody"):
        ended = lightbulb("rescore", store, "--with", method)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert store.read_bytes() == before


def test_it_is_read_without_a_change(store: Path) -> None:
    """Scores, verdicts, transcripts, a report, an export and every table are readable; no byte of the file
    changes."""
    before = store.read_bytes()
    with open_to_read(store) as connection:
        for name in [*schema.TABLES.values(), *schema.VIEWS]:
            connection.execute(f"FROM {name}").fetchall()
        ((episode,),) = connection.execute("SELECT min(episode_id) FROM scores").fetchall()
    scores = lightbulb("scores", store, "--json")
    assert scores.returncode == 0, scores.stderr
    assert {part["model"] for part in json.loads(scores.stdout)} == {"bots", "toy"}
    for arguments in (
        ("show", store, episode),
        ("audit", store),
        ("report", store, "-o", store.parent / "report.html"),
        ("export", store, "--as", "parquet", "-o", store.parent / "tables"),
    ):
        ended = lightbulb(*arguments)
        assert ended.returncode == 0, ended.stderr
    assert store.read_bytes() == before


def test_it_is_continued_and_audited(store: Path) -> None:
    """The same sweep plays what is missing, with the results of 0.1.0; then the store is audited."""
    held = {episode for (episode,) in rows(store, "SELECT episode_id FROM episodes")}
    ended = lightbulb("run", store.with_suffix(".toml"))
    assert ended.returncode == 0, ended.stderr
    assert [list(row) for row in rows(store, RESULTS)] == json.loads((DATA / "finished.json").read_text())
    assert rows(store, "SELECT version FROM store") == [(schema.VERSION,)]
    again = rows(store, "SELECT episode_id FROM calls WHERE run_id <> '0001' AND turn = 0")
    assert not held & {episode for (episode,) in again}, "no stored episode was played again"
    with open_to_read(store) as connection:
        times = [one.busy_s for one in method_results(connection) if one.busy_s is not None]
    assert len(times) == 2
    assert max(times) < 600, "the days between two runs are no time of a run"
    audit = lightbulb("audit", store, "--json")
    assert audit.returncode == 0, audit.stderr
    (model,) = json.loads(audit.stdout)
    assert {"bots/good", "bots/sloppy"} <= {one["method"] for one in model["scores"]["methods"]}


def test_its_decisions_hold_after_the_import(store: Path) -> None:
    """The last row of its sweeps is an import's; another margin than that of its run is refused all the
    same."""
    sweep = store.with_suffix(".toml")
    sweep.write_text(sweep.read_text() + "[audit]\nmargin = 50.0\n")
    ended = lightbulb("run", sweep)
    assert ended.returncode == 2
    assert "audit.margin: was 3.0 when this store was made and is 50.0 now" in ended.stderr
    sweep.write_text(sweep.read_text().replace("skill = 0.8", "skill = 0.9").replace("= 50.0", "= 3.0"))
    assert "models.bots.methods.good.bots.skill: was 0.8 when" in lightbulb("run", sweep).stderr


def test_it_is_merged_with_its_continued_copy(store: Path) -> None:
    """Its bots answered later than those of the run that continues the copy; merged, the two are the copy."""
    old, both = store.with_name("old.duckdb"), store.with_name("both.duckdb")
    shutil.copy(store, old)
    assert lightbulb("run", store.with_suffix(".toml")).returncode == 0
    merged = lightbulb("merge", old, store, "-o", both)
    assert merged.returncode == 0, merged.stderr
    assert rows(both, RESULTS) == rows(store, RESULTS)
