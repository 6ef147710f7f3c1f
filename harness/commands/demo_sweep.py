"""The demonstration's sweep file and its next store.

A small real model, which vLLM serves in two precisions, plays two games through both."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

SWEEP = """\
# Two games, one model, two access methods: the same weights served in bfloat16 and in float32.
# Both servers force replies into the right format (constrain = true): a model of this size never keeps it.
# float32, the reference, is played twice: what differs between its two plays is noise.

name = "demo"
seed = 1
repeats = 1

[games.taboo]
items = 15

[games.wordle]
items = 15

[models.smollm2-135m]
parameters = 1.35e8

[models.smollm2-135m.methods.vllm-bf16]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "bfloat16" }
constrain = true
concurrency = 32

[models.smollm2-135m.methods.vllm-f32]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }
constrain = true
concurrency = 32

[audit]
reference = "smollm2-135m/vllm-f32"
margin = 3.0
"""


def write_sweep(folder: Path) -> Path:
    """Writes the sweep file into this folder, unless it is there: it may be edited. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep = folder / "demo.toml"
    if not sweep.exists():
        sweep.write_text(SWEEP, "utf-8")
    return sweep


def next_store(folder: Path, left: Callable[[Path], int]) -> Path:
    """Returns the newest demo-N.duckdb if its sweep has not ended, else a new one: each demonstration plays,
    and none is overwritten.

    left  how many episodes of the sweep a store lacks"""
    newest = None
    for number in count(1):
        store = folder / f"demo-{number}.duckdb"
        if not store.exists():
            return newest if newest is not None and left(newest) else store
        newest = store
    raise AssertionError
