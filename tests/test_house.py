"""The rules of the source tree that a program can check: maps, sizes, names, docstrings, dependencies."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("harness", "games", "backends")
PYTHON = (*PRODUCT, "bench", "tests", "examples")
TEXTS = ("*.md", "*.toml", "*.html", "*.cff", "Makefile", "*.yaml", "*.yml")

FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60

# A file name stands in two rooms only for one of these reasons.
SHARED_FILE_NAMES = {
    "bots.py": "backends/bots.py answers with the players that games/bots.py completes",
    "completeness.py": "report/ presents what analysis/ computes",
    "characteristics.py": "report/ presents what audit/ computes",
    "drift.py": "report/ presents what audit/replies/ computes",
    "plan.py": "report/ presents the forecast that the command in commands/ asks for",
    "power.py": "report/ presents what planning/ combines from audit/scores/",
    "rows.py": "audit/probes/ reads rows of the table `probes`, transfer/ writes rows of any import",
}

# The first word of a docstring that is no claim.
OPENERS = ("What", "Of", "By", "Where", "Whether", "How", "Who", "Which", "When", "That")

# Packages that another Python imports, in an environment that lightbulb makes for an engine or for games.
IN_ENGINE_ENVIRONMENTS = {"clemcore", "textarena", "torch", "transformers", "vllm", "xllamacpp"}

RETIRED = ROOT / "tests" / "data" / "retired"

# Files that are still too long; this list only shrinks.
TOO_LONG_YET: tuple[str, ...] = ()


def python_files(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_under(path: Path, places: tuple[str, ...]) -> bool:
    return any(path == ROOT / place or (ROOT / place) in path.parents for place in places)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@cache
def retired(kind: str) -> frozenset[str]:
    """Reads a list of names or phrases that have been given up, one a line."""
    lines = (RETIRED / f"{kind}.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def test_every_map_names_all_files_of_its_room() -> None:
    """The docstring of a package names each file and each package in it."""
    missing = []
    for path in python_files(*PRODUCT):
        if path.name == "__init__.py":
            words = set(re.findall(r"\w+", ast.get_docstring(tree_of(path)) or ""))
            for other in sorted(path.parent.iterdir()):
                is_module = other.suffix == ".py" and other.stem not in ("__init__", "__main__")
                if (is_module or (other / "__init__.py").exists()) and other.stem not in words:
                    missing.append(f"{name_of(path)} does not name {other.name}")
    assert not missing


def test_files_and_functions_are_short() -> None:
    """No file of harness/ and backends/ has more than 450 lines, and no function more than 60."""
    long = [
        f"{name_of(path)} has {lines} lines"
        for path in python_files("harness", "backends")
        if (lines := len(path.read_text("utf-8").splitlines())) > FILE_LINES_MAX
        and not is_under(path, TOO_LONG_YET)
    ]
    long += [
        f"{name_of(path)}: {function.name} has {lines} lines"
        for path in python_files(*PRODUCT)
        if not is_under(path, TOO_LONG_YET)
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_no_public_class_name_stands_twice() -> None:
    """A public class has a name of its own in the whole product."""
    places = defaultdict(list)
    for path in python_files(*PRODUCT):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name_of(path))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_no_file_name_stands_twice_without_a_reason() -> None:
    """Two files share a name only where SHARED_FILE_NAMES says why, and each row of it is in use."""
    places = defaultdict(list)
    for path in python_files(*PRODUCT):
        if path.name not in ("__init__.py", "__main__.py"):
            places[path.name].append(name_of(path))
    assert {name for name, where in places.items() if len(where) > 1} == set(SHARED_FILE_NAMES)


def test_docstrings_start_with_a_claim() -> None:
    """No docstring opens with a word that makes it no sentence."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = []
    for path in python_files(*PYTHON):
        for node in ast.walk(tree_of(path)):
            text = ast.get_docstring(node) if isinstance(node, nodes) else None
            if text and text.split(maxsplit=1)[0] in OPENERS:
                found.append(f"{name_of(path)}: {text.splitlines()[0]}")
    assert not found


def test_no_retired_module_is_back() -> None:
    """Neither the tree nor a page has a room or a module by a name that was given up."""
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in retired("modules")))
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in texts()
        for match in pattern.finditer(path.read_text("utf-8").replace("/", "."))
    ]
    assert not found


def test_no_retired_name_is_back() -> None:
    """No Python file uses the name of a class or function that was given up."""
    names = retired("names")
    found = set()
    for path in python_files(*PYTHON):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type == tokenize.NAME and token.string in names:
                found.add(f"{name_of(path)}: {token.string}")
    assert not found


def test_no_retired_phrase_is_back() -> None:
    """No page, message or docstring has a sentence that was given up for a plain one."""
    found = []
    for path in texts():
        text = " ".join(path.read_text("utf-8").split())
        found += [f"{name_of(path)}: {phrase}" for phrase in retired("phrases") if phrase in text]
    assert not found


def texts() -> Iterator[Path]:
    """Yields the files that a person reads, but not the changelog and the log, which quote old words."""
    past = (ROOT / "CHANGELOG.md", ROOT / "bench" / "LOG.md")
    folders = (*PYTHON, "docs", ".github")
    for path in [
        *(path for pattern in TEXTS for path in ROOT.glob(pattern)),
        *(path for top in folders for pattern in ("*.py", *TEXTS) for path in (ROOT / top).rglob(pattern)),
    ]:
        if path not in past:
            yield path


def test_every_import_is_declared() -> None:
    """Each package that the product imports is a dependency of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {
        re.split(r"[^\w.-]", line)[0].lower().replace("_", "-").replace(".", "-")
        for line in project["dependencies"]
    }
    distributions = packages_distributions()
    undeclared = set()
    for path in python_files(*PRODUCT):
        for node in ast.walk(tree_of(path)):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for top in {module.partition(".")[0] for module in modules}:
                if top in sys.stdlib_module_names or top in PRODUCT or top in IN_ENGINE_ENVIRONMENTS:
                    continue
                names = {name.lower().replace("_", "-") for name in distributions.get(top, [top])}
                if not names & declared:
                    undeclared.add(f"{name_of(path)}: {top}")
    assert not undeclared


def test_the_exceptions_are_in_use() -> None:
    """Each file on the list is there."""
    assert all((ROOT / place).exists() for place in TOO_LONG_YET)
