"""The machine that we run on: its facts, the cache folder, and whether an engine can be installed."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from backends.local.engine import EnvironmentKind
from harness.core.errors import EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts that decide whether an engine can be installed; sizes in 10⁹ bytes.

    glibc  None if the C library is another"""

    system: str
    processor: str
    glibc: tuple[int, int] | None
    python: tuple[int, int]
    disk_free_gb: float
    memory_gb: float
    gpu: bool


def cache_folder() -> Path:
    """Returns $LIGHTBULB_CACHE, else lightbulb's folder in the user's cache; it may not exist yet."""
    if ours := os.environ.get("LIGHTBULB_CACHE"):
        return Path(ours).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "lightbulb"


def this_machine() -> Machine:
    """Returns the facts of this machine; the free disk is that of the cache folder."""
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # that of a container
    if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()).isdigit():
        memory = min(memory, int(text))
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        glibc=glibc_version(),
        python=sys.version_info[:2],
        disk_free_gb=shutil.disk_usage(folder).free / 1e9,
        memory_gb=memory / 1e9,
        gpu=Path("/dev/nvidia0").exists(),
    )


def glibc_version() -> tuple[int, int] | None:
    """Returns the version of glibc; None if the C library is another."""
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION")  # "glibc 2.36"
    except ValueError:  # the C library does not know the name
        return None
    if name is None or not name.startswith("glibc "):
        return None
    major, minor = name.removeprefix("glibc ").split(".")[:2]
    return int(major), int(minor)


def check_platform(kind: EnvironmentKind, machine: Machine) -> None:
    """Raises EngineError if the packages do not run on this machine."""
    oldest, newest = kind.python
    if machine.system not in kind.systems:
        fault = f"it needs {' or '.join(kind.systems)}, but this is {machine.system or 'another system'}"
    elif machine.processor not in kind.machines:
        fault = (
            f"it needs a processor of the type {' or '.join(kind.machines)}, "
            f"but this is {machine.processor or 'unknown'}"
        )
    elif machine.system == "Linux" and machine.glibc is None:
        fault = (
            f"it needs a Linux with glibc {kind.glibc[0]}.{kind.glibc[1]} or later, "
            "but this one has another C library"
        )
    elif machine.glibc is not None and machine.glibc < kind.glibc:
        fault = (
            f"it needs glibc {kind.glibc[0]}.{kind.glibc[1]} or later, "
            f"but this machine has {machine.glibc[0]}.{machine.glibc[1]}"
        )
    elif not oldest <= machine.python <= newest:
        fault = (
            f"it needs Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}, "
            f"but this is {machine.python[0]}.{machine.python[1]}"
        )
    elif machine.memory_gb < kind.memory_gb:
        fault = f"it needs {kind.memory_gb:.0f} GB of memory, but this machine has {machine.memory_gb:.1f}"
    else:
        return
    raise EngineError(f"{kind.title} cannot be installed here: {fault}.")


def check_disk(kind: EnvironmentKind, machine: Machine) -> None:
    """Raises EngineError if the installation would not fit on the disk."""
    if machine.disk_free_gb < kind.disk_gb:
        raise EngineError(
            f"{kind.title} cannot be installed here: it needs {kind.disk_gb:.0f} GB of free disk, "
            f"but {cache_folder()} has {machine.disk_free_gb:.1f}; LIGHTBULB_CACHE can name another folder."
        )
