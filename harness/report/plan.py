"""A plan for a terminal: the answer first, in words, then a line for each access method."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.planning.results import MethodPlan, Span, SweepPlan, duration_text, pace_text
from harness.report.table import table
from harness.report.text import escape_control

COLUMNS = (
    "method",
    "episodes",
    "calls",
    "tokens in",
    "tokens out",
    "cost",
    "time [80 %]",
    "limits most used",
    "time saved without this method",
)


def print_plan(plan: SweepPlan, console: Console) -> None:
    """Prints time, cost and bottleneck, warnings, a table of the methods, and the sources of the figures."""
    low, high = duration_text(plan.wall.low), duration_text(plan.wall.high)
    took = f"{duration_text(plan.wall.value)} (80 % interval: {low} to {high})"
    console.print(Text(f"{escape_control(plan.name)}: {took}", style="bold"))
    if plan.sessions > 1:
        whole = duration_text(plan.wall.value + plan.gaps_s)
        gaps = f"{plan.sessions - 1} gaps of {duration_text(plan.gaps_s / (plan.sessions - 1))}"
        console.print(f"With {gaps} between its {plan.sessions} sessions: {whole} in all.", highlight=False)
    if len(plan.turns_of) > 1:
        console.print(
            f"The engines take {len(plan.turns_of)} turns, because they do not fit on this machine together.",
            highlight=False,
        )
    if plan.starts_s:
        console.print(f"In addition, the engines need {duration_text(plan.starts_s)} more.", highlight=False)
    cost = ""
    if plan.cost_usd is not None:
        unpriced = " (without the methods that have no price)" if plan.unpriced else ""
        cost = f", {plan.cost_usd:,.2f} US dollars{unpriced}"
    console.print(
        f"{plan.episodes:,} episodes, {plan.turns:,} turns, {plan.calls:,} calls,"
        f" {plan.prompt_tokens:,} tokens in, {plan.reply_tokens:,} tokens out{cost}",
        highlight=False,
    )
    console.print(f"Slowest method: {escape_control(plan.summary)}.", highlight=False)
    for warning in plan.warnings:
        console.print(Text(f"Warning: {escape_control(warning)}", style="yellow"))
    console.print()
    console.print(table(COLUMNS, [_row(method) for method in plan.methods]))
    console.print()
    for method in plan.methods:
        if method.method != plan.bottleneck:
            console.print(escape_control(pace_text(method)), highlight=False)
    where = "the stores" if plan.trial_s is None else "the trial"
    for line in sorted({_sources(method, where) for method in plan.methods}):
        console.print(escape_control(line), highlight=False)
    if plan.trial_s is not None:
        console.print(f"The trial took {duration_text(plan.trial_s)}.", highlight=False)
    if (calls := plan.calls_span) is not None:
        console.print(
            f"Samples of the trial give {calls.value:,.0f} calls on average (80 % interval: {calls.low:,.0f} to"
            f" {calls.high:,.0f}).",
            highlight=False,
        )
    size = (
        "the whole sweep" if plan.scale == 1.0 else f"a sweep that is up to {plan.scale:,.0f} times smaller"
    )
    simulations = f"{plan.seeds} simulation{'s' * (plan.seeds > 1)}"
    console.print(
        f"These figures come from {simulations} of {size}, with {plan.simulated:,} calls in all.",
        highlight=False,
    )


def _row(method: MethodPlan) -> tuple[object, ...]:
    return (
        method.method,
        f"{method.episodes:,}",
        f"{method.calls:,}",
        f"{method.prompt_tokens:,}",
        f"{method.reply_tokens:,}",
        None if method.cost_usd is None else f"{method.cost_usd:,.2f}",
        _time(method.wall),
        ", ".join(f"{use.limit} {use.share:.0%}" for use in method.uses[:2]),
        duration_text(method.saved_s) if method.saved_s >= 1.0 else "none",
    )


def _time(wall: Span) -> str:
    if wall.low == wall.high:
        return duration_text(wall.value)
    return f"{duration_text(wall.value)} [{duration_text(wall.low)}, {duration_text(wall.high)}]"


_LENGTHS = {
    "method": "this method's episodes in {}",
    "model": "this model's episodes in {}",
    "bots": "episodes that bots play",
}


def _sources(method: MethodPlan, where: str) -> str:
    """Returns where the figures of a method come from. where: its episodes were played."""
    known = sorted(method.lengths.items(), key=lambda pair: -pair[1])
    lengths = " and ".join(
        _LENGTHS[source].format(where) + ("" if len(known) == 1 else f" ({share:.0%})")
        for source, share in known
    )
    return f"{method.method}: lengths are based on {lengths}, speeds on {method.pace_source}"
