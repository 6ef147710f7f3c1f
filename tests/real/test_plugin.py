"""Plug-ins: the example package is installed into an environment of its own and played there."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SWEEP = """
name = "parity"
[games.parity]
[models.m.methods.good]
bots = {}
[models.m.methods.poor]
bots = { skill = 0.2 }
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python whose environment holds the example; lightbulb and its packages come from this one by a path
    file."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    places = [str(ROOT), *(place for place in sys.path if place.endswith("site-packages"))]
    (site / "lightbulb.pth").write_text("\n".join(places) + "\n", encoding="utf-8")
    source = folder / "plugin"
    source.mkdir()
    for file in (ROOT / "examples" / "plugin").iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return python


def lightbulb(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "harness", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.real
def test_a_game_of_a_plugin_is_played(python: Path, tmp_path: Path) -> None:
    """Its name works in a sweep file as our games' names do: listed, played by its bots, scored."""
    (tmp_path / "parity.toml").write_text(SWEEP, encoding="utf-8")
    shown = lightbulb(python, "games", "parity", "--instance", "1", cwd=tmp_path)
    assert "Is 10 odd or even?" in shown.stdout, shown.stderr
    played = lightbulb(python, "run", "parity.toml", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    scores = lightbulb(python, "scores", "parity.duckdb", "--json", cwd=tmp_path)
    text = json.dumps(json.loads(scores.stdout))
    assert '"parity"' in text
    assert "m/poor" in text


@pytest.mark.real
def test_a_provider_of_a_plugin_is_known(python: Path, tmp_path: Path) -> None:
    """Its name gives the address and the key's variable; the run asks for the key."""
    text = SWEEP.replace("bots = {}", 'provider = "parlour"')
    (tmp_path / "parity.toml").write_text(text, encoding="utf-8")
    refused = lightbulb(python, "run", "parity.toml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "PARLOUR_API_KEY" in refused.stderr
