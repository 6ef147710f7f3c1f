"""The commands emulate and engine: servers of models."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.arguments import AsJson, load
from harness.commands.terminal import notify, stdout_console
from harness.core.errors import SpecError
from harness.core.startup import unwind_on_interrupt

engines = typer.Typer(
    help="Manage environments of local engines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def emulate(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings, as in emulator = { ... } of a sweep file; for example quotas.requests=300.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="The port on 127.0.0.1; 0: any free port.", min=0, max=65535)
    ] = 8080,
    sweep: Annotated[
        Path | None,
        typer.Option(
            help="Bots also know the instances of this sweep; default: only those of lightbulb's own sets."
        ),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            help="The environment variable with the key that clients must send; default: clients need no key."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve an emulated provider on this machine: quotas, latency, faults and planted defects; bots or a real
    server answer behind it. Prints its base_url once it serves; its counts are at /emulator/statistics.

    Example: lightbulb emulate --port 8080 skill=0.8 quotas.requests=300 faults.rate=0.2"""
    from backends.emulator.process import emulate as serve
    from harness.access.game_sets import known_instances
    from harness.config.load import parse_emulation
    from harness.core.event_loop import run_async

    emulation = parse_emulation(settings or [])
    key = os.environ.get(key_env) if key_env else None
    if key_env and not key:
        raise SpecError(f"the environment variable {key_env} is not set; set it, or leave out --key-env")
    find_instance = known_instances(load(sweep) if sweep else None, sweep)

    def on_ready(url: str) -> None:
        print(json.dumps({"base_url": url}) if as_json else url, flush=True)
        if emulation.behind is None:
            notify(
                "the bots of games answer here. In a sweep file, give the method both"
                f' provider = "emulator" and base_url = "{url}"'
            )

    run_async(
        lambda: serve(
            emulation, port=port, key=key, find_instance=find_instance, on_ready=on_ready, notify=notify
        )
    )


@engines.command("install")
def engine_install(kind: Annotated[str, typer.Argument(help="vllm, transformers or llamacpp")]) -> None:
    """Install the environment of a local engine, unless it is there already.

    Example: lightbulb engine install vllm"""
    from backends.local.engine_kinds import engine_kind
    from backends.local.environments import install
    from backends.local.machine import this_machine

    unwind_on_interrupt()  # an environment that is half made is removed
    engine = install(engine_kind(kind, this_machine()), notify)
    print(engine.python)


@engines.command("list")
def engine_list() -> None:
    """List the environments that are installed.

    Example: lightbulb engine list"""
    from backends.local.environments import installed
    from harness.report.table import table

    rows = [(engine.kind, engine.version, engine.python_version, engine.folder) for engine in installed()]
    stdout_console().print(table(("engine", "version", "python", "folder"), rows, left=4))
