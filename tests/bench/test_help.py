"""The benches can be started: each one that names its command prints its help."""

from __future__ import annotations

import ast
import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest

import bench

FILES = sorted(Path(bench.__path__[0]).glob("*.py"))


def has_command(file: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return f"python -m bench.{file.stem}" in docstring


COMMANDS = [file for file in FILES if has_command(file)]
SCRIPTS = {"clem_own_loop", "load_generators", "peer_clients", "sdk_judges"}  # for other Pythons
PARTS = [file for file in FILES if not has_command(file) and file.stem != "__init__"]


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.stem)
def test_a_bench_prints_its_help(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that the docstring names parses its arguments and explains them; it does not start to
    measure, and it does not end without a word."""
    monkeypatch.setattr(sys, "argv", [str(file), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(file), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {file.name}")


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.stem)
def test_a_part_of_benches_has_no_command(file: Path) -> None:
    """A file without a command in its docstring can be imported; only a script of another Python starts by
    itself."""
    module = import_module(f"bench.{file.stem}")
    starts = "__main__" in file.read_text(encoding="utf-8")
    assert starts == (module.__name__.removeprefix("bench.") in SCRIPTS)
