"""`lightbulb plan`, as a user runs it: before a sweep, and from what an earlier one left."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
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
    """Returns what a command prints that ends with exit code 0."""
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
    """A plan of the same sweep has the calls and tokens of the run within a tenth, and its measured speed."""
    plan = json.loads(
        output("plan", played / "b.toml", "--from", played / "b.duckdb", "--seeds", "2", "--json")
    )
    query = "SELECT count(*) AS calls, sum(prompt_tokens)::BIGINT AS taken FROM calls"
    (was,) = map(json.loads, output("sql", played / "b.duckdb", query, "--json").splitlines())
    assert plan["calls"] == pytest.approx(was["calls"], rel=0.1)
    assert plan["prompt_tokens"] == pytest.approx(was["taken"], rel=0.1)
    (method,) = plan["methods"]
    assert method["lengths"] == {"method": 1.0}
    assert "a fit to" in method["pace_source"]


def test_a_plan_from_imported_results(played: Path, tmp_path: Path) -> None:
    """Published results name the players of a game by numbers, and need not count tokens: the plan has the
    turns of the store that they came from, and its tokens within a tenth."""
    output("export", played / "b.duckdb", "--as", "clembench", "-o", tmp_path / "published")
    imported = tmp_path / "imported.duckdb"
    output("import", tmp_path / "published" / "repeat-0", "--store", imported, "--model", "m=*")
    with duckdb.connect(str(imported)) as connection:
        connection.execute("UPDATE calls SET prompt_tokens = NULL, completion_tokens = NULL")
    found, known = (
        json.loads(output("plan", played / "b.toml", "--from", store, "--full", "--json"))
        for store in (imported, played / "b.duckdb")
    )
    for figure in ("turns", "prompt_tokens", "reply_tokens"):
        assert found[figure] == pytest.approx(known[figure], rel=0.1)


def test_the_wait_for_a_worker_is_simulated_once(tmp_path: Path) -> None:
    """Two workers of an emulator compute all calls: with and without a store the time is their work over two,
    although the measured latencies contain the wait for a worker."""
    sweep = tmp_path / "w.toml"
    emulator = "emulator = { latency = { first_s = 0.02, tokens_per_s = 1000, workers = 2 } }"
    sweep.write_text(BOTS.replace("bots = { skill = 0.9, latency_s = 0.01 }", emulator))
    output("run", sweep)
    for stores in ((), ("--from", tmp_path / "b.duckdb")):
        plan = json.loads(output("plan", sweep, *stores, "--json"))
        work_s = 0.02 * plan["calls"] + plan["reply_tokens"] / 1000
        assert plan["wall"]["value"] == pytest.approx(work_s / 2, rel=0.1)
        assert plan["methods"][0]["pace_source"] == "the sweep file's emulator"


def test_a_plan_counts_the_gaps_between_sessions(tmp_path: Path) -> None:
    """The time of play is as before; the pauses between sessions come on top of it."""
    sweep = tmp_path / "s.toml"
    sweep.write_text(BOTS.replace("repeats = 2", "repeats = 3") + '[audit]\nsessions = 3\ngap = "6h"\n')
    text = output("plan", sweep, "--seeds", "1")
    assert "With 2 gaps of 6.0 hours between its 3 sessions: 12.0 hours in all." in text
    plan = json.loads(output("plan", sweep, "--seeds", "1", "--json"))
    assert (plan["sessions"], plan["gaps_s"]) == (3, 43_200.0)
    assert plan["wall"]["value"] < 3_600.0


def test_a_plan_in_words_with_its_figure(played: Path, tmp_path: Path) -> None:
    """The plan gives the time, the longest method, and the sources of lengths and speeds; the timeline is a
    picture."""
    said = output("plan", played / "b.toml", "--seeds", "1", "--figure", tmp_path / "b.svg")
    assert said.startswith("b: ")
    assert "Slowest method: m/quick: " in said
    assert "lengths are based on episodes that bots play" in said
    assert (tmp_path / "b.svg").read_text().startswith("<svg")


PRICED = """
name = "p"
repeats = 4
[games.taboo]
items = 12
[games.wordle]
items = 7
[models.m.methods.a]
base_url = "https://a.example/v1"
price_input_usd_per_mtok = 1.0
price_output_usd_per_mtok = 4.0
[models.m.methods.b]
base_url = "https://b.example/v1"
price_input_usd_per_mtok = 0.5
price_output_usd_per_mtok = 2.0
"""


@pytest.mark.parametrize("from_store", [False, True])
def test_both_plans_count_alike(played: Path, tmp_path: Path, from_store: bool) -> None:
    """`plan` and `audit --plan` give one number of calls, tokens and dollars for one file, with and without a
    store."""
    sweep = tmp_path / "p.toml"
    sweep.write_text(PRICED)
    store = ("--from", played / "b.duckdb") if from_store else ()
    plan = json.loads(output("plan", sweep, *store, "--seeds", "1", "--json"))
    (line,) = output("audit", "--plan", sweep, *store, "--json").splitlines()
    found = json.loads(line)
    (cost,) = [model["planned"] for model in (found if isinstance(found, list) else [found])]
    assert plan["calls"] == plan["turns"]
    assert cost["episodes"] == plan["episodes"]
    assert cost["calls"] == plan["calls"]
    assert cost["tokens"] == plan["prompt_tokens"] + plan["reply_tokens"]
    assert cost["cost_usd"] == pytest.approx(plan["cost_usd"])
