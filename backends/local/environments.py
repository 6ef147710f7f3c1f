"""Installs engines and libraries of games, each into a Python environment of its own.

Makes each environment in a folder of its own, with pip and the Python that runs this program, so that an
engine's pinned packages never conflict with ours. engine_kinds.py lists the engines,
harness/foreign_games/libraries.py the libraries of games.
Keeps: an environment is used only after it is complete and its engine could be imported; two processes never
build one at the same time; nothing is downloaded for a machine that cannot run the engine.
Does not promise to remove old environments."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.local.child_environ import engine_environ, pip_environ
from backends.local.engine import Engine, EngineKind, EnvironmentKind, Notify
from backends.local.machine import cache_folder, check_disk, check_platform, this_machine
from harness.core.errors import EngineError
from harness.core.vocabulary import digest

COMPLETE = "complete.json"  # written last: a folder without it is incomplete
LOG = "install.log"
PROGRESS_LINE = re.compile(r"(?:Downloading|Processing) .*?([^/ ]+)\.whl.*?(\(\d[\d.]* [GM]B\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One environment in the cache. `packages` are those asked for; its `freeze.txt` lists all of them."""

    kind: str
    version: str
    python_version: str
    packages: tuple[str, ...]
    folder: Path


def engine_folder(kind: EnvironmentKind) -> Path:
    """Returns the folder of its environment; a hash of the packages and of the Python is part of the name."""
    place = (platform.python_version(), platform.system(), platform.machine())
    name = digest(kind.name, *kind.packages, "without", *kind.unwanted, *place, bytes_of_digest=6)
    return cache_folder() / kind.shelf / f"{kind.name}-{name}"


def find(kind: EngineKind) -> Engine | None:
    """Returns the engine if it is installed: in its own environment, or in one that has all its packages."""
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
    """Returns all packages of a complete environment, as `name==version`."""
    return set((folder / "freeze.txt").read_text(encoding="utf-8").split("\n"))


def installed() -> tuple[Installed, ...]:
    """Returns every complete environment of an engine in the cache, also those of other versions of this
    program."""
    folders = sorted((cache_folder() / "engines").glob("*/"))
    return tuple(entry for folder in folders if (entry := read_entry(folder)) is not None)


def read_entry(folder: Path) -> Installed | None:
    try:
        entry = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Installed(
        kind=entry["kind"],
        version=entry["version"],
        python_version=entry["python"],
        packages=tuple(entry["packages"]),
        folder=folder,
    )


def install(kind: EngineKind, notify: Notify) -> Engine:
    """Returns the engine; installs it if it is missing, which takes minutes and gigabytes.

    pip reads the user's own configuration.
    raises  EngineError: the platform does not suit, or pip failed (with its last lines and the place of its
            log)"""
    if (engine := find(kind)) is None:
        install_environment(kind, notify)
        engine = find(kind)
        assert engine is not None
    return engine


def install_environment(kind: EnvironmentKind, notify: Notify) -> Installed:
    """Returns the environment; makes it if it is missing.

    raises  EngineError as install does"""
    folder = engine_folder(kind)
    if (entry := read_entry(folder)) is not None:
        return entry
    check_platform(kind, this_machine())
    with exclusive_lock(folder, notify) as lock:
        if (entry := read_entry(folder)) is not None:
            return entry
        # Built in place: the scripts of an environment contain its path, so it cannot be moved.
        shutil.rmtree(folder, ignore_errors=True)
        check_disk(kind, this_machine())
        folder.mkdir(parents=True)
        notify(f"{kind.name}: installing {', '.join(kind.packages)} into {folder}")
        build(kind, folder, lock, notify)
    entry = read_entry(folder)
    assert entry is not None
    return entry


@contextmanager
def exclusive_lock(folder: Path, notify: Notify) -> Iterator[int]:
    """Holds a lock on this folder; the kernel releases it with the last process that has its descriptor."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notify(f"{folder} is being prepared already: waiting until it is ready")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def build(kind: EnvironmentKind, folder: Path, lock: int, notify: Notify) -> None:
    python = str(folder / "bin" / "python")

    def step(*command: str, cwd: Path | None = None) -> list[str]:
        return run_logged(command, kind, folder / LOG, lock, notify, cwd)

    step(sys.executable, "-m", "venv", str(folder))
    # Not compiled to bytecode, which takes 100 s: most of the modules are never imported.
    step(python, "-m", "pip", "install", "--no-compile", "--progress-bar", "off", *kind.packages)
    if kind.unwanted:
        step(python, "-m", "pip", "uninstall", "--yes", *kind.unwanted)
    notify(f"{kind.name}: testing the installation")
    stated = f"{kind.modules[0]}.__version__"
    if kind.distribution is not None:
        stated = f"importlib.metadata.version({kind.distribution!r})"
    code = f"import importlib.metadata, {', '.join(kind.modules)}; print(); print({stated})"
    version = step(python, "-c", code, cwd=folder)[-1]  # some packages write files where they are imported
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
    """Raises EngineError if the environment no longer has the version that was installed."""
    if engine.kind.distribution is None:
        return
    command = (
        str(engine.python),
        "-c",
        f"import importlib.metadata as m; print(m.version({engine.kind.distribution!r}))",
    )
    try:
        version = subprocess.run(
            command, capture_output=True, text=True, env=engine_environ(os.environ), check=False
        ).stdout.strip()
    except OSError as error:
        raise EngineError(f"The engine {engine.kind.name} cannot be started: {error}.") from error
    if version != engine.version:
        raise EngineError(
            f"The environment of {engine.kind.name} has {engine.kind.distribution} {version or '(none)'}, "
            f"not {engine.version}; remove {engine.python.parents[1]} and start again to install it anew."
        )


def run_logged(
    command: tuple[str, ...],
    kind: EnvironmentKind,
    path: Path,
    lock: int,
    notify: Notify,
    cwd: Path | None = None,
) -> list[str]:
    """Runs one step of an installation; returns the lines that it wrote, which also go to the log.

    path  of the log
    lock  descriptor that the step inherits: if this process is killed, the step continues and the lock
          stays
    cwd   the folder to run it in; None: that of this process"""
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
            env=pip_environ(os.environ),
            pass_fds=(lock,),
            cwd=cwd,
        ) as step:
            assert step.stdout is not None
            for line in step.stdout:
                log.write(line)
                log.flush()
                lines.append(line.rstrip("\n"))
                if large := PROGRESS_LINE.search(line):
                    notify(f"{kind.name}: downloading {large[1]} {large[2]}")
                elif line.startswith("Installing collected packages"):
                    notify(f"{kind.name}: unpacking {line.count(',') + 1} packages")
    if step.returncode != 0:
        end = "\n".join(lines[-12:])
        raise EngineError(
            f"{kind.title} could not be installed: `{' '.join(command[1:4])}` ended with code "
            f"{step.returncode}. If pip did not find a package: {kind.index_note}. The whole log is {path}; "
            f"it ends:\n{end}"
        )
    return lines
