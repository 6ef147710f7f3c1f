"""The page as text: what it holds, and what nothing written by others can do to it."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import json
import re
from pathlib import Path

import duckdb
import pytest

from games import GAMES
from harness.analysis.report_data import store_story
from harness.core.errors import AuditError
from harness.store.file import open_to_read
from harness.store.report_queries import chosen_episodes, endings, method_tallies
from harness.transfer.into_store import Grouping, import_results
from harness.view.pages import one_script, store_page
from tests.harness.report.telling import HOSTILE, ITEMS, PREFIX, REPEATS, telling_store
from tests.harness.transfer.published import write_results

DATA = Path(__file__).parents[1] / "audit" / "data"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return telling_store(tmp_path_factory.mktemp("told") / "told.duckdb")


@pytest.fixture(scope="module")
def written(store: Path) -> str:
    story = store_story(store, reference=None, margin=None, transcript_bytes=1_000_000, made_at=0.0)
    return store_page(story, store)


def test_nothing_hostile_is_markup(written: str) -> None:
    """Names, reasons, prompts and replies stand in the page as text: it has our two scripts and not one
    element of theirs."""
    assert re.findall(r"<script[^>]*>", written) == [
        '<script type="application/json" id="values">',
        "<script>",
    ]
    assert not re.search(r"<(iframe|b|i|textarea)\b", written.replace(_data(written), ""))
    assert "<" not in _data(written)
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "\u2028" not in written


def test_what_was_said_is_what_is_shown(written: str) -> None:
    """Through all the escaping the transcripts' own words come back, but for characters that no eye should
    meet."""
    texts = json.loads(_data(written))["transcripts"]["texts"]
    assert f"GUESS: {HOSTILE[0]}" in texts
    assert any(r"\x1b[31m \u202etxt {{ 7 * 7 }}" in text for text in texts)


def test_it_runs_only_our_script_and_loads_nothing(written: str) -> None:
    """The content policy allows the hashes of exactly the style and script that are there; no attribute names
    an address."""
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', written)
    for kind, tag in (("style", "style"), ("script", "script")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", written, re.DOTALL)
        assert (
            f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            in html.unescape(policy)
        )
    assert html.unescape(policy).startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    shell = written.replace(_data(written), "").replace(one_script(), "")
    assert re.findall(r'(?:src|href|action|xlink:href)="(?!#|data:,)[^"]*"', shell) == []
    assert ' style="' not in shell


def test_the_modules_are_one_script() -> None:
    """No import is left, and no name is declared twice in the one scope."""
    script = one_script()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    names = re.findall(r"^(?:const|let|function) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names))


def _data(written: str) -> str:
    (data,) = re.findall(r'id="values">(.*?)</script>', written, re.DOTALL)
    return str(data)


def test_it_holds_verdicts_scores_and_causes(written: str, store: Path) -> None:
    """A verdict's word and sentence, a cause with its number and its example, and the sums of the calls."""
    values = json.loads(_data(written))
    (part,) = values["verdicts"]["models"]
    assert part["rows"][0]["scores"] in ("DIFFERENT", "EQUIVALENT", "INCONCLUSIVE")
    assert part["rows"][0]["sentence"]
    (cause,) = values["causes"]["rows"]
    assert (cause["ended"], cause["cause"], cause["count"]) == ("aborted", PREFIX, REPEATS)
    assert re.fullmatch("[0-9a-f]{16}", cause["methods"][0]["example"])
    with open_to_read(store) as connection:
        ((calls, errors),) = connection.execute("SELECT count(*), count(error_class) FROM calls").fetchall()
    assert sum(one["calls"] for one in values["calls"]) == calls
    assert sum(one["errors"] for one in values["calls"]) == errors
    assert sum(count for one in values["calls"] for _, count in one["histogram"]) == calls


