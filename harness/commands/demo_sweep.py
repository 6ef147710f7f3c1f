"""The demonstration: a small real model, served by vLLM in two precisions, plays two games with itself through both."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

SWEEP = """\
# Two games, one model, two access methods: the same weights served in bfloat16 and in float32.
# Both servers hold the model to the form of a reply (constrain = true): one of this size never keeps it by itself.
# float32, the reference, is played twice, as if it were a third way: what differs between its two plays is noise.

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
    """The demonstration's sweep file in this folder; one that is there already is left as it is, for it may be edited."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep = folder / "demo.toml"
    if not sweep.exists():
        sweep.write_text(SWEEP, "utf-8")
    return sweep


def next_store(folder: Path, left: Callable[[Path], int]) -> Path:
    """The newest demo-N.duckdb if its sweep was cut short, else the one after it: each demonstration plays, none is lost."""
    newest = None
    for number in count(1):
        store = folder / f"demo-{number}.duckdb"
        if not store.exists():
            return newest if newest is not None and left(newest) else store
        newest = store
    raise AssertionError
