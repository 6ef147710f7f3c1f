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
    "harness.simulation": ("harness.loop",),  # the same care of memory
    "harness.loop": (),
    "harness.demo": (),
    "harness.spec": ("harness.core",),
    "harness.limits": ("harness.core",),
    "harness.engine": ("harness.core", "harness.limits"),
    "harness.store": ("harness.core",),
    "harness.audit": ("harness.core",),
    "harness.progress": ("harness.core", "harness.engine", "harness.limits"),
    "harness.ways": ("harness.core", "harness.spec", "harness.limits"),
    "harness.ways.access": ("harness.core", "harness.spec", "harness.ways", "backends"),  # a sweep's words and the table of providers
    "harness.ways.servers": ("harness.core", "harness.limits", "harness.spec", "harness.ways", "backends"),
    "harness.ways.budgets": ("harness.spec", "harness.engine"),
    "harness.analysis": ("harness.core", "harness.audit", "harness.store"),
    "harness.analysis.outlook": ("harness.core", "harness.audit", "harness.analysis", "harness.spec", "harness.store"),  # a plan's rows
    "harness.analysis.stopping": ("harness.core", "harness.audit", "harness.spec", "harness.store"),  # a running sweep's
    "harness.analysis.tables": ("harness.core", "harness.audit", "harness.analysis", "harness.spec"),  # one error style for files
    "harness.planning": ("harness.core",),
    "harness.planning.stage": ("harness.core", "harness.engine", "harness.limits", "harness.simulation", "harness.planning", "backends"),
    "harness.planning.casting": ("harness.core", "harness.limits", "harness.spec", "harness.ways", "harness.planning", "backends"),
    "harness.planning.forecast": ("harness.core", "harness.engine", "harness.planning"),
    "harness.planning.answer": ("harness", "games"),  # wires the room, as compose wires a run
    "harness.checking": ("harness.core", "harness.audit.probes", "harness.engine", "harness.limits"),
    "harness.throughput": ("harness.core",),
    "harness.throughput.measure": ("harness", "games"),  # wires the benchmark
    "harness.transfer": ("harness.core",),
    "harness.transfer.into_store": ("harness.core", "harness.spec", "harness.store", "harness.transfer"),  # joins readers and store
    "harness.transfer.out_of_store": ("harness.core", "harness.store", "harness.transfer"),
    "harness.report": ("harness.core", "harness.audit", "harness.analysis"),
    "harness.report.page": ("harness.core", "harness.audit", "harness.analysis", "harness.report", "harness.store"),
    "harness.report.plan": ("harness.core", "harness.report", "harness.planning"),
    "harness.report.plan_figure": ("harness.core", "harness.planning"),
    "harness.report.check": ("harness.core", "harness.audit", "harness.report", "harness.checking"),
    "harness.report.bench": ("harness.core", "harness.report", "harness.throughput"),
    "harness.emulate": ("harness.core", "backends"),  # a server of ours as a process
    "harness.compose": ("harness", "games", "backends"),  # wires everything
    "harness.commands": ("harness", "games", "backends"),
    "harness.cli": ("harness.core", "harness.commands"),
    "harness.__main__": ("harness.cli",),
    "harness.notebook": ("harness", "games"),  # the command's work, from Python
    "harness": ("harness.notebook",),  # when first used
    "games": ("harness.core",),
    "backends": ("harness.core",),
    "backends.bots": ("harness.core", "games"),  # answers from the games' own players
    "bench": ("harness", "games", "backends", "bench"),
}

# The user's packages that only one place may know.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "aiohttp": ("backends.http", "bench"),
    "asyncio": ("backends.http", "backends.patience", "backends.emulator.server", "bench"),
    "asyncio_throttle": ("backends.http",),
    "trio": ("harness.simulation",),
    "tenacity": ("harness.engine.call",),
    "duckdb": ("harness.store", "harness.compose", "bench"),
    "pydantic": ("harness.spec.load", "harness.spec.schema"),
    "altair": ("harness.report", "bench"),
    "numpy": ("harness.audit", "harness.planning.fit", "harness.store.live", "bench"),
    "scipy": ("harness.audit", "harness.planning.fit", "harness.planning.answer", "bench"),
    "jinja2": ("harness.report.page", "backends.chat_templates"),
    "nltk": ("games.taboo",),
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


@pytest.mark.parametrize(("module", "imported"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_follow_the_arrows(module: str, imported: set[str]) -> None:
    """A room knows only the rooms it is allowed to know, and no package that another place keeps to itself."""
    room = room_of(module)
    for name in imported:
        if name.split(".")[0] in TOP:
            allowed = (room, *ARROWS[room])
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
