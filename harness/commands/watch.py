"""The commands watch init and watch run: access methods watched by one-token calls."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.arguments import AsJson, SweepFile, load
from harness.commands.terminal import DIFFERENT, FAILED, notify, print_result

Panel = Annotated[
    Path | None,
    typer.Option(help="The file with the panels; default: SWEEP.watch.json in the folder of the sweep file."),
]
Store = Annotated[
    Path | None,
    typer.Option(
        help="The DuckDB file; default: NAME.watch.duckdb in the folder of the sweep file, with the sweep's name."
    ),
]

watches = typer.Typer(
    help="Watch access methods by at most 200 one-token calls a day.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@watches.command("init")
def watch_init(
    sweep: SweepFile,
    panel: Panel = None,
    calls: Annotated[
        int, typer.Option(help="Send at most this many one-token calls to each method.", min=30, max=3000)
    ] = 3000,
    seed: Annotated[int, typer.Option(help="The seed that chooses the prompts that are tried.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Choose each method's prompts.

    The command looks for the prompts that show a change of an access method best, and writes them into a
    file, the panel: prompts whose answers at temperature 0 are not all equal; without these, prompts whose
    two most likely first tokens have nearly the same probability; without these, random prompts.

    Example: lightbulb watch init mine.toml"""
    from harness.access.context import RunContext
    from harness.core.event_loop import run_async
    from harness.watching.panel import refuse_unwritable, write_panels
    from harness.watching.watch_sweep import init_watch

    spec = load(sweep)
    target = panel or _default_panel(sweep)
    context = RunContext(
        source=sweep, store=_default_store(sweep, spec.name), environ=os.environ, notify=notify
    )
    refuse_unwritable(target)
    methods = sum(part.bots is None for _, part in spec.methods().values())
    notify(f"at most {methods * calls:,} one-token calls in all; access methods: {methods}")
    found = run_async(lambda: init_watch(spec, context, calls_max=calls, seed=seed))
    if found.panels:
        write_panels(target, found.panels)
    for one in found.panels:
        if as_json:
            print(json.dumps(asdict(one)))
        else:
            print(one.sentence)
    for failure in found.failures:
        notify(failure)
    spent = sum(one.calls for one in found.panels)
    if found.panels:
        named = f" --panel {target}" if panel else ""
        notify(f"{spent:,} calls; the panel is in {target}. Every day: lightbulb watch run {sweep}{named}")
    raise typer.Exit(FAILED if found.failures or not found.panels else 0)


@watches.command("run")
def watch_run(
    sweep: SweepFile,
    panel: Panel = None,
    store: Store = None,
    days_mean: Annotated[
        float, typer.Option(help="Mean number of days between two false alarms.", min=4, max=100_000)
    ] = 365.0,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit with 5 if a change is reported on this day.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the prompts, and compare the days.

    The command sends each access method the prompts of its panel, keeps the answers in a store, and compares
    them with those of earlier days. Run it once a day, by cron or a timer. All calls of one date (UTC) are
    one day.

    Example: lightbulb watch run mine.toml --fail-on-difference"""
    from harness.access.context import RunContext
    from harness.analysis.store_watch import date_of, store_watch
    from harness.core.event_loop import run_async
    from harness.report.drift import print_drift
    from harness.watching.panel import read_panels
    from harness.watching.watch_sweep import play_watch_day

    spec = load(sweep)
    panels = read_panels(panel or _default_panel(sweep))
    context = RunContext(
        source=sweep, store=store or _default_store(sweep, spec.name), environ=os.environ, notify=notify
    )
    played = run_async(lambda: play_watch_day(spec, context, panels))
    for day in played:
        if day.failed or not day.calls:
            notify(f"{day.method}: {day.failed} of {day.calls} calls failed: {day.why}")
    if all(day.failed == day.calls for day in played):
        raise typer.Exit(FAILED)  # there is no day to compare
    notify(f"{sum(day.calls for day in played):,} one-token calls; the answers are in {context.store}")
    found = store_watch(context.store, days_mean=days_mean)
    print_result(found, print_drift, as_json=as_json)
    answered = {
        day.method: date_of(day.check_at)
        for day in played
        if day.check_at is not None and day.failed < day.calls  # others have no day today
    }
    days = [
        (answered[one.replies.method], day)
        for one in found
        if one.replies.method in answered
        for day in one.replies.days
    ]
    if later := sorted({day.label for today, day in days if day.label > today}):
        notify(
            f"{context.store} has calls of {', '.join(later)}, after today: the clock of this machine is wrong, or was "
            "then. Each day is compared with those of earlier dates"
        )
    if fail_on_difference and any(day.alarm for today, day in days if day.label == today):
        raise typer.Exit(DIFFERENT)
    raise typer.Exit(FAILED if any(2 * day.failed >= day.calls for day in played) else 0)


def _default_panel(sweep: Path) -> Path:
    return sweep.with_suffix(".watch.json")


def _default_store(sweep: Path, name: str) -> Path:
    return sweep.parent / f"{name}.watch.duckdb"
