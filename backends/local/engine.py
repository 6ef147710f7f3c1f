"""Values that describe environments of packages, and inference engines in them: what a sweep asks of an
engine, its kind, how a server is started. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.core.errors import EngineError

Notify = Callable[[str], None]
"""Takes one line of progress, for a person."""


GGUF_TYPES = ("F16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K")
"""Quantisations of a GGUF file that can be made here, in llama.cpp's spelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """One server that a sweep asks for.

    kind          a name in engine_kinds.ENGINES
    weights       a model folder, a GGUF file, or "bundled:" and a name in bundled.BUNDLED,
                  or "hf:ORGANISATION/NAME@REVISION"
    served_name   the model name in requests, where the engine allows a choice
    dtype         "bfloat16", "float16", "float32"; "auto": that of the weights
    quantisation  in the engine's spelling; None: that of the weights
    context_max   tokens, prompt and reply together
    cache_gib     memory for attention keys and values, where there is no GPU
    compiled      compile the model at the start, which takes minutes; false is `--enforce-eager`
    flags         arguments appended to the command
    env           names of environment variables that the server gets besides the usual ones
    withheld      names of variables with keys, which it never gets"""

    kind: str
    weights: str
    served_name: str
    dtype: str = "auto"
    quantisation: str | None = None
    context_max: int = 4096
    cache_gib: int = 2
    compiled: bool = False
    flags: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that the command line of a server depends on.

    weights   the folder or file; of a model on a hub its repository
    revision  of a model on a hub; None: the weights are on this machine
    seqs_max  replies generated at the same time"""

    python: Path
    spec: EngineSpec
    weights: Path
    revision: str | None = None
    seqs_max: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A statement that a server must make about itself before it is used.

    claim     the subject, for messages: "the model"
    path      the path of the request
    keys      the path of the statement within the JSON answer
    expected  (launch, version of the engine) -> the statement expected
    body      sent as JSON with POST; None: a GET request"""

    claim: str
    path: str
    keys: tuple[str | int, ...]
    expected: Callable[[Launch, str], str]
    body: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentKind:
    """One kind of environment that lightbulb installs, as data.

    what           the noun for it in messages: "engine"
    shelf          the folder within the cache that holds environments of this sort
    packages       pinned requirements to install
    unwanted       packages that come with them, break the installation and are removed again
    modules        imported to test the installation; the first one has `__version__`, unless
                   `distribution` is set
    python         the oldest and newest Python version that it supports
    systems        operating systems as platform.system() names them
    machines       processor names, as platform.machine() spells them
    glibc          the oldest version, as (major, minor), on Linux
    disk_gb        free space that an installation needs
    memory_gb      memory that one small process of it needs
    index_note     one sentence that says where pip can find the packages
    distribution   the package whose version is that of the environment; None: the first module states it"""

    name: str
    what: str = "engine"
    shelf: str = "engines"
    packages: tuple[str, ...]
    unwanted: tuple[str, ...]
    modules: tuple[str, ...]
    python: tuple[tuple[int, int], tuple[int, int]]
    systems: tuple[str, ...] = ("Linux",)
    machines: tuple[str, ...]
    glibc: tuple[int, int]
    disk_gb: float
    memory_gb: float
    index_note: str
    distribution: str | None = None

    @property
    def title(self) -> str:
        return f"The {self.what} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind(EnvironmentKind):
    """One kind of engine, as data; its environment is also compiled, so that servers start sooner.

    server_gb, weights_factor
                      memory of a server: server_gb plus weights_factor for each gigabyte of its weights
    grace_s           seconds between SIGTERM to a server and SIGKILL
    command, environ  how a server is started
    environ_defaults  environment variables of a server, unless this program's environment has them
    served_name       the model name that requests must carry
    proofs            what a server must state before it is used
    formats           formats of weights that it serves, the preferred one first
    dtypes            values of dtype that it accepts
    quantisations     values of quantisation that it accepts; None: any, the engine checks them
    quantises_files   another quantisation is another file, which is made before the engine starts
    seqs_max          replies generated at the same time; further requests wait in the server
    load_path         the path of its metrics; None: it has none"""

    server_gb: float
    weights_factor: float
    grace_s: float
    command: Callable[[Launch], tuple[str, ...]]
    environ: Callable[[Launch], dict[str, str]]
    environ_defaults: Mapping[str, str] = field(default_factory=dict)
    served_name: Callable[[Launch], str] = lambda launch: launch.spec.served_name
    proofs: tuple[Proof, ...]
    formats: tuple[Literal["folder", "gguf"], ...] = ("folder",)
    dtypes: tuple[str, ...] = ("auto", "bfloat16", "float16", "float32")
    quantisations: tuple[str, ...] | None = ()
    quantises_files: bool = False
    seqs_max: int = 1
    load_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An installed engine.

    version  of the engine itself, as its module states it"""

    kind: EngineKind
    python: Path
    version: str


def check_spec(kind: EngineKind, spec: EngineSpec) -> None:
    """Raises EngineError if the engine cannot serve as the sweep asks."""
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
            else "the file of the weights decides it"
        )
        raise EngineError(f"The engine {kind.name} has no quantisation {spec.quantisation!r}; {known}.")
