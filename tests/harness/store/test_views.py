"""The views that join tables for people, over a played store; results in a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.history import SeatHistory
from harness.core.vocabulary import Message
from harness.store.file import open_to_read
from harness.store.query import HTML_ROWS, QueryResult, RowTable
from tests.bots import bots_sweep
from tests.command import lightbulb

SLASHES = """
name = "hub"
[games.taboo]
items = 6
[models."org/m-1.5".methods.a]
bots = { skill = 0.5 }
[models."org/m-1.5".methods.b]
bots = {}
[audit]
reference = "org/m-1.5/b"
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sweep = bots_sweep(tmp_path_factory.mktemp("views"), repeats=2)
    assert lightbulb("run", sweep).returncode == 0
    return sweep.with_suffix(".duckdb")


def test_every_prompt_is_the_one_that_was_sent(store: Path) -> None:
    """The messages of each turn have the hash that was stored when they were sent."""
    with open_to_read(store) as connection:
        rows = connection.execute(
            "SELECT messages, ask_hash FROM turns JOIN prompts USING (episode_id, attempt, turn)"
        ).fetchall()
        ((turns,),) = connection.execute("SELECT count(*) FROM turns").fetchall()
    assert len(rows) == turns > 0
    for messages, ask_hash in rows:
        history = SeatHistory()
        history.advance(tuple(Message(one["role"], one["content"]) for one in messages))
        assert history.ask_hash == ask_hash


def test_every_call_stands_once_with_its_play(store: Path) -> None:
    """No call is lost or doubled, and each has its game, arm and time."""
    with open_to_read(store) as connection:
        ((calls, with_play, distinct),) = connection.execute(
            "SELECT count(*), count(game), count(DISTINCT (episode_id, attempt, turn, try_number))"
            " FROM calls_full"
        ).fetchall()
        ((stored,),) = connection.execute("SELECT count(*) FROM calls").fetchall()
        ((ways,),) = connection.execute("SELECT count(*) FROM calls_full WHERE way IS NULL").fetchall()
    assert calls == with_play == distinct == stored
    assert ways == 0


def test_the_model_of_a_method_may_hold_slashes(tmp_path: Path) -> None:
    """Played, scored, audited and shown by its name from a hub; the part after the last slash is the
    method's."""
    sweep = tmp_path / "hub.toml"
    sweep.write_text(SLASHES, "utf-8")
    ended = lightbulb("run", sweep, "--json")
    assert ended.returncode == 0, ended.stderr
    store = tmp_path / "hub.duckdb"
    with open_to_read(store) as connection:
        ways = connection.execute("SELECT DISTINCT model, way FROM calls_full ORDER BY ALL").fetchall()
    assert ways == [("org/m-1.5", "a"), ("org/m-1.5", "b")]
    assert "org/m-1.5/b" in lightbulb("scores", store).stdout
    (model,) = json.loads(lightbulb("audit", store, "--json").stdout)
    assert (model["model"], model["scores"]["reference"]) == ("org/m-1.5", "org/m-1.5/b")
    assert lightbulb("run", sweep).returncode == 0
    page = lightbulb("report", store, "-o", tmp_path / "hub.html")
    assert page.returncode == 0, page.stderr


def test_the_latest_rows_are_one_for_each_name(store: Path) -> None:
    """After a second run a method has two rows in `methods`, and one here."""
    sweep = store.with_suffix(".toml")
    sweep.write_text(sweep.read_text("utf-8").replace("repeats = 2", "repeats = 3"), "utf-8")
    assert lightbulb("run", sweep).returncode == 0
    with open_to_read(store) as connection:
        for table, name in (("methods", "method"), ("models", "model")):
            ((rows, names),) = connection.execute(
                f"SELECT count(*), count(DISTINCT {name}) FROM {table}_latest"
            ).fetchall()
            ((all_rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
            assert rows == names < all_rows


def test_a_notebook_shows_the_first_rows_as_text(store: Path) -> None:
    """A table of at most twenty rows, with the number of all; no name or value is markup."""
    shown = QueryResult(store, "SELECT method, latency_s FROM calls")._repr_html_()
    assert shown.count("<tr>") == HTML_ROWS + 1
    assert f"{HTML_ROWS} of " in shown
    hostile = RowTable(names=("<b>",), figures=(("<script>",), (None,), (1.23456789,)))._repr_html_()
    assert hostile == (
        "<table><thead><tr><th>&lt;b&gt;</th></tr></thead><tbody><tr><td>&lt;script&gt;</td></tr>"
        "<tr><td></td></tr><tr><td>1.23457</td></tr></tbody></table>"
    )
