"""Scores, verdicts, days and forecasts, as the command says them."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from tests.bots import bots_sweep, rows
from tests.command import lightbulb


def test_scores_and_verdicts_are_printed(played: Path) -> None:
    """Scores as JSON (as text in another test), verdicts as both; the verdict is one of the three."""
    (model,) = json.loads(lightbulb("scores", played, "--json").stdout)
    assert [method["method"] for method in model["methods"]] == ["bots/good", "bots/sloppy"]
    spoken = lightbulb("audit", played).stdout
    (found,) = json.loads(lightbulb("audit", played, "--json").stdout)
    (comparison,) = found["scores"]["comparisons"]
    assert comparison["verdict"] in ("DIFFERENT", "EQUIVALENT", "INCONCLUSIVE")
    assert comparison["label"] in spoken
    assert "identical prompts" in spoken
    assert found["scores"]["again"]["method"] == "bots/good (again)"
    assert "The two runs of the reference differ by " in spoken


def test_the_reference_that_was_planned_is_compared_with(tmp_path: Path) -> None:
    """Without one in the sweep file, the reference is the first method of the file, also where another
    method's server was ready first and its row stands first in the store."""
    sweep = bots_sweep(tmp_path)
    assert lightbulb("run", sweep).returncode == 0
    store = sweep.with_suffix(".duckdb")
    with duckdb.connect(str(store)) as connection:
        connection.execute("CREATE TEMP TABLE kept AS FROM methods")
        connection.execute("DELETE FROM methods")
        connection.execute("INSERT INTO methods FROM kept ORDER BY method DESC")
    (found,) = json.loads(lightbulb("audit", store, "--json").stdout)
    assert found["scores"]["reference"] == "bots/good"
    assert found["scores"]["again"]["method"] == "bots/good (again)"


def test_what_the_time_went_to_is_said(played: Path) -> None:
    """For each access method shares that sum to one; as text with the chief cause in words."""
    found = json.loads(lightbulb("scores", played, "--why", "--json").stdout)
    assert [one["method"] for one in found] == ["bots/good", "bots/sloppy"]
    for one in found:
        parts = [one[name] for name in ("provider", "quota", "backing_off", "own_cpu", "starved")]
        assert sum(parts) == pytest.approx(1.0)
        assert min(parts) >= 0.0
    assert "bots/good: most of the time, " in lightbulb("scores", played, "--why").stdout


def test_the_view_of_clemscores_is_the_score_table(played: Path) -> None:
    """The same clemscore, share played and quality as `scores` prints."""
    (model,) = json.loads(lightbulb("scores", played, "--json").stdout)
    printed = [
        (one["method"], *(one["clemscore"][name] for name in ("value", "played", "quality")))
        for one in model["methods"]
    ]
    assert (
        rows(played, "SELECT method, clemscore, played, quality FROM clemscores ORDER BY method") == printed
    )


def test_a_difference_fails_on_request_and_makes_a_page(tmp_path: Path) -> None:
    """Hopeless bots differ from good ones: exit code 5 only when asked for; the page is written; the plan was
    stored before the first call, and both verdict and JSON quote its hash."""
    sweep = bots_sweep(tmp_path)
    sweep.write_text(sweep.read_text().replace("form_errors = 0.1", "form_errors = 0.9"))
    assert lightbulb("run", sweep).returncode == 0
    store, page = sweep.with_suffix(".duckdb"), tmp_path / "audit.html"
    ((plan, before),) = rows(
        store, "SELECT plan_hash, made_at <= (SELECT min(sent_at) FROM calls) FROM audit_plans"
    )
    assert before
    asked = lightbulb("audit", store, "--html", page, "--fail-on-difference")
    assert asked.returncode == 5, asked.stderr
    assert f"Audit plan {str(plan)[:8]} was stored before the first call" in asked.stdout
    assert "<!doctype html>" in page.read_text("utf-8")
    unasked = lightbulb("audit", store, "--json", "--margin", 4)
    (found,) = json.loads(unasked.stdout)
    assert unasked.returncode == 0
    assert found["plan"]["plan_hash"] == plan
    assert found["plan"]["overruled"] == ["margin 4 instead of 3"]


def test_days_are_compared(tmp_path: Path, played: Path) -> None:
    """Eight days of the same replies are quiet; a ninth in other words is announced, and fails if that is
    asked for. Three days are not enough. Scores are compared too."""
    stores = [tmp_path / f"day{day}.duckdb" for day in range(9)]
    for day, store in enumerate(stores):
        store.write_bytes(played.read_bytes())
        with duckdb.connect(str(store)) as connection:
            connection.execute(f"UPDATE calls SET sent_at = sent_at + {86_400 * day}")
            if day == 8:
                connection.execute("UPDATE calls SET reply = 'never', served_model = 'another'")
    quiet = lightbulb("drift", *stores[:8], "--fail-on-difference", "--json")
    assert quiet.returncode == 0, quiet.stderr
    found = json.loads(quiet.stdout)
    assert [one["replies"]["method"] for one in found] == ["bots/good", "bots/sloppy"]
    assert found[0]["replies"]["days"][7]["p"] == 1.0
    assert found[0]["scores"]["comparisons"][0]["points"]["difference"] == 0
    assert "not enough days yet" in lightbulb("drift", *stores[:3]).stdout
    loud = lightbulb("drift", *reversed(stores), "--fail-on-difference")
    assert loud.returncode == 5, loud.stderr
    assert "bots/good has changed: " in loud.stdout
    assert "served model: " in loud.stdout
    assert lightbulb("drift", stores[0], stores[0]).returncode == 2


