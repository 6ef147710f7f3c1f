"""The programs and sweep files of examples/ work as they stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from games import GAMES
from harness.config.load import parse_sweep

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def ran(*command: str, cwd: Path) -> str:
    """Runs Python with this command line, and returns what it printed."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, *command], cwd=cwd, env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_programs_run(program: Path, tmp_path: Path) -> None:
    """Each program runs to its end and prints something."""
    assert ran(str(program), cwd=tmp_path).strip()


@pytest.mark.parametrize("sweep", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_sweeps_are_valid(sweep: Path) -> None:
    """Each sweep file loads as it stands."""
    assert parse_sweep(sweep.read_text("utf-8"), source=sweep.name, known_games=list(GAMES)).methods()


def test_the_reseller_is_found_out(tmp_path: Path) -> None:
    """The commands of the file give DIFFERENT on scores and replies, and name the planted cap."""
    sweep = str(EXAMPLES / "reseller.toml")
    ran("-m", "harness", "check", sweep, "--store", "reseller.duckdb", cwd=tmp_path)
    ran("-m", "harness", "run", sweep, "--store", "reseller.duckdb", cwd=tmp_path)
    (model,) = json.loads(ran("-m", "harness", "audit", "reseller.duckdb", "--json", cwd=tmp_path))
    assert [comparison["verdict"] for comparison in model["scores"]["comparisons"]] == ["DIFFERENT"]
    assert [match["verdict"] for match in model["replies"]["across"]] == ["DIFFERENT"]
    named = {cause["method"]: cause["named"] for cause in model["causes"]}
    assert named["llama/reseller"] == ["a cap on output"]


def test_the_game_of_the_documentation_is_the_example() -> None:
    """docs/how-to.md shows examples/sums.py as it is."""
    source = (EXAMPLES / "sums.py").read_text("utf-8")
    assert source[source.index("from __future__") :] in (ROOT / "docs" / "how-to.md").read_text("utf-8")
