"""The documentation is right where a program can check it: commands, links, signatures, the site."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import harness
from games import GAMES
from harness.cli import COMMANDS, app
from harness.config.load import parse_sweep
from harness.store import schema

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKING = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FOR_THE_READER_TO_WRITE = ("games/sums.py", "backends/dialects/echo.py")
NAMED = re.compile(r"# (\S+\.toml)\n")
README_LINES_MAX = 120


def script(page: str) -> str:
    """Makes a shell script of a page: its named TOML files, its shell commands, its Python with imports."""
    steps = ["set -euo pipefail"]
    for language, text in FENCE.findall(page):
        named = NAMED.match(text)
        if language == "toml" and named:
            steps.append(f"cat > {named[1]} <<'_END_OF_FILE_'\n{text}_END_OF_FILE_")
        elif language == "sh":
            steps.append(text)
        elif language == "python" and "import " in text:
            steps.append(f"python - <<'_END_OF_FILE_'\n{text}_END_OF_FILE_")
    return with_free_ports("\n".join(steps))


def with_free_ports(text: str) -> str:
    """Replaces each port on which a command of the text listens, because another program may use it."""
    for port in set(re.findall(r"--port (\d{4,5})", text)):
        with socket.create_server(("127.0.0.1", 0)) as free:
            text = re.sub(rf"\b{port}\b", str(free.getsockname()[1]), text)
    return text


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Returns a PATH on which `lightbulb` and `python` are those of this checkout."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, command in (("lightbulb", f"{sys.executable} -m harness"), ("python", sys.executable)):
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.docs
@pytest.mark.timeout(960)  # a page is many commands; on a busy machine they add up
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```sh" in page.read_text("utf-8")], ids=lambda page: page.stem
)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, path: str) -> None:
    """The page's steps, from top to bottom in one new folder, all succeed and leave no process."""
    work = tmp_path / "work"
    work.mkdir()
    shell = subprocess.Popen(
        ["bash", "-c", script(page.read_text("utf-8"))],
        cwd=work,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=900)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, output[-4000:]
    assert "Traceback" not in output, output[-4000:]


@pytest.mark.docs
@pytest.mark.skipif(importlib.util.find_spec("myst_parser") is None, reason="Sphinx is not installed")
def test_the_site_builds(tmp_path: Path) -> None:
    """Sphinx builds the site without a warning: every link between pages and headings leads somewhere."""
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run([*command, ROOT / "docs", tmp_path / "site"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert {page.with_suffix(".html").name for page in PAGES} <= {
        page.name for page in (tmp_path / "site").glob("*.html")
    }


def sweeps() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for language, text in FENCE.findall(page.read_text("utf-8")):
            if language == "toml" and (named := NAMED.match(text)):
                yield f"{page.stem}-{named[1]}", text


@pytest.mark.parametrize(("name", "text"), list(sweeps()), ids=lambda value: value if len(value) < 40 else "")
def test_its_sweeps_are_valid(name: str, text: str) -> None:
    """Each sweep file of a page loads as it stands."""
    assert parse_sweep(text, source=name, known_games=list(GAMES)).methods()


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.stem)
def test_names_and_links_exist(page: Path) -> None:
    """Each command, each linked file and each file name on a page exists."""
    text = page.read_text("utf-8")
    group = typer.main.get_command(app)
    for command in set(re.findall(r"(?:^ {4}|`)lightbulb (\w+)", text, re.MULTILINE)):
        assert command in group.commands, f"{page.name}: lightbulb {command}"  # type: ignore[attr-defined]
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), f"{page.name}: {link}"
    for name in re.findall(r"`((?:games|harness|backends|tests|bench|examples)/[\w/.-]+\.\w+)`", text):
        wanted = "NAME" in name or name in FOR_THE_READER_TO_WRITE
        assert wanted or (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_files_of_help_texts_exist() -> None:
    """Each file of the checkout that an example in a help text names exists."""
    texts = [file.read_text("utf-8") for file in (ROOT / "harness" / "commands").glob("*.py")]
    examples = [line for text in texts for line in re.findall(r"Example: (.+)", text)]
    named = {name for line in examples for name in re.findall(r"\b(?:bench|examples)/[\w/.-]+\.\w+", line)}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_command_has_its_row() -> None:
    """docs/commands.md has each command of the program."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"`lightbulb {name}" in page, name


def test_the_store_is_described() -> None:
    """docs/store.md has each table and view."""
    page = (ROOT / "docs" / "store.md").read_text("utf-8")
    for name in (*schema.TABLES.values(), *schema.VIEWS):
        assert f"`{name}`" in page, name


def test_the_python_api_is_described() -> None:
    """docs/api.md has each public name, with the signature of the code."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8").replace("\\|", "|")
    for name in harness.__all__:
        value = getattr(harness, name)
        if inspect.isfunction(value):
            assert f"`{signature(name, value)}`" in page, name
            continue
        assert f"## `{name}`" in page, name
        for attribute, method in vars(value).items():
            if inspect.isfunction(method) and not attribute.startswith("_"):
                assert f"`{signature(attribute, method)}`" in page, f"{name}.{attribute}"


def signature(name: str, function: object) -> str:
    """Writes a function's signature as the documentation does: without self and without quotes."""
    assert callable(function)
    text = str(inspect.signature(function)).replace("'", "").replace("(self, ", "(").replace("(self)", "()")
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}{name}{text}"


def test_the_readme_is_short() -> None:
    """The README has at most 120 lines; what does not fit stands in docs/."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES_MAX
