"""Environments for local engines: what an engine is, whether this machine can run it, and how it is installed.

Knows folders and pip; which engines there are stands in engine_kinds.py. An engine lives in an environment of its own, made by the Python
that runs us: its pins never meet ours.
Keeps: an environment is used only after it was complete and its engine could be imported; two processes never build one at once; nothing
is downloaded for a machine that could not run it.
Does not promise: to remove old environments."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import EngineError
from harness.core.vocabulary import digest

Notify = Callable[[str], None]
"""Takes one line of progress, for a person."""

COMPLETE = "complete.json"  # written last: a folder without it is a ruin
LOG = "install.log"
PROGRESS_LINE = re.compile(r"(?:Downloading|Processing) .*?([^/ ]+)\.whl.*?(\(\d[\d.]* [GM]B\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One server that a sweep wants.

    kind          a name in engine_kinds.ENGINES
    weights       a model folder, a GGUF file, or "bundled:" and a name in weights.BUNDLED
    served_name   the model name that requests carry, where the engine lets us choose
    dtype         "bfloat16", "float16", "float32"; "auto": as the weights are
    quantisation  as the engine spells it; None: as the weights are
    context_max   tokens, prompt and reply together
    cache_gib     memory for attention keys and values, where there is no GPU
    compiled      compile the model at start: minutes, paid back only by long runs; off is `--enforce-eager`
    flags         appended to the command, as they are"""

    kind: str
    weights: str
    served_name: str
    dtype: str = "auto"
    quantisation: str | None = None
    context_max: int = 4096
    cache_gib: int = 2
    compiled: bool = False
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a command line is made of, once everything is known.

    weights   the folder or file
    seqs_max  replies in the making at once"""

    python: Path
    spec: EngineSpec
    weights: Path
    seqs_max: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One thing that a server must say of itself before it is believed.

    word      what it is, for an error: "the model"
    path      where it is asked
    body      sent there as JSON; None: only asked
    keys      where the answer, in JSON, says it
    expected  (how it was started, version of the engine) -> what must stand there"""

    claim: str
    path: str
    keys: tuple[str | int, ...]
    expected: Callable[[Launch, str], str]
    body: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """One sort of engine, as data.

    packages          what is installed, pinned
    unwanted          what is removed again: packages that come along and break it
    modules           imported to see that the installation works, and to compile what every server imports; the first has `__version__`
    python            the oldest and newest version that it is installed with
    machines          processor names as platform.machine() has them
    glibc             the oldest, as (major, minor)
    disk_gb           free space that an installation wants
    memory_gb         memory that one small server wants
    index_note        where a pip that finds no such package should look, one sentence
    grace_s           between asking a server to end and killing it
    command, environ  how a server is started
    served_name       what requests must call the model
    proofs            what a server must say before it is believed
    distribution      the package whose version an environment is asked for at every start; None: the server states it itself
    formats           the weights it serves, the one it prefers first
    dtypes            those it can be asked for
    quantisations     those it can be asked for; None: it knows best
    constrains        whether it can hold a reply to a form
    seqs_max          replies in the making at once; more requests wait in the server
    load_path         where it tells how many it works on and how many wait; None: nowhere"""

    name: str
    packages: tuple[str, ...]
    unwanted: tuple[str, ...]
    modules: tuple[str, ...]
    python: tuple[tuple[int, int], tuple[int, int]]
    machines: tuple[str, ...]
    glibc: tuple[int, int]
    disk_gb: float
    memory_gb: float
    index_note: str
    grace_s: float
    command: Callable[[Launch], tuple[str, ...]]
    environ: Callable[[Launch], dict[str, str]]
    served_name: Callable[[Launch], str] = lambda launch: launch.spec.served_name
    proofs: tuple[Proof, ...]
    distribution: str | None = None
    formats: tuple[Literal["folder", "gguf"], ...] = ("folder",)
    dtypes: tuple[str, ...] = ("auto", "bfloat16", "float16", "float32")
    quantisations: tuple[str, ...] | None = ()
    constrains: bool = False
    seqs_max: int = 1
    load_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that can be started.

    version  of the engine itself, as its module states it"""

    kind: EngineKind
    python: Path
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One environment in the cache; `packages` are those asked for, its `freeze.txt` lists them all."""

    kind: str
    version: str
    python_version: str
    packages: tuple[str, ...]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts that decide whether an engine can be installed; sizes in 10⁹ bytes.

    glibc  None where the C library is another"""

    system: str
    processor: str
    glibc: tuple[int, int] | None
    python: tuple[int, int]
    disk_free_gb: float
    memory_gb: float
    gpu: bool


def cache_folder() -> Path:
    """$LIGHTBULB_CACHE, else lightbulb's folder in the user's cache; it need not exist."""
    if ours := os.environ.get("LIGHTBULB_CACHE"):
        return Path(ours).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "lightbulb"


def this_machine() -> Machine:
    """The machine we run on; disk is that of the cache folder."""
    there = cache_folder()
    while not there.exists():
        there = there.parent
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = Path("/sys/fs/cgroup/memory.max")  # a container's share
    if allowed.is_file() and (text := allowed.read_text(encoding="ascii").strip()).isdigit():
        memory = min(memory, int(text))
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        glibc=glibc_version(),
        python=sys.version_info[:2],
        disk_free_gb=shutil.disk_usage(there).free / 1e9,
        memory_gb=memory / 1e9,
        gpu=Path("/dev/nvidia0").exists(),
    )


def glibc_version() -> tuple[int, int] | None:
    try:
        ask = ctypes.CDLL(None).gnu_get_libc_version
    except AttributeError:
        return None
    ask.restype = ctypes.c_char_p
    major, minor = ask().decode().split(".")[:2]
    return int(major), int(minor)


def check_platform(kind: EngineKind, machine: Machine) -> None:
    """Raises EngineError, one sentence, where the engine could not be installed; says nothing where it can."""
    oldest, newest = kind.python
    if machine.system != "Linux":
        fault = f"it needs Linux and this is {machine.system or 'another system'}"
    elif machine.processor not in kind.machines:
        fault = f"it needs a processor of the sort {' or '.join(kind.machines)} and this is {machine.processor or 'unknown'}"
    elif machine.glibc is None:
        fault = f"it needs a Linux with glibc {kind.glibc[0]}.{kind.glibc[1]} or later and this one has another C library"
    elif machine.glibc < kind.glibc:
        fault = f"it needs glibc {kind.glibc[0]}.{kind.glibc[1]} or later and this machine has {machine.glibc[0]}.{machine.glibc[1]}"
    elif not oldest <= machine.python <= newest:
        fault = (
            f"it needs Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]} "
            f"and we run under {machine.python[0]}.{machine.python[1]}"
        )
    elif machine.memory_gb < kind.memory_gb:
        fault = f"it needs {kind.memory_gb:.0f} GB of memory and this machine has {machine.memory_gb:.1f}"
    else:
        return
    raise EngineError(f"The engine {kind.name} cannot be installed here: {fault}.")


def check_spec(kind: EngineKind, spec: EngineSpec) -> None:
    """Raises EngineError, one sentence, where the engine cannot serve as the sweep asks."""
    if spec.dtype not in kind.dtypes:
        raise EngineError(
            f"The engine {kind.name} cannot serve dtype {spec.dtype!r}; it takes {', '.join(kind.dtypes)}."
        )
    if (
        spec.quantisation is not None
        and kind.quantisations is not None
        and spec.quantisation not in kind.quantisations
    ):
        known = (
            f"it takes {', '.join(kind.quantisations)}"
            if kind.quantisations
            else "its weights come as they are in their file"
        )
        raise EngineError(f"The engine {kind.name} has no quantisation {spec.quantisation!r}; {known}.")


def check_disk(kind: EngineKind, machine: Machine) -> None:
    """Raises EngineError, one sentence, where an installation would not fit."""
    if machine.disk_free_gb < kind.disk_gb:
        raise EngineError(
            f"The engine {kind.name} cannot be installed here: it needs {kind.disk_gb:.0f} GB of free disk and {cache_folder()} "
            f"has {machine.disk_free_gb:.1f}; LIGHTBULB_CACHE can name another folder."
        )


def engine_folder(kind: EngineKind) -> Path:
    """Where its environment is, or would be: what it consists of names it."""
    place = (platform.python_version(), platform.system(), platform.machine())
    name = digest(kind.name, *kind.packages, "without", *kind.unwanted, *place, bytes_of_digest=6)
    return cache_folder() / "engines" / f"{kind.name}-{name}"


def find(kind: EngineKind) -> Engine | None:
    """The engine, if it is installed: in its own environment, or in another's that holds all its packages in these versions."""
    folder = engine_folder(kind)
    if (entry := read_entry(folder)) is not None:
        return Engine(kind=kind, python=folder / "bin" / "python", version=entry.version)
    if kind.distribution is None:
        return None
    for other in installed():
        held = frozen_packages(other.folder)
        if other.python_version == platform.python_version() and held.issuperset(kind.packages):
            version = next(
                package for package in held if package.startswith(f"{kind.distribution}==")
            ).partition("==")[2]
            return Engine(kind=kind, python=other.folder / "bin" / "python", version=version)
    return None


