"""`lightbulb plan`, as a user runs it: before a sweep, and from what an earlier one left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import lightbulb

BOTS = """
name = "b"
repeats = 2
[games.taboo]
items = 10
[models.m.methods.quick]
bots = { skill = 0.9, latency_s = 0.01 }
concurrency = 8
"""


def output(*arguments: object) -> str:
    """What a command that ends well prints."""
    ended = lightbulb(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep and the store that playing it left."""
    folder = tmp_path_factory.mktemp("played")
    (folder / "b.toml").write_text(BOTS)
    output("run", folder / "b.toml")
    return folder


def test_a_plan_from_a_store_is_what_was_played(played: Path) -> None:
    """The same sweep again: its calls and tokens to a tenth, from its own calls, at the speed that was measured."""
    plan = json.loads(
        output("plan", played / "b.toml", "--from", played / "b.duckdb", "--seeds", "2", "--json")
    )
    query = "SELECT count(*) AS calls, sum(prompt_tokens)::BIGINT AS taken FROM calls"
    (was,) = map(json.loads, output("sql", played / "b.duckdb", query, "--json").splitlines())
    assert plan["calls"] == pytest.approx(was["calls"], rel=0.1)
    assert plan["prompt_tokens"] == pytest.approx(was["taken"], rel=0.1)
    (method,) = plan["methods"]
    assert method["lengths"] == {"method": 1.0}
    assert "fitted to" in method["pace_source"]


def test_a_plan_in_words_with_its_figure(played: Path, tmp_path: Path) -> None:
    """Time, what takes longest, where lengths and speeds come from; the timeline as a picture."""
    said = output("plan", played / "b.toml", "--seeds", "1", "--figure", tmp_path / "b.svg")
    assert said.startswith("b: ")
    assert "What takes longest is m/quick" in said
    assert "lengths from bots' plays (100%)" in said
    assert (tmp_path / "b.svg").read_text().startswith("<svg")
