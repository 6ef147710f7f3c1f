"""The arrows between rooms, and that our import names resolve into this checkout."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("harness", "games", "backends", "bench")

# Who may import whom; a room may always import itself. Files named in full are exceptions, each with its reason.
ARROWS: dict[str, tuple[str, ...]] = {
    "harness.core": (),
    "harness.simulation": ("harness.core",),
    "harness.config": ("harness.core",),
    "harness.limits": ("harness.core",),
    "harness.scheduler": ("harness.core", "harness.limits"),
    "harness.store": ("harness.core",),
    "harness.audit": ("harness.core",),
    "harness.progress": ("harness.core", "harness.scheduler", "harness.limits"),
    "harness.access": ("harness.core", "harness.config", "harness.limits", "harness.scheduler", "backends"),
    "harness.access.game_sets": ("harness.core", "harness.config", "games", "backends.bots"),
    "harness.access.context": ("harness.config", "harness.progress"),
    "harness.analysis": ("harness.core", "harness.audit", "harness.store"),
    "harness.analysis.csv_tables": (
        "harness.core",
        "harness.audit",
        "harness.config",
    ),  # one error style for files
    "harness.planning": ("harness.core", "harness.limits", "harness.scheduler"),
    "harness.planning.simulate": (
        "harness.core",
        "harness.scheduler",
        "harness.limits",
        "harness.simulation",
        "backends",
    ),
    "harness.planning.provider_model": (
        "harness.core",
        "harness.limits",
        "harness.config",
        "harness.access",
        "backends",
    ),
    "harness.planning.power": (
        "harness.core",
        "harness.audit",
        "harness.analysis",
        "harness.config",
        "harness.store",
    ),
    "harness.planning.plan_sweep": ("harness", "games"),  # wires the room
    "harness.checking": ("harness.core", "harness.audit.probes", "harness.scheduler", "harness.limits"),
    "harness.checking.check_sweep": ("harness", "games", "backends"),  # wires the room
    "harness.loadtest": ("harness.core",),
    "harness.loadtest.loadtest_sweep": ("harness", "games"),  # wires the room
    "harness.running": ("harness", "games", "backends"),
    "harness.running.early_stopping": ("harness.core", "harness.audit", "harness.config", "harness.store"),
    "harness.transfer": ("harness.core",),
    "harness.transfer.into_store": (
        "harness.core",
        "harness.config",
        "harness.store",
    ),  # joins readers and store
    "harness.transfer.out_of_store": ("harness.core", "harness.store"),
    "harness.report": ("harness.core", "harness.audit", "harness.analysis"),
    "harness.report.page": ("harness.core", "harness.audit", "harness.analysis", "harness.store"),
    "harness.report.plan": ("harness.core", "harness.planning"),
    "harness.report.plan_chart": ("harness.core", "harness.planning"),
    "harness.report.power": ("harness.core", "harness.planning"),
    "harness.report.check": ("harness.core", "harness.audit", "harness.checking"),
    "harness.report.loadtest": ("harness.core", "harness.loadtest"),
    "harness.commands": ("harness", "games", "backends"),
    "harness.cli": ("harness.core", "harness.commands"),
    "harness.__main__": ("harness.cli",),
    "harness.api": ("harness", "games"),  # the command's work, from Python
    "harness": ("harness.api",),  # when first used
    "games": ("harness.core",),
    "backends": ("harness.core",),
    "backends.bots": ("harness.core", "games"),  # answers from the games' own players
    "bench": ("harness", "games", "backends", "bench"),
}

# The user's packages that only one place may know.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "aiohttp": ("backends.http", "bench"),
    "asyncio": ("backends.http", "backends.deadlines", "backends.emulator.server", "bench"),
    "asyncio_throttle": ("backends.http",),
    "trio": ("harness.simulation",),
    "tenacity": ("harness.scheduler.call",),
    "duckdb": ("harness.store", "harness.running", "bench"),
    "pydantic": ("harness.config.load", "harness.config.json_schema"),
    "altair": ("harness.report", "bench"),
    "numpy": ("harness.audit", "harness.planning.latency_fit", "harness.store.query_server", "bench"),
    "scipy": ("harness.audit", "harness.planning.latency_fit", "harness.planning.plan_sweep", "bench"),
    "jinja2": ("harness.report.page", "backends.dialects.chat_templates"),
    "nltk": ("games.stemmer",),
}


def modules() -> Iterator[tuple[str, set[str]]]:
    """Every module of ours and the names it imports."""
    for top in TOP:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            imported = set()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{name}: imports are absolute"
                    imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            yield name, imported


def inside(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(module: str) -> str:
    return max((room for room in ARROWS if inside(module, room)), key=len)


def package_of(room: str) -> str:
    """The room that a file named in full stands in; a top folder or the program's root is no room."""
    parts = room.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 else room


@pytest.mark.parametrize(
    ("module", "imported"), list(modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_follow_the_arrows(module: str, imported: set[str]) -> None:
    """A room knows only the rooms it is allowed to know, and no package that another place keeps to itself."""
    room = room_of(module)
    for name in imported:
        if name.split(".")[0] in TOP:
            allowed = (room, package_of(room), *ARROWS[room])
            assert any(inside(name, other) for other in allowed), f"{module} may not import {name}"
        for package, places in ONLY_IN.items():
            if inside(name, package):
                assert any(inside(module, place) for place in places), f"{module} may not import {name}"


@pytest.mark.parametrize("name", ["harness", "games", "backends"])
def test_names_resolve_into_this_checkout(name: str) -> None:
    """Generic import names could be somebody else's package."""
    found = importlib.import_module(name).__file__
    assert found is not None
    assert Path(found).resolve().is_relative_to(ROOT)
