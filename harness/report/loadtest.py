"""The results of `lightbulb bench` for a terminal: tables for each access method, and sentences.

A stage that the client limited shows the reason. Percentiles from too few requests are not shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from harness.loadtest.distributions import Distribution
from harness.loadtest.dry_run import DryRun
from harness.loadtest.ladder import MethodLoadTest
from harness.loadtest.levels import LevelResult
from harness.loadtest.metrics import Objective, StageResult
from harness.loadtest.run_comparison import LevelComparison
from harness.report.page import seconds
from harness.report.table import table

THROUGHPUT = (
    "load", "repeats", "requests", "errors", "offered/s", "requests/s", "95 % interval", "goodput/s",
    "output tokens/s", "in flight", "prompt tokens", "output tokens", "cached", "client CPU", "client delay",
)  # fmt: skip
LATENCY = ("load", "of", "n", "mean", "sd", "p50", "p90", "p95", "p99", "max")
TURNS = ("load", "turn", "n", "TTFT mean", "p50", "p90", "p99", "prompt tokens", "cached")
MISSING = "–"


def print_loadtest(benches: Sequence[MethodLoadTest], objective: Objective, console: Console) -> None:
    """Prints the tables of each method, then what they mean."""
    for one in benches:
        console.print(Text(f"{one.method} ({one.run_id})", style="bold"))
        console.print(table(THROUGHPUT, [throughput_cells(level, one) for level in one.levels]))
        if latencies := [row for level in one.levels for row in latency_rows(level)]:
            console.print(table(LATENCY, latencies, left=2))
        if turns := [row for level in one.levels for row in turn_rows(level)]:
            console.print(table(TURNS, turns))
        for line in warnings(one):
            console.print(Text(line, style="yellow"), soft_wrap=True)
        for line in sentences(one):
            console.print(line, soft_wrap=True, highlight=False)
    console.print(objective_text(objective), soft_wrap=True, highlight=False)
    console.print(PERCENTILE_TEXT, soft_wrap=True, highlight=False)


def load_text(level: LevelResult | LevelComparison) -> str:
    """Returns the load of a level for a column."""
    if level.loop == "closed":
        return f"{level.level:g} in flight"
    return f"{level.level:g} a second" if level.loop == "open" else f"trace x {level.level:g}"


def throughput_cells(level: LevelResult, one: MethodLoadTest) -> tuple[str, ...]:
    """Returns one line of the first table."""
    stages = stages_of(level, one)
    offered = [stage.saturation.offered_per_s for stage in stages if stage.saturation is not None]
    metrics, interval = level.figures, level.intervals.get("requests_per_s")
    ends = (
        f"[{interval.low:.3g}, {interval.high:.3g}]"
        if interval is not None and interval.low is not None and interval.high is not None
        else MISSING
    )
    return (
        load_text(level),
        f"{level.repeats}",
        f"{sum(stage.answered for stage in stages)}",
        f"{sum(stage.errors for stage in stages)}",
        number(sum(offered) / len(offered) if offered else None),
        number(metrics.requests_per_s if metrics else None),
        ends,
        number(metrics.goodput_per_s if metrics else None),
        number(metrics.output_tokens_per_s if metrics else None),
        number(metrics.in_flight if metrics else None),
        number(metrics.prompt_tokens.mean if metrics else None),
        number(metrics.completion_tokens.mean if metrics else None),
        percent(metrics.cached_share if metrics else None),
        percent(max(stage.cpu_share for stage in stages)),
        seconds(max(stage.lag_s for stage in stages)),
    )


def latency_rows(level: LevelResult) -> Iterator[tuple[str, ...]]:
    """Yields the lines of the second table."""
    metrics = level.figures
    if metrics is None:
        return
    measures = (
        ("TTFT", metrics.ttft_s),
        ("TPOT", metrics.tpot_s),
        ("ITL", metrics.itl_s),
        ("E2E", metrics.e2e_s),
        ("client wait", metrics.waited_s),
    )
    for name, values in measures:
        if values.n:
            yield (load_text(level), name, *_distribution_cells(values))


def _distribution_cells(values: Distribution) -> tuple[str, ...]:
    shown = (values.mean, values.sd, values.p50, values.p90, values.p95, values.p99, values.max)
    return (f"{values.n}", *map(seconds, shown))


def turn_rows(level: LevelResult) -> Iterator[tuple[str, ...]]:
    """Yields the lines of the third table, which sessions have: a line for each turn of their games, or for
    several late ones."""
    for turn in level.figures.by_turn if level.figures is not None else ():
        ttft = turn.ttft_s
        yield (
            load_text(level),
            f"{turn.turn + 1}" if turn.turn == turn.last else f"{turn.turn + 1}-{turn.last + 1}",
            f"{ttft.n}",
            *map(seconds, (ttft.mean, ttft.p50, ttft.p90, ttft.p99)),
            number(turn.prompt_tokens.mean),
            percent(turn.cached_share),
        )


def stages_of(level: LevelResult, one: MethodLoadTest) -> list[StageResult]:
    return [
        stage for stage in one.stages if (stage.stage.loop, stage.stage.level) == (level.loop, level.level)
    ]


def warnings(one: MethodLoadTest) -> Iterator[str]:
    """Yields why stages have no figures, why requests failed, what limits the others, and why the test
    stopped."""
    for stage in one.stages:
        name = stage.stage.load + (f", repeat {stage.stage.repeat + 1}" if stage.stage.repeat else "")
        if stage.refused:
            yield f"{name}: no figures: {stage.refused}."
        elif stage.window.steady is False:
            yield f"{name}: {stage.window.note}."
        if stage.failure is not None:
            sent = stage.answered + stage.errors
            yield f"{name}: {stage.errors} of {sent} requests failed, most often with {stage.failure}"
        if stage.saturation is not None and stage.saturation.saturated:
            found = stage.saturation
            yield (
                f"{name}: saturated: {found.offered_per_s:.3g} requests a second were offered and "
                f"{found.achieved_per_s:.3g} answered; {found.in_flight_from} waited at the start of the window and "
                f"{found.in_flight_to} at its end. Latencies grow as long as this load lasts."
            )
    if one.stopped is not None:
        yield f"Stopped: {one.stopped}"


def sentences(one: MethodLoadTest) -> Iterator[str]:
    """Yields the windows, the server's own figures, and the knee."""
    for stage in one.stages:
        if stage.figures is not None:
            yield f"Window of {stage.stage.load}: {stage.window.note}."
        if stage.server is not None:
            yield f"The server at {stage.stage.load}: {server_text(stage)}."
    yield from finding_texts(one)


