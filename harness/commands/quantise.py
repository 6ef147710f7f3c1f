"""The command that makes other quantisations of a model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.terminal import notify, stdout_console
from harness.core.errors import SpecError


def quantise(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help='A GGUF file, or "bundled:NAME".')],
    types: Annotated[
        str,
        typer.Option(
            "--as", help="The quantisations, as llama.cpp spells them, with commas: Q8_0,Q4_0,Q2_K."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder to write to; it is made if it does not exist.")
    ],
) -> None:
    """Write a model's weights in other quantisations, one GGUF file for each, with a note of their origin.

    Every matrix gets the type asked for; a matrix whose rows the type cannot divide gets another one, which
    is listed. In a sweep file `engine = { kind = "llamacpp", weights = "...", quantisation = "Q4_0" }` does
    the same by itself.

    Example: lightbulb quantise bundled:smollm2-135m-instruct --as Q8_0,Q4_0 -o /tmp/weights"""
    from backends.local.engine_kinds import engine_kind
    from backends.local.environments import install
    from backends.local.machine import this_machine
    from backends.local.weights import prepare, quantise, refuse_other_source
    from harness.report.table import table

    if not (names := [name.strip() for name in types.split(",") if name.strip()]):
        raise SpecError(f"--as {types!r}: name at least one type, as Q8_0,Q4_0")
    engine = install(engine_kind("llamacpp", this_machine()), notify)
    source = prepare(weights, None, engine, notify).path
    output.mkdir(parents=True, exist_ok=True)
    stem = weights.removeprefix("bundled:") if weights.startswith("bundled:") else source.stem
    rows = []
    for name in names:
        made = quantise(source, output.absolute() / f"{stem}-{name}.gguf", name, engine, notify)
        refuse_other_source(made, source)
        rows.append((name, f"{made.bits:.2f}", len(made.fallbacks), made.path))
        if made.fallbacks:
            instead = " or ".join(dict.fromkeys(made.fallbacks.values()))
            notify(
                f"{name}: {len(made.fallbacks)} matrices are {instead}, because their rows are no multiple of a "
                f"block of {name}; {made.path}.json lists them"
            )
    stdout_console().print(table(("type", "bits a weight", "matrices of another type", "file"), rows))
