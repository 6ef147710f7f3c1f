"""The output of the command without a sweep: help, version, errors."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Timer

import pytest
import typer

from harness.cli import COMMANDS, app
from tests.command import lightbulb


def commands() -> Iterator[tuple[str, str]]:
    """Every command with its full help text."""
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        for deeper, one in (inner or {"": command}).items():
            yield f"{name} {deeper}".strip(), one.help or ""


@pytest.mark.parametrize(("name", "text"), list(commands()), ids=lambda value: value.split("\n")[0][:12])
def test_every_command_has_an_example(name: str, text: str) -> None:
    """Its help holds a line to copy, which starts with the command itself."""
    assert f"Example: lightbulb {name}" in text


def imported_by(*words: str) -> tuple[list[str], set[str]]:
    """Runs a command in a process of its own; returns its output and the slow modules that it imported."""
    script = f"import sys\nfrom harness.cli import main\ntry:\n    main({list(words)})\nexcept SystemExit:\n    print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    *said, modules = ended.stdout.splitlines()
    of_all = ("harness.commands.", "rich", "pydantic", "duckdb", "aiohttp", "anyio")
    slow = (*of_all, "numpy", "scipy", "altair", "jinja2", "backends.emulator")
    return said, {name for name in modules.split() if name.startswith(slow)}


def test_the_list_of_commands_is_quick_and_fits() -> None:
    """It needs no module of a command, nor what commands work with; each has one line of eighty columns."""
    said, imported = imported_by("--help")
    assert imported == {"harness.commands.terminal"}
    assert [line.split()[0] for line in said if line.startswith("  ")][-len(COMMANDS) :] == list(COMMANDS)
    assert max(map(len, said)) <= 80


def test_help_for_a_command_needs_its_family_alone() -> None:
    """Not what it works with."""
    said, imported = imported_by("run", "--help")
    assert said[0].startswith("Usage: lightbulb run [OPTIONS]")
    assert imported == {"harness.commands.terminal", "harness.commands.arguments", "harness.commands.run"}


def test_a_run_loads_nothing_that_only_others_need(tmp_path: Path) -> None:
    """A run imports no statistics, figures or emulator, and no table without a terminal, to begin sooner."""
    sweep = tmp_path / "small.toml"
    sweep.write_text(
        'name = "small"\n[games.taboo]\nitems = 1\n[models.m.methods.a]\nbots = { skill = 1.0 }\n'
    )
    _, imported = imported_by("run", str(sweep))
    assert {name.split(".")[0] for name in imported} == {
        "harness",
        "pydantic",
        "pydantic_core",
        "duckdb",
        "aiohttp",
        "anyio",
    }


def on_a_terminal(*words: str, **of_terminal: str) -> str:
    """Runs a command on a real terminal of 200 columns with these variables set besides; returns its
    output."""
    screen, terminal = pty.openpty()
    told = {"COLUMNS": "200", "TERM": "xterm", "TTY_COMPATIBLE": "1"} | of_terminal
    command = [sys.executable, "-m", "harness", *words]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=terminal, env=os.environ | told
    ) as running:
        os.close(terminal)
        late = Timer(60.0, running.kill)
        late.start()
        shown = b"".join(read_to_the_end(screen))
        late.cancel()
    os.close(screen)
    assert running.returncode == 0
    return shown.decode()


def read_to_the_end(screen: int) -> Iterator[bytes]:
    """Until nobody writes any more, which Linux calls an error."""
    with suppress(OSError):
        while some := os.read(screen, 65536):
            yield some


@pytest.mark.parametrize(("terminal", "in_place"), [("xterm", True), ("dumb", False)])
def test_a_run_on_a_terminal_shows_a_table(tmp_path: Path, terminal: str, in_place: bool) -> None:
    """One that changes in place, where the terminal can; what it says besides stays."""
    sweep = tmp_path / "small.toml"
    sweep.write_text(
        'name = "small"\n[games.taboo]\nitems = 6\n[models.m.methods.a]\nbots = { skill = 1.0, latency_s = 0.4 }\n'
    )
    shown = on_a_terminal("run", str(sweep), TERM=terminal)
    assert ("in flight" in shown) == in_place
    assert ("\x1b[1A" in shown) == in_place  # the cursor went up a line
    assert "6 episodes finished, 0 failed, 0 pending" in shown


def test_the_version_is_that_of_the_package() -> None:
    assert lightbulb("--version").stdout.split() == ["lightbulb", version("lightbulb")]


def test_a_misspelt_command_is_corrected() -> None:
    answered = lightbulb("reprot")
    assert answered.returncode == 2
    assert "Did you mean 'report'" in answered.stderr
