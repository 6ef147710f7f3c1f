"""A plan as a terminal shows it: the answer first, in words, then a line for each access method."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from harness.planning.results import MethodPlan, Span, SweepPlan
from harness.report.table import table
from harness.report.text import escape_control

COLUMNS = (
    "method",
    "episodes",
    "calls",
    "tokens in",
    "out",
    "cost",
    "time [80 %]",
    "most used",
    "without it",
)


def print_plan(
    plan: SweepPlan,
    console: Console,
    *,
    spoken: Callable[[float], str],
    in_words: Callable[[MethodPlan], str],
) -> None:
    """spoken   seconds as a person says them;  in_words  what sets a method's pace"""
    low, high = spoken(plan.wall.low), spoken(plan.wall.high)
    console.print(
        Text(f"{escape_control(plan.name)}: {spoken(plan.wall.value)} [{low} to {high}]", style="bold")
    )
    cost = (
        ""
        if plan.cost_usd is None
        else f", {plan.cost_usd:,.2f} US dollars{' and what has no price' if plan.unpriced else ''}"
    )
    console.print(
        f"{plan.episodes:,} episodes, {plan.turns:,} turns, {plan.calls:,} calls, {plan.prompt_tokens:,} tokens in,"
        f" {plan.reply_tokens:,} out{cost}",
        highlight=False,
    )
    console.print(f"What takes longest is {escape_control(plan.summary)}.", highlight=False)
    for warning in plan.warnings:
        console.print(Text(f"Warning: {escape_control(warning)}", style="yellow"))
    console.print()
    console.print(table(COLUMNS, [_row(method, spoken) for method in plan.methods]))
    console.print()
    for method in plan.methods:
        if method.method != plan.bottleneck:
            console.print(escape_control(in_words(method)), highlight=False)
    for line in sorted({_sources(method) for method in plan.methods}):
        console.print(escape_control(line), highlight=False)
    how = "the whole sweep" if plan.scale == 1.0 else f"a sweep up to {plan.scale:,.0f} times smaller"
    console.print(
        f"From {plan.simulated:,} simulated calls of {how}, {plan.seeds} seed{'s' * (plan.seeds > 1)}.",
        highlight=False,
    )


def _row(method: MethodPlan, spoken: Callable[[float], str]) -> tuple[object, ...]:
    return (
        method.method,
        f"{method.episodes:,}",
        f"{method.calls:,}",
        f"{method.prompt_tokens:,}",
        f"{method.reply_tokens:,}",
        None if method.cost_usd is None else f"{method.cost_usd:,.2f}",
        _time(method.wall, spoken),
        ", ".join(f"{use.limit} {use.share:.0%}" for use in method.uses[:2]),
        f"-{spoken(method.saved_s)}" if method.saved_s >= 1.0 else "same",
    )


def _time(wall: Span, spoken: Callable[[float], str]) -> str:
    return (
        spoken(wall.value)
        if wall.low == wall.high
        else f"{spoken(wall.value)} [{spoken(wall.low)}, {spoken(wall.high)}]"
    )


_LENGTHS = {
    "method": "its own calls in the stores",
    "model": "the model's calls in the stores",
    "bots": "bots' plays",
}


def _sources(method: MethodPlan) -> str:
    lengths = " and ".join(
        f"{_LENGTHS[source]} ({share:.0%})"
        for source, share in sorted(method.lengths.items(), key=lambda one: -one[1])
    )
    return f"{method.method}: lengths from {lengths}; speed from {method.pace_source}"
