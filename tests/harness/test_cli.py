"""What the command says of itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import COMMANDS, app


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


def test_the_list_of_commands_is_quick_and_fits() -> None:
    """It needs no module of a command, nor what commands work with; each has one line of eighty columns."""
    heavy = "{name for name in sys.modules if name.startswith(('harness.commands', 'rich', 'pydantic', 'numpy', 'duckdb', 'aiohttp'))}"
    script = f"import sys\nfrom harness.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    print(sorted({heavy}))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert said.pop() == "['harness.commands', 'harness.commands.terminal']"
    assert [line.split()[0] for line in said if line.startswith("  ")][-len(COMMANDS) :] == list(COMMANDS)
    assert max(map(len, said)) <= 80


def test_a_misspelt_command_is_corrected() -> None:
    answered = CliRunner().invoke(app, ["reprot"])
    assert answered.exit_code == 2
    assert "Did you mean 'report'" in answered.output
