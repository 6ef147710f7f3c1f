"""Estimates the memory of servers before they start, and reads how much memory is free.

Knows the sizes of weights and figures measured for each kind of engine (engine_kinds.py); starts nothing.
Does not promise that a server takes as much as estimated: a long context or flags change it."""

from __future__ import annotations

import os
from pathlib import Path

from backends.local.bundled import BUNDLED
from backends.local.engine import EngineKind, EngineSpec
from backends.local.weights import BUNDLED_PREFIX, HUB_PREFIX, weight_files

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")

# Mean bits of a weight, by the block layouts of ggml; the source of a quantisation has at least 4.
TYPE_BITS = {
    "F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K": 5.5, "Q5_1": 6.0, "Q5_0": 5.5,
    "Q4_K": 4.5, "Q4_1": 5.0, "Q4_0": 4.5, "Q3_K": 3.5, "Q2_K": 2.7,
}  # fmt: skip
SOURCE_BITS = 4.5


def server_memory_gb(spec: EngineSpec, kind: EngineKind) -> float:
    """Returns about how much memory this server takes, in 10⁹ bytes.

    Weights whose size is not known before they are downloaded count as a small model's."""
    size_gb = _weights_gb(spec, kind)
    if size_gb is None:
        return kind.memory_gb
    if kind.quantises_files and spec.quantisation is not None:
        size_gb *= max(1.0, TYPE_BITS[spec.quantisation] / SOURCE_BITS)
    if spec.dtype == "float32":
        size_gb *= 2  # folders have 16 bits a weight
    return kind.server_gb + kind.weights_factor * size_gb


def _weights_gb(spec: EngineSpec, kind: EngineKind) -> float | None:
    if spec.weights.startswith(HUB_PREFIX):
        return None
    if spec.weights.startswith(BUNDLED_PREFIX):
        source = BUNDLED.get(spec.weights.removeprefix(BUNDLED_PREFIX))
        if source is None:
            return None
        return (source.size_bytes if kind.formats[0] == "gguf" else source.folder_bytes) / 1e9
    path = Path(spec.weights).expanduser()
    return sum(file.stat().st_size for file in weight_files(path)) / 1e9 if path.exists() else None


def free_memory_gb() -> float:
    """Returns the memory that new processes can take without swapping, in 10⁹ bytes: that of the machine or
    of its container, whichever is less. Elsewhere than on Linux: all memory of the machine."""
    if not MEMINFO.is_file():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    fields = dict(line.split(":", 1) for line in MEMINFO.read_text("ascii").splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    limit, current = CGROUP / "memory.max", CGROUP / "memory.current"
    if limit.is_file() and current.is_file() and (text := limit.read_text("ascii").strip()).isdigit():
        free = min(free, int(text) - int(current.read_text("ascii")))
    return free / 1e9
