"""What `lightbulb bench` found: for a terminal, and as a page. A stage that the client limited has its reason
in place of figures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.loadtest.loadtest_sweep import MethodBench
from harness.loadtest.metrics import Objective, StageResult
from harness.report.page import render, seconds
from harness.report.table import table

COLUMNS = (
    "offered", "requests/s", "goodput/s", "tokens out/s", "TTFT p50", "p99", "a token p50", "p99", "e2e p50", "p90", "p95", "p99",
    "waited here p99", "errors", "our CPU", "our lag",
)  # fmt: skip


def print_bench(benches: Sequence[MethodBench], objective: Objective, console: Console) -> None:
    """A line for each stage, the knee below; latencies count from the moment a request was due."""
    for one in benches:
        console.print(Text(one.method, style="bold"))
        console.print(table(COLUMNS, [cells(stage) for stage in one.stages]))
        for stage in one.stages:
            if stage.refused:
                console.print(
                    Text(f"{offered(stage)}: no figures: {stage.refused}.", style="yellow"), soft_wrap=True
                )
        console.print(knee_said(one), soft_wrap=True, highlight=False)
    console.print(objective_said(objective), soft_wrap=True, highlight=False)


def bench_page(benches: Sequence[MethodBench], objective: Objective, sweep: str) -> str:
    """The same as one HTML file."""
    return render(
        "bench.html.j2",
        sweep=sweep,
        parts=[
            (one, knee_said(one), [(cells(stage), stage.refused) for stage in one.stages]) for one in benches
        ],
        columns=COLUMNS,
        objective=objective_said(objective),
    )


def offered(stage: StageResult) -> str:
    return (
        f"{stage.stage.level:g} in flight"
        if stage.stage.loop == "closed"
        else f"{stage.stage.level:g} a second"
    )


def cells(stage: StageResult) -> tuple[str, ...]:
    """One line of the table; figures that are not the server's are not in it."""
    found = stage.figures
    own = (f"{stage.errors}", f"{100 * stage.cpu_share:.0f} %", seconds(stage.lag_s))
    if found is None:
        return (offered(stage), *["–"] * 12, *own)
    (p50, p90, p95, p99), waited = found.e2e_s, found.waited_s[3]
    return (
        offered(stage),
        f"{found.requests_per_s:.2f}",
        f"{found.goodput_per_s:.2f}",
        "–" if found.output_tokens_per_s is None else f"{found.output_tokens_per_s:.1f}",
        *_ends(found.ttft_s),
        *_ends(found.tpot_s),
        *map(seconds, (p50, p90, p95, p99, waited)),
        *own,
    )


def _ends(quantiles: tuple[float, ...]) -> tuple[str, str]:
    return (seconds(quantiles[0]), seconds(quantiles[3])) if quantiles else ("–", "–")


def knee_said(one: MethodBench) -> str:
    if one.knee is None:
        return "The knee: not known; it takes two stages of the closed loop with figures."
    return (
        f"The knee: {one.knee:g} in flight is the least that reaches nine tenths of the best throughput seen."
    )


def objective_said(objective: Objective) -> str:
    return (
        f"Goodput counts requests with a first piece within {objective.ttft_s:g} s and an end within {objective.e2e_s:g} s of the moment"
        " they were due."
    )
