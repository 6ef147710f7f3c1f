"""Mutation testing: makes small changes to the code of a room and counts how many its tests notice.

    python -m bench.mutation limits --mutants 60 --seed 1

A mutant is one change in one place: a comparison, a boolean, a constant, an arithmetic operator, a negation
or a returned value. The bench draws a seeded sample of all mutants of a room, runs the tests of that room
against each one, and prints those that survive. bench/mutation_survivors.toml lists known survivors, each
with the reason why no test notices it. A reason that begins with "Equivalent:" says that no behaviour
differs. The mutation score leaves such mutants out: killed / (all - equivalent) (Jia & Harman, An Analysis
and Survey of the Development of Mutation Testing, IEEE TSE 37, 2011). A survivor that is not listed, or a
score below 90 %, is exit code 1.

No file is changed. Each mutant lives in forked processes in which one module is compiled from the changed
syntax tree; so tests that start Python anew do not see it. The test file that mirrors the changed file runs
first, then the files that import the changed module, then the others of the room, each group only if the
mutant survived those before. A group may take ten times as long as on the unchanged code, and 20 seconds
more. A mutant that is not done by then counts as killed, by its time-out; the output says so. Time in which
this process itself was stopped does not count."""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import CodeType

ROOT = Path(__file__).parents[1]
SURVIVORS = ROOT / "bench" / "mutation_survivors.toml"
ROOMS = {  # the files that are changed, and the folder of their tests
    "limits": ("harness/limits/*.py", "tests/harness/limits"),
    "scheduler": ("harness/scheduler/*.py", "tests/harness/scheduler"),
    "access": ("harness/access/*.py", "tests/harness/access"),
    "audit": ("harness/audit/**/*.py", "tests/harness/audit"),
    "report": ("harness/report/plain*.py", "tests/harness/report"),
}
TIME_FACTOR = (
    10.0  # of the time of the unchanged code: other jobs may slow a run, a loop without end exceeds it
)
TIME_ADDED_S = 20.0
POLL_S = 0.05
STEP_MAX_S = 1.0  # a longer step between two polls is a pause of this process, and of its children
SCORE_MIN = 0.9
EQUIVALENT = "Equivalent:"  # how the reason of a survivor begins that differs in no behaviour
PRELOADED = (
    "pytest",
    "hypothesis",
    "anyio",
    "trio",
    "pydantic",
    "orjson",
    "tenacity",
    "numpy",
)  # none of them is ours

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one node of a file's syntax tree.

    node   the number of the node in the order of ast.walk"""

    path: str
    function: str
    line: int
    node: int
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Identifies the change while lines move."""
        return (self.path, self.function, self.before, self.after)

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}: {self.before}  ->  {self.after}"