def server_text(stage: StageResult) -> str:
    server = stage.server
    assert server is not None
    parts = [
        f"{number(server.running.mean)} requests running and {number(server.waiting.mean)} waiting on average"
        f" ({number(server.waiting.max)} at most)"
    ]
    if server.cache_use.n:
        parts.append(f"KV cache {percent(server.cache_use.max)} full at most")
    if server.prefix_hit_share is not None:
        parts.append(
            f"{percent(server.prefix_hit_share)} of the looked-up prompt tokens were in its prefix cache"
        )
    return ", ".join(parts)


def finding_texts(one: MethodLoadTest) -> Iterator[str]:
    """Yields what the levels show: the knee, or that it was not reached; the finding of a search."""
    if one.knee is not None:
        yield (
            f"The knee is at {one.knee:g} calls in flight: the smallest number that reaches nine tenths of the best "
            "throughput, with a level beyond it."
        )
    elif one.rising_at is not None:
        yield (
            f"No knee was reached: throughput still rises at {one.rising_at:g} calls in flight. Measure higher levels."
        )
    elif any(level.loop == "closed" for level in one.levels):
        yield "The knee is unknown, because it needs two levels of the closed loop with figures."
    if (found := one.highest) is None:
        return
    if found.level is None:
        yield f"No level kept the goal; the lowest that was tried is {found.failed_at:g}."
    elif found.failed_at is None:
        yield f"The goal is kept at {found.level:g}, the highest level that was tried."
    else:
        yield f"The goal is kept up to {found.level:g}; {found.failed_at:g} does not keep it."


def objective_text(objective: Objective) -> str:
    bounds = (
        (objective.ttft_s, "first chunk came within {:g} s"),
        (objective.tpot_s, "further tokens took at most {:g} s each"),
        (objective.e2e_s, "last chunk came within {:g} s"),
    )
    words = [words.format(bound) for bound, words in bounds if bound is not None]
    return (
        f"Goodput counts the requests whose {' and whose '.join(words)}. "
        "TTFT and E2E start at the moment when the request was due."
    )


PERCENTILE_TEXT = (
    "A percentile is shown if about ten values lie beyond it: p50 from n = 20, p90 100, p95 200, p99 1,000. n counts "
    "requests; of ITL it counts the gaps between chunks."
)


def number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.0f} %"


def print_dry_run(plan: Sequence[DryRun], console: Console) -> None:
    """Prints what a load test would send."""
    for one in plan:
        console.print(Text(one.method, style="bold"))
        rows = [
            (
                planned.stage.load,
                f"{planned.stage.repeat + 1}",
                MISSING if planned.stage.requests is None else f"{planned.stage.requests}",
                MISSING if planned.seconds is None else seconds(planned.seconds),
            )
            for planned in one.stages
        ]
        if rows:
            console.print(table(("load", "repeat", one.unit, "time"), rows))
        console.print(dry_run_text(one), soft_wrap=True, highlight=False)


def dry_run_text(one: DryRun) -> str:
    if one.requests is None:
        return "The number of requests is not known beforehand: a search chooses the levels, or time bounds the stages."
    words = f"{one.requests} {one.unit} in all, and {one.warm_up} requests before the first stage"
    if one.prompt_tokens is not None and one.output_tokens is not None:
        words += f"; about {one.prompt_tokens:,.0f} prompt tokens and at most {one.output_tokens:,.0f} output tokens"
    cost = "no price is known" if one.cost_usd is None else f"at most about {one.cost_usd:.4f} US dollars"
    return f"{words}; {cost}. Nothing was sent."
