"""The command bench: how fast access methods answer under load."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.commands.arguments import AsJson, RunStore, load
from harness.commands.bench_options import (
    Arriving,
    BenchOptions,
    Burstiness,
    Compare,
    Concurrency,
    CoolDown,
    Csv,
    Find,
    Html,
    IgnoreEos,
    Label,
    MaxLevel,
    MaxSeconds,
    Method,
    OnlyDry,
    OutputTokens,
    Prefix,
    Prompts,
    PromptTokens,
    Ramp,
    Rates,
    Repeats,
    Requests,
    Sessions,
    SloE2e,
    SloTpot,
    SloTtft,
    Speed,
    Stream,
    SweepOrNone,
    ThinkTime,
    TokensMax,
    Trace,
    WarmUp,
    plan_of,
)
from harness.commands.terminal import FAILED, notify, refuse_missing_folders, stdout_console, write_page
from harness.core.errors import SpecError

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.config.sweep import SweepSpec
    from harness.loadtest.ladder import MethodLoadTest
    from harness.loadtest.loadtest_sweep import LoadTestPlan


def bench(
    sweep: SweepOrNone = None, method: Method = None,
    concurrency: Concurrency = "", rates: Rates = "", trace: Trace = None, speed: Speed = "1",
    find: Find = None, max_level: MaxLevel = 1024,
    requests: Requests = None, max_seconds: MaxSeconds = None, repeats: Repeats = 1,
    ramp: Ramp = 0.0, warm_up: WarmUp = None, cool_down: CoolDown = None,
    arrivals: Arriving = "poisson", burstiness: Burstiness = None,
    sessions: Sessions = False, think_time: ThinkTime = "0",
    prompts: Prompts = None, prompt_tokens: PromptTokens = None, output_tokens: OutputTokens = None,
    tokens_max: TokensMax = 128, ignore_eos: IgnoreEos = False, prefix: Prefix = "as-is",
    slo_ttft: SloTtft = 2.0, slo_tpot: SloTpot = None, slo_e2e: SloE2e = 30.0,
    stream: Stream = True, label: Label = None, dry_run: OnlyDry = False, compare: Compare = None,
    store: RunStore = None, html: Html = None, csv: Csv = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure latency and throughput of each access method under load: time to first token (TTFT), time per
    output token (TPOT), time to the end (E2E) and goodput, each with its number of requests.

    It sends the prompts of the sweep's games, unless an option names others. It keeps no quota and tries no
    call twice, because it measures the server. If this client itself limits a stage, the stage has no
    figures, only the reason. If no request of a stage is answered, the method's further stages are not
    played, and the exit code is 3. The figures are in the tables bench_runs, bench_stages, bench_requests
    and, for a local server, engine_samples of the store.

    Example: lightbulb bench mine.toml --method llama/here --concurrency 1,8,64 --rates 2,8"""
    given: dict[str, Any] = {
        name: value for name, value in locals().items() if name in BenchOptions.__slots__
    }
    options = BenchOptions(**given)
    from harness.access.context import RunContext, default_store_path

    if compare is not None:
        _compare(compare, as_json=as_json)
        return
    if sweep is None:
        raise SpecError(
            "name a sweep file: lightbulb bench SWEEP.toml; or two runs: lightbulb bench --compare A B"
        )
    spec, plan = load(sweep), plan_of(options)
    context = RunContext(
        source=sweep, store=store or default_store_path(sweep, spec), environ=os.environ, notify=notify
    )
    if dry_run:
        _show_dry_run(spec, plan, context, as_json=as_json)
    else:
        _measure(spec, plan, context, html=html, csv=csv, as_json=as_json)


def _compare(runs: tuple[str, str], *, as_json: bool) -> None:
    from harness.commands.terminal import print_result
    from harness.loadtest.stored_runs import compare_runs
    from harness.report.loadtest_comparison import print_comparisons

    print_result(compare_runs(*runs), print_comparisons, as_json=as_json)


def _show_dry_run(spec: SweepSpec, plan: LoadTestPlan, context: RunContext, *, as_json: bool) -> None:
    from harness.commands.terminal import print_result
    from harness.loadtest.dry_run import dry_run
    from harness.report.loadtest import print_dry_run

    print_result(dry_run(spec, plan, context), print_dry_run, as_json=as_json)


def _measure(
    spec: SweepSpec,
    plan: LoadTestPlan,
    context: RunContext,
    *,
    html: Path | None,
    csv: Path | None,
    as_json: bool,
) -> None:
    from harness.core.event_loop import run_async
    from harness.loadtest.loadtest_sweep import loadtest_sweep

    refuse_missing_folders(html, csv)  # before a request is sent
    benches = run_async(lambda: loadtest_sweep(spec, plan, context))
    _show(benches, plan, context, html=html, csv=csv, as_json=as_json)
    if any(one.stopped is not None for one in benches):
        raise typer.Exit(FAILED)


def _show(
    benches: Sequence[MethodLoadTest],
    plan: LoadTestPlan,
    context: RunContext,
    *,
    html: Path | None,
    csv: Path | None,
    as_json: bool,
) -> None:
    from harness.core.plain_data import as_json as plain
    from harness.report.loadtest import print_loadtest
    from harness.report.loadtest_csv import summary_csv

    if as_json:
        print(json.dumps({"objective": plain(plan.objective), "methods": plain(tuple(benches))}))
    else:
        print_loadtest(benches, plan.objective, stdout_console())
    if html is not None:
        from harness.view.pages import bench_page

        write_page(html, bench_page(context.store, context.source.name, benches[0].run_id))
    if csv is not None:
        write_page(csv, summary_csv(benches))