def frozen_packages(folder: Path) -> set[str]:
    """All packages of a complete environment, as `name==version`."""
    return set((folder / "freeze.txt").read_text(encoding="utf-8").split("\n"))


def installed() -> tuple[Installed, ...]:
    """Every complete environment in the cache, those of other versions of us included."""
    folders = sorted((cache_folder() / "engines").glob("*/"))
    return tuple(entry for folder in folders if (entry := read_entry(folder)) is not None)


def read_entry(folder: Path) -> Installed | None:
    try:
        told = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Installed(
        kind=told["kind"],
        version=told["version"],
        python_version=told["python"],
        packages=tuple(told["packages"]),
        folder=folder,
    )


def install(kind: EngineKind, notify: Notify) -> Engine:
    """The engine, installed unless it is already.

    Minutes and gigabytes the first time. pip reads the user's own configuration.
    raises  EngineError: the platform will not do, or pip failed (with its last lines and where its log is)"""
    if (engine := find(kind)) is not None:
        return engine
    check_platform(kind, this_machine())
    folder = engine_folder(kind)
    with exclusive_lock(folder, notify) as lock:
        if (engine := find(kind)) is not None:
            return engine
        # In place: an environment's scripts hold its path, so it cannot be built elsewhere and moved.
        shutil.rmtree(folder, ignore_errors=True)
        check_disk(kind, this_machine())
        folder.mkdir(parents=True)
        notify(f"{kind.name}: installing {', '.join(kind.packages)} into {folder}")
        build(kind, folder, lock, notify)
    engine = find(kind)
    assert engine is not None
    return engine