def test_alike_endings_are_one_cause(store: Path) -> None:
    """Aborts for one reason are one row with their number, an example, and the method whose they are."""
    with open_to_read(store) as connection:
        (cluster,) = endings(connection)
        (method,) = cluster.methods
        assert (cluster.ended, cluster.cause, cluster.count, method[:2]) == (
            "aborted",
            PREFIX,
            REPEATS,
            ("m/<b>there</b>", REPEATS),
        )


def test_calls_are_counted_by_method(store: Path) -> None:
    """Calls, tokens, times; every answered call is in the histogram once; money is unknown without prices."""
    with open_to_read(store) as connection:
        here, _ = method_tallies(connection)
    assert (here.calls, here.errors, here.prompt_tokens, here.completion_tokens) == (16, 0, 160, 80)
    assert here.cost_usd is None
    assert here.busy_s == pytest.approx(2.5)
    assert sum(count for _, count in here.histogram) == 16
    assert here.latency_s[2] == pytest.approx(1.0)


def test_transcripts_are_whole_items_within_the_bytes(store: Path) -> None:
    """Every play of an item or none, those that ended differently first; what is asked for by name comes
    always."""
    with open_to_read(store) as connection:
        everything = chosen_episodes(connection, bytes_max=1_000_000)
        assert len(everything) == 2 * ITEMS * REPEATS
        sizes = [sum(len(turn.reply.encode()) + 60 for turn in one.turns) for one in everything]
        some = chosen_episodes(connection, bytes_max=sum(sizes) // 2)
        assert {one.puzzle for one in some} >= {"high 0"}
        assert 0 < len(some) < len(everything)
        assert len(some) % (2 * REPEATS) == 0
        none = chosen_episodes(connection, bytes_max=0, first=[everything[3].episode_id])
        assert [one.episode_id for one in none] == [everything[3].episode_id]
        assert none[0].turns[0].reply.startswith("CLUE: ")


def test_a_store_without_rivals_has_a_page_too(tmp_path: Path) -> None:
    """One access method: no verdict, and the page says why; a reference that was not played is an error all
    the same."""
    store = telling_store(tmp_path / "one.duckdb", methods=("m/here",))
    story = store_story(store, reference=None, margin=None, transcript_bytes=0, made_at=0.0)
    assert "nothing to compare" in json.loads(_data(store_page(story, store)))["verdicts"]["why_none"]
    with pytest.raises(AuditError):
        store_story(store, reference="m/nowhere", margin=None, transcript_bytes=0, made_at=0.0)


def test_models_that_say_their_size_have_a_line(tmp_path: Path) -> None:
    """Averages of six models whose parameters are known: a dot for each, and what ten times the parameters go
    with."""
    with (DATA / "published_scores.csv").open(newline="") as file:
        published = list(csv.DictReader(file))[:6]
    named = [(f"m{place}-t0.0--m{place}-t0.0", row) for place, row in enumerate(published)]
    results = write_results(tmp_path / "results.csv", list(GAMES), named)
    path = tmp_path / "sized.duckdb"
    import_results([results], path, Grouping.read([]), wall_s=0.0, notify=lambda line: None)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE models SET parameters = 10 ** (8 + model[2]::INTEGER)")
    story = store_story(path, reference=None, margin=None, transcript_bytes=0, made_at=0.0)
    sizes = json.loads(_data(store_page(story, path)))["sizes"]
    assert len(sizes["points"]) == 6
    assert sizes["slope"][1] < sizes["slope"][0] < sizes["slope"][2]


def test_a_cause_keeps_its_http_status(tmp_path: Path) -> None:
    """Counts and ids are masked, so that failures of one cause are one row; the status is what one needs."""
    path = telling_store(tmp_path / "failed.duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            """UPDATE episodes SET status = 'failed', outcome = NULL,
               reason = 'Unavailable: HTTP 503: request ' || rowid || ' failed after ' || repeat || ' tries'"""
        )
    with open_to_read(path) as connection:
        (cluster,) = endings(connection)
    assert cluster.cause == "Unavailable: HTTP 503: request # failed after # tries"
