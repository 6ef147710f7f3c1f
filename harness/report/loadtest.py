"""The results of `lightbulb bench` for a terminal and as a page. A stage that the client limited shows the
reason."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.loadtest.loadtest_sweep import MethodLoadTest
from harness.loadtest.metrics import Objective, StageResult
from harness.report.page import render, seconds
from harness.report.table import table

COLUMNS = (
    "offered", "requests/s", "goodput/s", "tokens out/s", "TTFT p50", "p99", "a token p50", "p99",
    "e2e p50", "p90", "p95", "p99",
    "client wait p99", "errors", "client CPU", "client delay",
)  # fmt: skip


def print_loadtest(benches: Sequence[MethodLoadTest], objective: Objective, console: Console) -> None:
    """Prints a line for each stage, then the knee."""
    for one in benches:
        console.print(Text(one.method, style="bold"))
        console.print(table(COLUMNS, [cells(stage) for stage in one.stages]))
        for stage in one.stages:
            if stage.refused:
                console.print(
                    Text(f"{offered(stage)}: no figures: {stage.refused}.", style="yellow"), soft_wrap=True
                )
        console.print(knee_text(one), soft_wrap=True, highlight=False)
    console.print(objective_text(objective), soft_wrap=True, highlight=False)


def loadtest_page(benches: Sequence[MethodLoadTest], objective: Objective, sweep: str) -> str:
    """Returns the same as one HTML page."""
    return render(
        "bench.html.j2",
        sweep=sweep,
        parts=[
            (one, knee_text(one), [(cells(stage), stage.refused) for stage in one.stages]) for one in benches
        ],
        columns=COLUMNS,
        objective=objective_text(objective),
    )


def offered(stage: StageResult) -> str:
    return (
        f"{stage.stage.level:g} in flight"
        if stage.stage.loop == "closed"
        else f"{stage.stage.level:g} a second"
    )


def cells(stage: StageResult) -> tuple[str, ...]:
    """Returns one line of the table; a stage that the client limited has no metrics in it."""
    metrics = stage.figures
    own = (f"{stage.errors}", f"{100 * stage.cpu_share:.0f} %", seconds(stage.lag_s))
    if metrics is None:
        return (offered(stage), *["–"] * 12, *own)
    (p50, p90, p95, p99), waited = metrics.e2e_s, metrics.waited_s[3]
    return (
        offered(stage),
        f"{metrics.requests_per_s:.2f}",
        f"{metrics.goodput_per_s:.2f}",
        "–" if metrics.output_tokens_per_s is None else f"{metrics.output_tokens_per_s:.1f}",
        *_ends(metrics.ttft_s),
        *_ends(metrics.tpot_s),
        *map(seconds, (p50, p90, p95, p99, waited)),
        *own,
    )


def _ends(quantiles: tuple[float, ...]) -> tuple[str, str]:
    return (seconds(quantiles[0]), seconds(quantiles[3])) if quantiles else ("–", "–")


def knee_text(one: MethodLoadTest) -> str:
    if one.knee is None:
        return "The knee is unknown, because it needs two stages of the closed loop with figures."
    return (
        f"The knee is at {one.knee:g} calls in flight: the smallest number that reaches nine tenths of the best "
        "throughput."
    )


def objective_text(objective: Objective) -> str:
    return (
        f"Goodput counts the requests whose first chunk came within {objective.ttft_s:g} s and whose last chunk "
        f"came within {objective.e2e_s:g} s. Both times start at the moment when the request was due."
    )
