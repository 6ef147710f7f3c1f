"""The README and the reference of keys are complete where a program can check it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import typer

from games import GAMES
from harness.cli import app
from harness.config.load import parse_sweep
from harness.config.sweep import (
    AuditPart,
    BotPart,
    EnginePart,
    ExpectPart,
    GamePart,
    MethodPart,
    ModelPart,
    RetryPart,
    SweepSpec,
)
from harness.core.emulation import Defects, Emulation, Faults, Latency, Quotas

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SWEEP_FILE = (ROOT / "docs" / "sweep-file.md").read_text("utf-8")


def test_its_sweep_is_valid() -> None:
    """The example loads as it stands, and its reference is one of its access methods."""
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    spec = parse_sweep(block, source="README.md", known_games=list(GAMES))
    assert spec.audit.reference in spec.methods()


def test_every_key_is_in_the_reference() -> None:
    """The table of docs/sweep-file.md has each key of a sweep file."""
    for part in (
        SweepSpec,
        GamePart,
        ModelPart,
        MethodPart,
        EnginePart,
        BotPart,
        ExpectPart,
        RetryPart,
        AuditPart,
    ):
        for field in dataclasses.fields(part):
            assert re.search(rf"`[^`]*\b{field.name}\b[^`]*`", SWEEP_FILE), (
                f"{part.__name__}.{field.name} is not in docs/sweep-file.md"
            )


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^ +lightbulb (\w+)|`lightbulb (\w+)", README, re.MULTILINE)))
)
def test_its_commands_exist(command: tuple[str, str]) -> None:
    """Each command that the README shows exists."""
    group = typer.main.get_command(app)
    assert "".join(command) in group.commands  # type: ignore[attr-defined]


def test_every_key_of_the_emulator_is_in_the_reference() -> None:
    """docs/emulator.md has each key of emulator = { ... } and of its tables."""
    page = (Path(__file__).parents[1] / "docs" / "emulator.md").read_text("utf-8")
    for part in (Emulation, Quotas, Latency, Faults, Defects):
        for field in dataclasses.fields(part):
            assert re.search(rf"`{field.name}\b", page), (
                f"{part.__name__}.{field.name} is not in docs/emulator.md"
            )
