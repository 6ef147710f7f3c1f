"""The demonstration's sweep file and its next store.

A small real model plays two games through two access methods: vLLM in two precisions or, where vLLM cannot be
installed, llama.cpp with two files of the same weights. The same servers are asked without a format, too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from harness.config.problems import sweep_text
from harness.core.errors import EngineError

_SWEEP = """\
# Two games, one model, two access methods: {claim}.
# {reference}, the reference, is played twice: what differs between its two plays is noise.
# Each item is played twice: what two plays of one item have in common is what the verdict on replies compares.

name = "demo"
seed = 1
repeats = 2

[games.taboo]
items = 20

[games.wordle]
items = 2

# Both servers force replies into the right format (constrain = true): a model of this size never keeps it.
[models.smollm2-135m]
parameters = 1.35e8

{methods}
# The same two servers without a format. This model breaks the rules with its first reply, so each play is one free
# reply. The verdict on scores means nothing here; the verdict on replies compares these texts.
[models.smollm2-135m-free]
parameters = 1.35e8

{free}
[audit]
reference = "smollm2-135m/{reference}"
margin = 3.0
"""


def _sweep(claim: str, reference: str, methods: dict[str, str]) -> str:
    """Returns the text of a sweep.

    methods  name -> its keys, but for those that enforce the format"""

    def tables(model: str, more: str, names: Iterable[str]) -> str:
        return "\n".join(f"[models.{model}.methods.{name}]\n{methods[name]}{more}" for name in names)

    return _SWEEP.format(
        claim=claim,
        reference=reference,
        methods=tables("smollm2-135m", "constrain = true\n", methods),
        free=tables(
            "smollm2-135m-free",
            'served_name = "smollm2-135m"\n',
            sorted(methods, key=lambda name: name != reference),  # a model's first method is its reference
        ),
    )


_VLLM = _sweep(
    claim="the same weights served in bfloat16 and in float32",
    reference="vllm-f32",
    methods={
        "vllm-bf16": """\
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "bfloat16" }
concurrency = 32
""",
        "vllm-f32": """\
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct", dtype = "float32" }
concurrency = 32
""",
    },
)
_LLAMACPP = _sweep(
    claim="two files of the same weights, one rounded to about 4 bits and one to 8",
    reference="llamacpp-q4_1",
    methods={
        "llamacpp-q4_1": """\
engine = { kind = "llamacpp", weights = "bundled:smollm2-135m-instruct" }
""",
        "llamacpp-q8_0": """\
engine = { kind = "llamacpp", weights = "bundled:smollm2-135m-instruct", quantisation = "Q8_0" }
""",
    },
)
# Hashes of the sweeps that earlier versions wrote: such a file was not edited, and is replaced.
FORMER = frozenset(
    {
        "13a73d203703098f5087999c910f48b5ccce0aa339decffd708a451d4ea5dfde",
        "c01ca8b479bd6bef31b6d06907ac70f0b177701a0350e67e265bcb85d7e85f15",
        "794b833cdec920b111144f7725be7fa8a22d1d947d02bea76202b883d5d76a86",
        "a97ddeeb57b1fa2c7bf16286e6de72e8862a4923b570417d6cb09f7ef81e14c6",
    }
)
# By engine, in order of preference. vLLM is first: it is the batched server that sweeps are for.
SWEEPS = {"vllm": _VLLM, "llamacpp": _LLAMACPP}


def choose_engine(install: Callable[[str], object], notify: Callable[[str], None]) -> str:
    """Returns the first engine of SWEEPS that can be installed here, and says why an earlier one cannot.

    install  installs the engine of this name, if it is missing
    raises   EngineError of the last one if none can"""
    *preferred, last = SWEEPS
    for kind in preferred:
        try:
            install(kind)
        except EngineError as error:
            notify(f"{short_reason(error)} The demonstration plays through {last} instead.")
        else:
            return kind
    install(last)
    return last


def short_reason(error: EngineError) -> str:
    """Returns the error's first sentence; if it quotes errors of pip, the one that names a package."""
    first, *rest = str(error).splitlines()
    quoted = [line.removeprefix("ERROR: ") for line in rest if line.startswith("ERROR: ")]
    if not quoted:
        return first
    named = [line for line in quoted if "==" in line]
    return f"{first.partition(':')[0]}: {(named or quoted)[-1].rstrip('.')}."


def write_sweep(folder: Path, choose: Callable[[], str]) -> tuple[Path, bool]:
    """Writes the sweep file into the folder; a file that a user edited stays as it is. Returns its path, and
    whether it took the place of an earlier version's, whose stores hold another sweep.

    choose  returns the engine that plays, a name in SWEEPS"""
    folder.mkdir(parents=True, exist_ok=True)
    sweep = folder / "demo.toml"
    held = sweep_text(sweep) if sweep.exists() else None
    is_former = held is not None and hashlib.sha256(held.encode()).hexdigest() in FORMER
    if held is None or is_former or held in SWEEPS.values():
        sweep.write_text(SWEEPS[choose()], "utf-8")
    return sweep, is_former


def next_store(folder: Path, left: Callable[[Path], int], *, is_former: bool = False) -> Path:
    """Returns the newest demo-N.duckdb if its sweep has not ended, else a new one: each demonstration plays,
    and none is overwritten.

    left       how many episodes of the sweep a store lacks
    is_former  the stores so far hold an earlier version's sweep"""
    newest = None
    for number in count(1):
        store = folder / f"demo-{number}.duckdb"
        if not store.exists():
            return newest if newest is not None and not is_former and left(newest) else store
        newest = store
    raise AssertionError