def test_an_audit_is_planned_before_any_call(tmp_path: Path, played: Path) -> None:
    """Too small a sweep is warned of, with what would settle it; earlier episodes replace the guess; a store
    is not needed, nor made."""
    sweep = bots_sweep(tmp_path)
    guessed = lightbulb("audit", "--plan", sweep)
    assert guessed.returncode == 0, guessed.stderr
    assert "WARNING: the sweep is too small for a decision with margins of 3 points" in guessed.stdout
    assert "guessed" in guessed.stdout
    (told,) = json.loads(lightbulb("audit", "--plan", sweep, "--from", played, "--json").stdout)
    assert {game["source"] for game in told["prospect"]["games"]} == {f"as in {played}"}
    assert told["planned"]["episodes"] == 54
    assert not sweep.with_suffix(".duckdb").exists()
    both = lightbulb("audit", played, "--plan", sweep)
    assert (both.returncode, "--from STORE" in both.stderr) == (2, True)


def _unfinished(played: Path, store: Path, where: str) -> Path:
    """A copy of the played store without the ends of these episodes of the second method."""
    store.write_bytes(played.read_bytes())
    with duckdb.connect(str(store)) as connection:
        connection.execute(f"DELETE FROM episodes WHERE method = 'bots/sloppy' AND {where}")
    return store


def test_an_unfinished_sweep_gets_no_verdict_from_its_short_plays(tmp_path: Path, played: Path) -> None:
    """Only the wins of one method have ended: no figures, no verdict, bounds, and the counts; exit code 0."""
    store = _unfinished(played, tmp_path / "u.duckdb", "outcome <> 'success'")
    ended = lightbulb("audit", store, "--json", "--fail-on-difference")
    assert ended.returncode == 0, ended.stderr
    (found,) = json.loads(ended.stdout)
    assert found["complete"] is False
    assert found["scores"]["comparisons"] == []
    (aside,) = found["scores"]["set_aside"]
    assert (aside["method"], aside["reason"]) == ("bots/sloppy", "unfinished")
    assert aside["low"] < 0 < aside["high"]
    plays = {one["method"]: one for one in found["plays"]}
    sloppy = plays["bots/sloppy"]
    assert (sloppy["planned"], sloppy["whole_blocks"], sloppy["complete"]) == (18, 0, False)
    assert sloppy["ended"] + sloppy["open"] == 18
    assert plays["bots/good (again)"]["complete"]
    (model,) = json.loads(lightbulb("scores", store, "--json").stdout)
    assert model["complete"] is False
    assert model["methods"][1]["clemscore"]["value"] is None
    for command in ("scores", "audit"):
        assert "The sweep is not finished" in lightbulb(command, store).stdout
        assert f"18 episodes planned, {sloppy['ended']} ended, 0 failed" in lightbulb(command, store).stdout
    page = tmp_path / "page.html"
    assert lightbulb("report", store, "-o", page).returncode == 0
    assert "INCONCLUSIVE (unfinished)" in page.read_text("utf-8")
    assert lightbulb("audit", store, "--html", page).returncode == 0
    assert "The sweep is not finished" in page.read_text("utf-8")


def test_whole_blocks_of_an_unfinished_sweep_are_judged(tmp_path: Path, played: Path) -> None:
    """Without the last block of one method the audit is the third interim analysis of four, of 14 of 18
    items."""
    with duckdb.connect(str(played), read_only=True) as connection:
        ((planned,),) = connection.execute("SELECT planned_json FROM sweeps").fetchall()
    last = json.loads(planned)["blocks"][-1]
    names = ", ".join(repr(item) for item in last)
    item = "concat_ws(':', game, rules, instance_set, experiment, instance, content_hash)"
    store = _unfinished(played, tmp_path / "u.duckdb", f"{item} IN ({names})")
    (found,) = json.loads(lightbulb("audit", store, "--json").stdout)
    (comparison,) = found["scores"]["comparisons"]
    assert (comparison["interim"]["number"], comparison["interim"]["of"]) == (3, 4)
    assert comparison["items"] == 18 - len(last)
    assert "The sweep is not finished. This is interim analysis 3 of 4" in comparison["sentence"]
    assert found["complete"] is False


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    """Brackets and colons of a model's name are no markup of the terminal, in tables and in sentences."""
    model = "[/b][bold]m:bug:"
    sweep = tmp_path / "s.toml"
    methods = "".join(f'[models."{model}".methods."{name}:8"]\nbots = {{}}\n' for name in ("one", "two"))
    sweep.write_text(f'name = "s"\n[games.taboo]\nitems = 2\n{methods}')
    assert lightbulb("run", sweep).returncode == 0
    audited, planned = lightbulb("audit", tmp_path / "s.duckdb"), lightbulb("plan", sweep)
    assert (audited.returncode, planned.returncode) == (0, 0), audited.stderr + planned.stderr
    assert f"\n{model}/two:8  INCONCLUSIVE  " in audited.stdout
    assert f"Slowest method: {model}/" in planned.stdout


def test_a_method_left_out_is_named(tmp_path: Path, played: Path) -> None:
    """Its row says that it was left out after the data; a method that is not there is refused."""
    (found,) = json.loads(lightbulb("audit", played, "--leave-out", "bots/sloppy", "--json").stdout)
    assert found["scores"]["comparisons"] == []
    assert found["scores"]["set_aside"][0]["reason"] == "left out"
    assert found["scores"]["family"] == 1
    refused = lightbulb("audit", played, "--leave-out", "bots/x")
    assert (refused.returncode, "no method 'bots/x' to leave out" in refused.stderr) == (2, True)
    page = tmp_path / "page.html"
    assert lightbulb("report", played, "-o", page, "--leave-out", "bots/sloppy").returncode == 0
    assert "was left out by this command" in page.read_text("utf-8")