@contextmanager
def exclusive_lock(folder: Path, notify: Notify) -> Iterator[int]:
    """No other process is at this folder; the lock dies with the last process that holds its descriptor."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notify(f"another process is making {folder}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def build(kind: EngineKind, folder: Path, lock: int, notify: Notify) -> None:
    python = str(folder / "bin" / "python")

    def step(*command: str) -> list[str]:
        return run_logged(command, kind, folder / LOG, lock, notify)

    step(sys.executable, "-m", "venv", str(folder))
    # Not compiled to bytecode here, which takes 100 s: most of what comes along is never imported.
    step(python, "-m", "pip", "install", "--no-compile", "--progress-bar", "off", *kind.packages)
    if kind.unwanted:
        step(python, "-m", "pip", "uninstall", "--yes", *kind.unwanted)
    notify(f"{kind.name}: seeing whether it works")
    version = step(
        python, "-c", f"import {', '.join(kind.modules)}; print(); print({kind.modules[0]}.__version__)"
    )[-1]
    (folder / "freeze.txt").write_text(
        "\n".join(step(python, "-m", "pip", "freeze")) + "\n", encoding="utf-8"
    )
    entry = {
        "kind": kind.name,
        "version": version,
        "python": platform.python_version(),
        "packages": kind.packages,
    }
    draft = folder / f"{COMPLETE}.draft"
    draft.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    draft.rename(folder / COMPLETE)
    notify(f"{kind.name}: {version} is installed")


def check_version(engine: Engine) -> None:
    """Raises EngineError where the environment no longer holds the version it was installed with."""
    if engine.kind.distribution is None:
        return
    asked = (
        str(engine.python),
        "-c",
        f"import importlib.metadata as m; print(m.version({engine.kind.distribution!r}))",
    )
    try:
        said = subprocess.run(
            asked, capture_output=True, text=True, env=engine_environ(), check=False
        ).stdout.strip()
    except OSError as error:
        raise EngineError(f"The engine {engine.kind.name} cannot be started: {error}.") from error
    if said != engine.version:
        raise EngineError(
            f"The environment of {engine.kind.name} holds {engine.kind.distribution} {said or '(none)'}, not {engine.version}; "
            f"remove {engine.python.parents[1]} and it is made anew."
        )


def engine_environ() -> dict[str, str]:
    """Our environment for an engine's Python: what is set for ours is not for it, and providers' keys are none of its business.

    A path of ours would lead into it, a user's site out of it, and forbidden bytecode cost 40 s a start."""
    ours = re.compile("PYTHON.*|PYDANTIC_DISABLE_PLUGINS|.*(KEY|SECRET|PASSWORD).*")
    return {name: value for name, value in os.environ.items() if not ours.fullmatch(name)} | {
        "PYTHONNOUSERSITE": "1"
    }


def run_logged(
    command: tuple[str, ...], kind: EngineKind, path: Path, lock: int, notify: Notify
) -> list[str]:
    """The lines that a step of the installation wrote, which are also added to the log.

    lock  held by the step too: should we be killed, it goes on, and nobody else may start beside it"""
    lines: list[str] = []
    with open(path, "a", encoding="utf-8") as log:
        print("$", *command, file=log, flush=True)
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=engine_environ()
            | {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            pass_fds=(lock,),
        ) as step:
            assert step.stdout is not None
            for line in step.stdout:
                log.write(line)
                log.flush()
                lines.append(line.rstrip("\n"))
                if big := PROGRESS_LINE.search(line):
                    notify(f"{kind.name}: fetching {big[1]} {big[2]}")
                elif line.startswith("Installing collected packages"):
                    notify(f"{kind.name}: unpacking {line.count(',') + 1} packages")
    if step.returncode != 0:
        end = "\n".join(lines[-12:])
        raise EngineError(
            f"The engine {kind.name} could not be installed: `{' '.join(command[1:4])}` ended with code {step.returncode}; "
            f"should pip not have found a package: {kind.index_note}. The whole log is {path}; it ends:\n{end}"
        )
    return lines
