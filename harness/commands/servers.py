"""The commands emulate, engine and bench: servers of models, and how fast they answer."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.arguments import AsJson, RunStore, SweepFile, load, parse_numbers
from harness.commands.terminal import notify, stdout_console, write_page
from harness.core.errors import SpecError
from harness.core.startup import unwind_on_interrupt

if TYPE_CHECKING:
    from harness.loadtest.generator import Stage
    from harness.loadtest.loadtest_sweep import MethodLoadTest
    from harness.loadtest.metrics import Objective

engines = typer.Typer(
    help="Manage environments of local engines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def bench(
    sweep: SweepFile,
    method: Annotated[
        list[str] | None, typer.Option(help='Only this access method, as "model/method"; repeatable.')
    ] = None,
    concurrency: Annotated[
        str, typer.Option(help="Closed loop: calls in flight, one stage for each number.")
    ] = "1,4,16,64",
    rates: Annotated[
        str, typer.Option(help="Open loop: requests a second at Poisson moments, one stage for each number.")
    ] = "",
    requests: Annotated[
        int, typer.Option(help="Requests in a stage; at least three for each call in flight.", min=2)
    ] = 64,
    prompts: Annotated[
        Path | None,
        typer.Option(help="One prompt a line, text or JSON; default: those of the sweep's games."),
    ] = None,
    tokens_max: Annotated[int, typer.Option(help="Longest reply to a prompt of that file.", min=1)] = 128,
    slo_ttft: Annotated[float, typer.Option(help="Goodput: seconds to the first token.", min=0.001)] = 2.0,
    slo_e2e: Annotated[float, typer.Option(help="Goodput: seconds to the end.", min=0.001)] = 30.0,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Ask for streamed replies.")] = True,
    store: RunStore = None,
    html: Annotated[Path | None, typer.Option(help="Write a page, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Latency and throughput of each access method under load: time to first token, percentiles, goodput.

    Prompts are those of the sweep's games as bots play them. Quotas are not kept and no call is tried twice:
    the command measures the server. A stage that this client itself limited has no figures, only the reason.
    Rows: bench_stages and bench_requests.

    Example: lightbulb bench mine.toml --method llama/here --concurrency 1,8,64 --rates 2,8"""
    from harness.access.context import RunContext, default_store_path
    from harness.core.event_loop import run_async
    from harness.loadtest.loadtest_sweep import LoadTestPlan, loadtest_sweep
    from harness.loadtest.metrics import Objective

    spec = load(sweep)
    plan = LoadTestPlan(
        methods=method or (),
        stages=_stages(concurrency, rates, requests),
        objective=Objective(ttft_s=slo_ttft, e2e_s=slo_e2e),
        prompts=prompts,
        tokens_max=tokens_max,
        stream=stream,
    )
    context = RunContext(
        source=sweep, store=store or default_store_path(sweep, spec), environ=os.environ, notify=notify
    )
    benches = run_async(lambda: loadtest_sweep(spec, plan, context))
    _show_benches(benches, plan.objective, sweep, html=html, as_json=as_json)


def _stages(concurrency: str, rates: str, requests: int) -> list[Stage]:
    from harness.loadtest.generator import Stage

    in_flight = parse_numbers(concurrency, "--concurrency", whole=True)
    per_second = parse_numbers(rates, "--rates", whole=False)
    return [
        *(Stage(loop="closed", level=level, requests=max(requests, 3 * int(level))) for level in in_flight),
        *(Stage(loop="open", level=level, requests=requests) for level in per_second),
    ]


def _show_benches(
    benches: Sequence[MethodLoadTest], objective: Objective, sweep: Path, *, html: Path | None, as_json: bool
) -> None:
    from harness.core.plain_data import as_json as plain
    from harness.report.loadtest import loadtest_page, print_loadtest

    if html is not None:
        write_page(html, loadtest_page(benches, objective, sweep.name))
    if as_json:
        print(json.dumps({"objective": plain(objective), "methods": plain(benches)}))
    else:
        print_loadtest(benches, objective, stdout_console())


def emulate(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="As in a sweep's emulator = { ... }; quotas.requests=300"
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="The port on 127.0.0.1; 0: any free one.", min=0, max=65535)
    ] = 8080,
    sweep: Annotated[
        Path | None, typer.Option(help="Bots play this sweep's instances, too, not only our own sets.")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="The environment variable with the key that clients must send; default: none."),
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
