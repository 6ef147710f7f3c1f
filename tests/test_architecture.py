"""The arrows between rooms, and that our import names resolve into this checkout."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("harness", "games", "backends", "bench")

# The rooms that a room may import, beside itself. docs/architecture.md shows this table.
ROOMS: dict[str, tuple[str, ...]] = {
    "harness.core": (),
    "games": ("harness.core",),
    "backends": ("harness.core",),
    "harness.simulation": ("harness.core",),
    "harness.config": ("harness.core",),
    "harness.limits": ("harness.core",),
    "harness.store": ("harness.core",),
    "harness.audit": ("harness.core",),
    "harness.loadtest": ("harness.core",),
    "harness.transfer": ("harness.core",),
    "harness.scheduler": ("harness.core", "harness.limits"),
    "harness.analysis": ("harness.core", "harness.audit", "harness.store"),
    "harness.planning": ("harness.core", "harness.scheduler"),
    "harness.progress": ("harness.core", "harness.limits", "harness.scheduler"),
    "harness.checking": ("harness.core", "harness.limits", "harness.scheduler", "harness.audit.probes"),
    "harness.watching": ("harness.core",),
    "harness.report": ("harness.core", "harness.audit", "harness.analysis"),
    "harness.foreign_games": ("harness.core", "backends"),
    "harness.access": ("harness.core", "harness.config", "harness.limits", "harness.scheduler", "backends"),
    "harness.view": ("harness.core", "harness.analysis", "harness.audit", "harness.report", "harness.store"),
    "harness.running": ("harness", "games", "backends"),
    "harness.cluster": (
        *("harness.core", "harness.config", "harness.limits", "harness.scheduler", "harness.progress"),
        *("harness.access", "harness.store", "harness.foreign_games", "games", "backends"),
    ),
    "harness.rescoring": ("harness.core", "harness.audit", "harness.store"),
    "harness.commands": ("harness", "games", "backends"),
    "bench": ("harness", "games", "backends"),
}

# Files that import by a rule of their own, each with its reason.
FILES: dict[str, tuple[tuple[str, ...], str]] = {
    "backends.bots": (("harness.core", "games", "backends"), "its replies come from the games' own players"),
    "harness": (("harness.api",), "its names are imported when they are first used"),
    "harness.__main__": (("harness.cli", "harness.core.startup"), "starts the command"),
    "harness.cli": (("harness.core", "harness.commands"), "lists the commands"),
    "harness.api": (("harness", "games"), "the verbs from Python"),
    "harness.access.context": (("harness.config", "harness.progress"), "says where progress is shown"),
    "harness.access.game_sets": (
        ("harness.core", "harness.config", "harness.foreign_games", "games", "backends.bots"),
        "reads the instances of games, for bots too",
    ),
    "harness.analysis.csv_tables": (
        ("harness.core", "harness.audit", "harness.config"),
        "reports errors of files as the sweep file's reader does",
    ),
    "harness.checking.check_sweep": (("harness", "games", "backends"), "wires the room"),
    "harness.watching.watch_sweep": (("harness", "backends"), "wires the room"),
    "harness.checking.own_tokenizer": (
        ("harness.core", "harness.audit.probes", "harness.config", "backends"),
        "counts tokens with the tokenizers of engines and of the emulator",
    ),
    "harness.loadtest.loadtest_sweep": (("harness", "games"), "wires the room"),
    "harness.loadtest.dry_run": (("harness",), "says what the room would do with a sweep"),
    "harness.loadtest.stored_runs": (("harness.core", "harness.store"), "reads load tests from stores"),
    "harness.loadtest.run_facts": (("harness",), "describes connected methods and their sweep"),
    "harness.loadtest.game_traffic": (
        ("harness.core", "harness.config", "games"),
        "makes prompts and sessions of games",
    ),
    "harness.rescoring.rescore_store": (("harness", "games", "backends"), "wires the room"),
    "harness.planning.plan_sweep": (("harness", "games"), "wires the room"),
    "harness.planning.calibrate": (("harness",), "plays a trial of the sweep"),
    "harness.planning.power": (
        (
            *("harness.core", "harness.access", "harness.audit"),
            *("harness.analysis", "harness.config", "harness.store"),
        ),
        "computes the power of a sweep from a pilot in a store",
    ),
    "harness.planning.measurements": (
        ("harness.core", "harness.audit", "harness.store"),
        "reads what stores and trials measured",
    ),
    "harness.planning.library_notes": (
        ("harness.core", "harness.foreign_games"),
        "tells what a plan cannot know of games of other libraries",
    ),
    "harness.planning.provider_model": (
        ("harness.core", "harness.limits", "harness.config", "harness.access", "backends"),
        "makes simulated providers from the settings of real ones",
    ),
    "harness.planning.workload": (
        ("harness.core", "harness.config", "harness.access", "harness.store", "games"),
        "joins a sweep's episodes to the lengths of bots' and stores' plays",
    ),
    "harness.planning.simulate": (
        ("harness.core", "harness.limits", "harness.scheduler", "harness.simulation", "backends"),
        "plays on virtual time against simulated providers",
    ),
    "harness.report.check": (("harness.core", "harness.audit", "harness.checking"), "presents a check"),
    "harness.report.games": (("harness.core", "harness.foreign_games"), "lists games of other libraries"),
    "harness.report.loadtest": (("harness.core", "harness.loadtest"), "presents a load test"),
    "harness.report.loadtest_csv": (("harness.core", "harness.loadtest"), "presents a load test"),
    "harness.report.loadtest_comparison": (("harness.core", "harness.loadtest"), "presents load tests"),
    "harness.report.plan": (("harness.core", "harness.planning"), "presents a forecast"),
    "harness.report.plan_chart": (("harness.core", "harness.planning"), "draws a forecast"),
    "harness.report.power": (
        ("harness.core", "harness.audit", "harness.planning"),
        "presents the power of a sweep",
    ),
    "harness.report.run_end": (
        ("harness.core", "harness.store"),
        "presents what the store holds after a run",
    ),
    "harness.running.early_stopping": (
        ("harness.core", "harness.audit", "harness.config", "harness.store"),
        "runs interim analyses, and wires nothing",
    ),
    "harness.transfer.into_store": (
        ("harness.core", "harness.config", "harness.store"),
        "joins the readers of files with the store",
    ),
    "harness.transfer.out_of_store": (("harness.core", "harness.store"), "reads a store"),
}

ARROWS = ROOMS | {name: allowed for name, (allowed, _) in FILES.items()}

# The packages of others that only these places may import.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "aiohttp": ("backends.connections", "harness.view.live_server", "bench"),
    "asyncio": ("backends.connections", "backends.deadlines", "backends.emulator.server", "bench"),
    "asyncio_throttle": ("backends.connections",),
    "ray": ("harness.cluster.ray_workers",),
    "trio": ("harness.simulation",),
    "tenacity": ("harness.scheduler.call",),
    "duckdb": ("harness.store", "harness.running", "bench"),
    "pydantic": (
        "harness.config.load",
        "harness.config.json_schema",
        "harness.watching.panel",
        "bench.sdk_judges",
    ),  # the SDKs bring models of it
    "altair": ("harness.report", "bench"),
    "clemcore": ("harness.foreign_games.clem_child", "bench.clem_own_loop"),
    "textarena": ("harness.foreign_games.textarena_child", "bench.textarena_table"),
    "numpy": (
        "harness.foreign_games.clem_child",
        "harness.audit",
        "harness.planning.latency_fit",
        "harness.store.query_server",
        "bench",
    ),
    "scipy": (
        "harness.loadtest.levels",
        "harness.loadtest.run_comparison",
        "harness.audit",
        "harness.planning.latency_fit",
        "harness.planning.plan_sweep",
        "bench",
    ),
    "jinja2": ("harness.report.page", "backends.dialects.chat_templates"),
    "nltk": ("games.stemmer", "harness.foreign_games.clem_child"),
}


def modules() -> Iterator[tuple[str, set[str]]]:
    """Yields every module of ours with the names that it imports."""
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
    """Returns the room in which a file of FILES stands; a top folder is no room."""
    parts = room.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 else room


@pytest.mark.parametrize(
    ("module", "imported"), list(modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_follow_the_arrows(module: str, imported: set[str]) -> None:
    """A file imports only the rooms that its row allows, and no package that belongs to another place."""
    room = room_of(module)
    for name in imported:
        if name.split(".")[0] in TOP:
            allowed = (room, package_of(room), *ARROWS[room])
            assert any(inside(name, other) for other in allowed), f"{module} may not import {name}"
        for package, places in ONLY_IN.items():
            if inside(name, package):
                assert any(inside(module, place) for place in places), f"{module} may not import {name}"


def test_every_row_names_what_is_there() -> None:
    """Each row of ROOMS and FILES is a room or a file."""
    names = {module for module, _ in modules()}
    assert set(ARROWS) <= names


def test_rooms_have_no_circle() -> None:
    """The rooms can be put in an order in which each imports only earlier ones."""
    below = {
        room: {other for other in ROOMS for name in allowed if inside(other, name) or inside(name, other)}
        - {room}
        for room, allowed in ROOMS.items()
        if "harness" not in allowed
    }
    assert list(TopologicalSorter(below).static_order())


def test_the_documentation_shows_the_rooms() -> None:
    """The table in docs/architecture.md has the rooms and arrows of ROOMS."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    section = page.partition("## The arrows")[2].partition("## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|", section, re.MULTILINE)
    table = {room: tuple(re.findall(r"`([\w.]+)`", allowed)) for room, allowed in rows}
    assert table == ROOMS


@pytest.mark.parametrize("name", ["harness", "games", "backends"])
def test_names_resolve_into_this_checkout(name: str) -> None:
    """The import names are the folders of this checkout, not another package with the same name."""
    path = importlib.import_module(name).__file__
    assert path is not None
    assert Path(path).resolve().is_relative_to(ROOT)