def changed(node: ast.AST) -> ast.AST | None:
    """Returns the node with its change, or None where there is none for it."""
    match node:
        case ast.Compare(ops=[operator], left=left, comparators=comparators):
            return ast.Compare(left=left, ops=[COMPARISONS[type(operator)]()], comparators=comparators)
        case ast.BoolOp(op=ast.And(), values=values):
            return ast.BoolOp(op=ast.Or(), values=values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return ast.BoolOp(op=ast.And(), values=values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in ARITHMETIC:
            return ast.BinOp(left=left, op=ARITHMETIC[type(operator)](), right=right)
        case ast.AugAssign(target=target, op=operator, value=value) if type(operator) in ARITHMETIC:
            return ast.AugAssign(target=target, op=ARITHMETIC[type(operator)](), value=value)
        case ast.Constant(value=bool() as value):
            return ast.Constant(value=not value)
        case ast.Constant(value=int() | float() as value):
            return ast.Constant(value=value + 1)
        case ast.Return(value=ast.expr() as value) if not (
            isinstance(value, ast.Constant) and value.value is None
        ):
            return ast.Return(value=ast.Constant(value=None))
    return None


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yields every mutant of a file.

    Annotations and decorators have none, because no call evaluates them; nor have the named constants of a
    module: each is a choice, and a test that pins it would only repeat it."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = _functions(tree)
    skipped = {id(node) for ignored in _ignored(tree) for node in ast.walk(ignored)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in skipped or (new := changed(node)) is None:
            continue
        assert isinstance(node, ast.expr | ast.stmt)
        yield Mutant(
            path=path.relative_to(ROOT).as_posix(),
            function=functions.get(id(node), "module"),
            line=node.lineno,
            node=number,
            before=ast.unparse(node),
            after=ast.unparse(new),
        )


def _functions(tree: ast.Module) -> dict[int, str]:
    """Maps each node to the qualified name of the class or function around it."""
    names: dict[int, str] = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
            names[id(child)] = inner or "module"
            visit(child, inner)

    visit(tree, "")
    return names


def _ignored(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = [*node.decorator_list, node.returns]
        elif isinstance(node, ast.ClassDef):
            parts = [*node.decorator_list]
        elif isinstance(node, ast.AnnAssign | ast.arg):
            parts = [node.annotation]
        elif isinstance(node, ast.Module):
            parts = [statement.value for statement in node.body if isinstance(statement, ast.Assign)]
        yield from (part for part in parts if part is not None)


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from the changed syntax tree instead of its file."""

    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(Path(self.path).read_text("utf-8"))
        old = next(node for number, node in enumerate(ast.walk(tree)) if number == self._mutant.node)
        new = changed(copy.deepcopy(old))
        assert new is not None
        module = ast.fix_missing_locations(_Replacer(old, new).visit(tree))
        assert isinstance(module, ast.Module)
        code: CodeType = compile(module, self.path, "exec", dont_inherit=True)
        return code


class _Replacer(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._old:
            return ast.copy_location(self._new, node)
        changed_node: ast.AST = self.generic_visit(node)
        return changed_node


class MutantFinder:
    """Finds the one changed module; leaves all others to Python."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.module
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        loader = MutantLoader(name, str(ROOT / self._mutant.path), self._mutant)
        return importlib.util.spec_from_file_location(name, str(ROOT / self._mutant.path), loader=loader)


def start(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """Forks a process that runs test files against the mutant, and returns its id. Its exit code is 0 if all
    pass.

    mutant  None: the code as it is"""
    child = os.fork()
    if child:
        return child
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if mutant is not None:
        sys.meta_path.insert(0, MutantFinder(mutant))
    code = 1
    try:
        pytest = importlib.import_module("pytest")
        # Plugins that are loaded before pytest starts cannot be rewritten; their assertions are not at stake.
        options = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
        code = int(pytest.main([*options, *tests]))
    finally:
        os._exit(code)


def time_of_tests(folder: str) -> dict[str, float]:
    """Runs each test file of a folder against the unchanged code and returns its time in seconds. Ends the
    process if one fails."""
    times: dict[str, float] = {}
    for file in sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("test_*.py")):
        began = time.monotonic()
        _, status = os.waitpid(start(None, [file]), 0)
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"{file} fails on the code as it is: mend that first")
        times[file] = time.monotonic() - began
    return times


def tests_for(files: Iterable[str], mutant: Mutant) -> list[list[str]]:
    """Returns the test files in groups, without empty ones: the file that mirrors the mutant's file, those
    that import the mutant's module, the others."""
    groups: tuple[list[str], list[str], list[str]] = ([], [], [])
    for file in files:
        if Path(file).name == f"test_{Path(mutant.path).name}":
            groups[0].append(file)
        else:
            groups[1 if mutant.module in _imported_by(file) else 2].append(file)
    return [group for group in groups if group]


@cache
def _imported_by(file: str) -> frozenset[str]:
    """Returns the names of the modules that a file imports. `from a import b` counts as `a` and as `a.b`,
    because b may be a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(names)


@dataclass(slots=True, kw_only=True)
class _Trial:
    """A mutant whose tests are running.

    time_left_s  of the group that runs
    groups       of tests that it still has to survive"""

    mutant: Mutant
    began_s: float
    time_left_s: float
    groups: list[list[str]]


def run_all(mutants: Sequence[Mutant], times_s: Mapping[str, float], *, jobs: int) -> list[Mutant]:
    """Runs the tests against each mutant and returns the survivors.

    times_s  the test files, each with its time on the unchanged code
    jobs     mutants at a time"""
    waiting, running, survivors = list(reversed(mutants)), dict[int, _Trial](), []
    step_s = 0.0

    def start_next_group(trial: _Trial) -> None:
        tests = trial.groups.pop(0)
        trial.time_left_s = TIME_ADDED_S + TIME_FACTOR * sum(times_s[file] for file in tests)
        running[start(trial.mutant, tests)] = trial

    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            groups = tests_for(times_s, mutant)
            start_next_group(_Trial(mutant=mutant, began_s=time.monotonic(), time_left_s=0.0, groups=groups))
        for child, trial in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            trial.time_left_s -= step_s
            late = not done and trial.time_left_s < 0
            if late:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
            if not (done or late):
                continue
            del running[child]
            passed = bool(done) and os.waitstatus_to_exitcode(status) == 0
            if passed and trial.groups:
                start_next_group(trial)
                continue
            if passed:
                survivors.append(trial.mutant)
            how = "SURVIVED" if passed else "killed" if done else "killed (time-out)"
            print(f"{how:18s}{time.monotonic() - trial.began_s:6.1f} s  {trial.mutant}", flush=True)
        polled_s = time.monotonic()
        time.sleep(POLL_S)
        step_s = min(time.monotonic() - polled_s, STEP_MAX_S)
    return survivors


def known_survivors() -> dict[tuple[str, str, str, str], str]:
    """Reads the known survivors: the key of each with its reason."""
    listed = tomllib.loads(SURVIVORS.read_text("utf-8"))["survivor"] if SURVIVORS.exists() else []
    return {(row["path"], row["function"], row["before"], row["after"]): row["reason"] for row in listed}


def main() -> None:
    arguments = argparse.ArgumentParser(description="Counts how many small changes a room's tests notice.")
    arguments.add_argument("room", choices=ROOMS)
    arguments.add_argument("--mutants", type=int, default=60, help="the size of the sample")
    arguments.add_argument("--seed", type=int, default=1, help="of the sample")
    arguments.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    options = arguments.parse_args()
    for name in PRELOADED:
        importlib.import_module(name)
    code, tests = ROOMS[options.room]
    everything = [mutant for path in sorted(ROOT.glob(code)) for mutant in mutants_of(path)]
    sample = Random(options.seed).sample(everything, min(options.mutants, len(everything)))

    times_s = time_of_tests(tests)
    whole_s = sum(times_s.values())
    print(
        f"{options.room}: {len(sample)} of {len(everything)} mutants; the tests take {whole_s:.1f} s",
        flush=True,
    )

    survivors = run_all(sample, times_s, jobs=options.jobs)
    reasons = [known_survivors().get(mutant.key, "NOT LISTED") for mutant in survivors]
    equivalent = sum(reason.startswith(EQUIVALENT) for reason in reasons)
    killed = len(sample) - len(survivors)
    score = killed / (len(sample) - equivalent)
    print(
        f"{options.room}: {killed} of {len(sample)} mutants killed ({killed / len(sample):.1%});"
        f" mutation score {score:.1%}, {equivalent} equivalent ones left out"
    )
    for mutant, reason in zip(survivors, reasons, strict=True):
        print(f"  {mutant}\n    {reason}")
    sys.exit("NOT LISTED" in reasons or score < SCORE_MIN)


if __name__ == "__main__":
    main()
