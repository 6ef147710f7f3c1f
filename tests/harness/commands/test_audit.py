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
    assert "The reference against itself: " in spoken


def test_what_the_time_went_to_is_said(played: Path) -> None:
    """For each access method shares that sum to one; as text with the chief cause in words."""
    found = json.loads(lightbulb("scores", played, "--why", "--json").stdout)
    assert [one["method"] for one in found] == ["bots/good", "bots/sloppy"]
    for one in found:
        parts = [one[name] for name in ("provider", "quota", "backing_off", "own_cpu", "starved")]
        assert sum(parts) == pytest.approx(1.0)
        assert min(parts) >= 0.0
    assert "bots/good: mostly " in lightbulb("scores", played, "--why").stdout


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
    """Hopeless bots differ from good ones: exit code 5 only when asked for; the page is written; the plan was stored before the first
    call, and both verdict and JSON quote its hash."""
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
    assert f"Plan {str(plan)[:8]}, written before the first call" in asked.stdout
    assert "<!doctype html>" in page.read_text("utf-8")
    unasked = lightbulb("audit", store, "--json", "--margin", 4)
    (found,) = json.loads(unasked.stdout)
    assert unasked.returncode == 0
    assert found["plan"]["plan_hash"] == plan
    assert found["plan"]["overruled"] == ["margin 4 instead of 3"]


def test_days_are_held_against_each_other(tmp_path: Path, played: Path) -> None:
    """Three days of the same replies are quiet; a fourth in other words is announced, and fails where asked to. Scores are compared too."""
    stores = [tmp_path / f"day{day}.duckdb" for day in range(4)]
    for day, store in enumerate(stores):
        store.write_bytes(played.read_bytes())
        with duckdb.connect(str(store)) as connection:
            connection.execute(f"UPDATE calls SET sent_at = sent_at + {86_400 * day}")
            if day == 3:
                connection.execute("UPDATE calls SET reply = 'never', served_model = 'another'")
    quiet = lightbulb("drift", *stores[:3], "--days-mean", "9", "--fail-on-difference", "--json")
    assert quiet.returncode == 0, quiet.stderr
    found = json.loads(quiet.stdout)
    assert [one["replies"]["method"] for one in found] == ["bots/good", "bots/sloppy"]
    assert found[0]["scores"]["comparisons"][0]["points"]["difference"] == 0
    loud = lightbulb("drift", *reversed(stores), "--days-mean", "9", "--fail-on-difference")
    assert loud.returncode == 5, loud.stderr
    assert "bots/good has changed: announced on" in loud.stdout
    assert "served model: " in loud.stdout
    assert "nothing" not in loud.stdout
    assert lightbulb("drift", stores[0], stores[0]).returncode == 2


def test_an_audit_is_planned_before_any_call(tmp_path: Path, played: Path) -> None:
    """Too small a sweep is warned of, with what would settle it; earlier episodes replace the guess; a store is not needed, nor made."""
    sweep = bots_sweep(tmp_path)
    guessed = lightbulb("audit", "--plan", sweep)
    assert guessed.returncode == 0, guessed.stderr
    assert "WARNING: too small for its margins of 3 points and 5 % played" in guessed.stdout
    assert "guessed" in guessed.stdout
    (told,) = json.loads(lightbulb("audit", "--plan", sweep, "--from", played, "--json").stdout)
    assert {game["source"] for game in told["prospect"]["games"]} == {f"as in {played}"}
    assert told["planned"]["episodes"] == 54
    assert not sweep.with_suffix(".duckdb").exists()
    both = lightbulb("audit", played, "--plan", sweep)
    assert (both.returncode, "--from STORE" in both.stderr) == (2, True)
