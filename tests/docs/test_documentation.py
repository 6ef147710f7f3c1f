"""Every page of docs/ is played from top to bottom: its files are written, its commands and its Python run, in one new folder a page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from games import GAMES
from harness.cli import app
from harness.config.load import parse_sweep
from harness.store import schema

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TO_BE_WRITTEN = ("games/sums.py", "backends/dialects/echo.py")  # what a page tells its reader to write
NAMED = re.compile(r"# (\S+\.toml)\n")


def script(page: str) -> str:
    """The page as one shell script: TOML that names its file is written, shell runs, and Python that imports something runs."""
    steps = ["set -euo pipefail"]
    for language, text in FENCE.findall(page):
        named = NAMED.match(text)
        if language == "toml" and named:
            steps.append(f"cat > {named[1]} <<'_END_OF_FILE_'\n{text}_END_OF_FILE_")
        elif language == "sh":
            steps.append(text)
        elif language == "python" and "import " in text:
            steps.append(f"python - <<'_END_OF_FILE_'\n{text}_END_OF_FILE_")
    return "\n".join(steps)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `lightbulb` and `python` are this checkout's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, command in (("lightbulb", f"{sys.executable} -m harness"), ("python", sys.executable)):
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.docs
@pytest.mark.timeout(960)  # a page is many commands; on a busy machine they add up
@pytest.mark.parametrize(
    "page", [one for one in PAGES if "```sh" in one.read_text("utf-8")], ids=lambda page: page.stem
)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, path: str) -> None:
    """Played as it stands, no step fails and nothing is left running."""
    work = tmp_path / "work"
    work.mkdir()
    playing = subprocess.Popen(
        ["bash", "-c", script(page.read_text("utf-8"))],
        cwd=work,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = playing.communicate(timeout=900)
    finally:
        if playing.poll() is None:
            os.killpg(playing.pid, signal.SIGKILL)
    assert playing.returncode == 0, said[-4000:]
    assert "Traceback" not in said, said[-4000:]


def sweeps() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for language, text in FENCE.findall(page.read_text("utf-8")):
            if language == "toml" and NAMED.match(text):
                yield f"{page.stem}-{NAMED.match(text)[1]}", text  # type: ignore[index]


@pytest.mark.parametrize(("name", "text"), list(sweeps()), ids=lambda value: value if len(value) < 40 else "")
def test_its_sweeps_are_good_ones(name: str, text: str) -> None:
    """Each loads as it stands."""
    assert parse_sweep(text, source=name, known_games=list(GAMES)).methods()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_what_it_names_exists(page: Path) -> None:
    """Commands are commands, and links between pages and into the checkout lead somewhere."""
    text = page.read_text("utf-8")
    group = typer.main.get_command(app)
    for command in set(re.findall(r"(?:^ {4}|`)lightbulb (\w+)", text, re.MULTILINE)):
        assert command in group.commands, f"{page.name}: lightbulb {command}"  # type: ignore[attr-defined]
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), f"{page.name}: {link}"
    for name in re.findall(r"`((?:games|harness|backends|tests|bench)/[\w/.-]+\.(?:py|md|toml))`", text):
        assert (ROOT / name).exists() or name in TO_BE_WRITTEN, f"{page.name}: {name}"


def test_the_store_is_described() -> None:
    """Each table and view has its row."""
    page = (ROOT / "docs" / "store.md").read_text("utf-8")
    for name in (*schema.TABLES.values(), *schema.VIEWS):
        assert f"`{name}`" in page, name
