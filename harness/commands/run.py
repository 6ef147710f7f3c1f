"""The commands run and demo: they play a sweep of the user's, or the demonstration."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from harness.commands.arguments import AsJson, RunStore, SweepFile, load
from harness.commands.terminal import BUDGET, FAILED, close_quietly, notify, program, stderr_console
from harness.core.errors import SpecError
from harness.core.startup import INTERRUPTED

if TYPE_CHECKING:
    from harness.cluster.worker_pool import OpenWorkers
    from harness.config.sweep import SweepSpec
    from harness.progress.views import Emit
    from harness.running.prepare import RunOptions
    from harness.scheduler.shutdown import RunEnd


WorkerCount = Annotated[
    int | None,
    typer.Option(
        help="The number of processes that play: on this machine, or on the cluster of --ray. Needs Ray.",
        min=1,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Play on the Ray cluster at this address: in one process for each of its cores, or in --workers.",
    ),
]


def demo(
    folder: Annotated[
        Path, typer.Option(help="The folder for the sweep file, its store, the report and the servers' logs.")
    ] = Path("lightbulb-demo"),
) -> None:
    """Play a demonstration: a small real model plays two games through two access methods. Then print its
    scores and verdicts and write a report. It needs no key and no GPU.

    Example: lightbulb demo --folder /tmp/demo"""
    from backends.local.engine_kinds import engine_kind
    from backends.local.environments import install
    from backends.local.machine import this_machine
    from harness.analysis.store_audit import store_audit, store_scores
    from harness.commands.audit import write_store_page
    from harness.commands.demo_sweep import choose_engine, next_store, write_sweep
    from harness.report.audit_tables import print_audit, print_scores
    from harness.running.prepare import RunOptions
    from harness.running.resume import episodes_lacking

    console = stderr_console()
    machine = this_machine()
    sweep, is_former = write_sweep(
        folder, lambda: choose_engine(lambda name: install(engine_kind(name, machine), notify), notify)
    )
    spec = load(sweep)
    store = next_store(
        folder, lambda path: episodes_lacking(spec, source=sweep, store=path), is_former=is_former
    )
    code = _play(spec, sweep, store, RunOptions())
    if code == INTERRUPTED:
        raise typer.Exit(code)
    print_scores(store_scores(store), console)
    console.print()
    print_audit(store_audit(store, reference=None, margin=None), console)
    page = store.with_suffix(".html")
    write_store_page(page, store)
    console.print(
        f"\nThe report, with every transcript: {page.resolve().as_uri()}", highlight=False, soft_wrap=True
    )
    console.print(f"The same as a live page: {program()} view {store}", highlight=False, soft_wrap=True)
    console.print(f"\nThe store is {store}. Three queries to try:\n", highlight=False)
    for query in (
        "SELECT method, outcome, count(*) FROM scores GROUP BY ALL ORDER BY ALL",
        "FROM calls_by_method",
        "SELECT reason, count(*) FROM scores GROUP BY ALL ORDER BY 2 DESC",
    ):
        console.print(f'  {program()} sql {store} "{query}"', highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def run(
    sweep: SweepFile,
    store: RunStore = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also play failed episodes of earlier runs again.")
    ] = False,
    all_or_nothing: Annotated[
        bool,
        typer.Option(
            "--all-or-nothing",
            help="Play nothing if one of the access methods cannot be reached; default: play the others.",
        ),
    ] = False,
    engines: Annotated[
        int | None,
        typer.Option(
            help="How many local engines run at the same time; default: as many as memory and cores allow.",
            min=1,
        ),
    ] = None,
    workers: WorkerCount = None,
    ray: RayAddress = None,
    as_json: AsJson = False,
    view: Annotated[
        bool, typer.Option("--view", help="Also serve a live page of the run, and print its address.")
    ] = False,
) -> None:
    """Play a sweep. To resume, run the same command again: it plays the episodes that are not in the store
    yet.

    With --json, each line of stdout is an event, a JSON object: "progress" comes every second and has the
    figures of the live table; "said" has a line that is printed without --json; "end" comes last and has the
    counts of episodes and the exit code.

    Example: lightbulb run bench/sweeps/bots.toml --store /tmp/bots.duckdb"""
    from harness.core.event_loop import rare_collections

    with rare_collections():  # a start makes many objects, and nearly all of them stay
        from harness.access.context import default_store_path
        from harness.commands.view import page_beside
        from harness.running.prepare import RunOptions

        spec = load(sweep)
        path = store or default_store_path(sweep, spec)
        options = RunOptions(
            retry_failed=retry_failed,
            all_or_nothing=all_or_nothing,
            engines_max=engines,
            workers=_workers(workers, ray, spec, view=view),
        )
        with page_beside(path) if view else nullcontext():
            code = _play(spec, sweep, path, options, emit=partial(_emit, sys.stdout) if as_json else None)
        raise typer.Exit(code)


def _workers(count: int | None, address: str | None, spec: SweepSpec, *, view: bool) -> OpenWorkers | None:
    """Returns what starts the workers that are asked for.

    raises  SpecError if they cannot play this sweep, or Ray is not installed"""
    if count is None and address is None:
        return None
    from harness.cluster.ray_workers import ray_workers, refuse_without_ray
    from harness.running.workers import refuse_on_cluster

    if view:
        raise SpecError(
            "--view shows only episodes in the store, and the episodes of workers are written into the store when"
            " the run ends; leave out --view, or play without workers"
        )
    if address is not None:
        refuse_on_cluster(spec)
    refuse_without_ray()
    return partial(ray_workers, address, size=count)


def _emit(stdout: TextIO, event: Mapping[str, object]) -> None:
    try:
        print(json.dumps(event), file=stdout, flush=True)
    except BrokenPipeError:
        close_quietly(stdout)
        notify("the output pipe was closed; the run continues, but writes no more events")


def _play(
    spec: SweepSpec,
    sweep: Path,
    store: Path,
    options: RunOptions,
    *,
    emit: Emit | None = None,
) -> int:
    """Plays the sweep, says how it ended, and returns the exit code.

    sweep  the sweep file
    emit   takes events for machines"""
    from harness.access.context import RunContext
    from harness.core.event_loop import run_async
    from harness.running.run_sweep import run_sweep

    def notify_both(line: str) -> None:
        notify(line)
        if emit is not None:
            emit({"event": "said", "text": line})

    context = RunContext(
        source=sweep, store=store, environ=os.environ, notify=notify_both, live=sys.stderr.isatty(), emit=emit
    )

    async def played() -> RunEnd:
        try:
            return await run_sweep(spec, context, options)
        finally:  # the run no longer handles signals, and a loop that closes cannot stand an interrupt
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    resume = f"{program()} {shlex.join(['run', str(sweep), '--store', str(store)])}"
    try:
        end = run_async(played)
    except KeyboardInterrupt:  # before the run handled signals, or after: every answered call is stored
        notify(f"interrupted; continue with: {resume}")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the summary is left to print
    code = _report_end(end, store, resume=resume, retrying=options.retry_failed)
    if emit is not None:
        counts = {"finished": end.finished, "failed": end.failed, "pending": end.pending}
        emit({"event": "end", **counts, "exit_code": code})
    return code


def _report_end(end: RunEnd, store: Path, *, resume: str, retrying: bool) -> int:
    played = f"{end.finished} episodes finished, {end.failed} failed, {end.pending} pending; "
    notify(f"{played if end.finished or end.failed or end.pending else ''}the store is {store}")
    for method, why in end.closings.items():
        count = end.unplayed[method]
        unplayed = "1 episode was" if count == 1 else f"{count:,} episodes were"
        notify(f"{method}: {unplayed} not played. Reason: {why}")
    for why, count in end.failures:
        notify(f"{count} episodes failed: {why}" if count != 1 else f"1 episode failed: {why}")
    if end.finished or end.failed:
        _print_results(store)
    if end.finished:
        _warn_of_methods_that_only_abort(store)
        _warn_of_replies(store)
    if end.failed:
        notify(f"to play the failed episodes again: {resume} --retry-failed")
    go_on = f"{resume} --retry-failed" if retrying else resume
    if end.interrupted:
        notify(f"interrupted; continue with: {go_on}")
        return INTERRUPTED
    if end.budget and not end.failed:
        notify(f"stopped by its budget; raise the budget, then continue with: {go_on}")
        return BUDGET
    if end.pending:
        correct = "correct the errors, then " if end.closings else ""
        notify(f"{correct}continue with: {go_on}")
    return FAILED if end.failed or end.pending else 0


def _print_results(store: Path) -> None:
    """Prints what the store now holds of each access method: scores, cost, time, errors."""
    from harness.report.run_end import result_lines
    from harness.store.file import open_to_read
    from harness.store.report_queries import method_results

    width = get_terminal_size((500, 24)).columns if sys.stderr.isatty() else 500
    with open_to_read(store) as connection:
        for line in result_lines(method_results(connection), width=width):
            notify(line)


def _warn_of_replies(store: Path) -> None:
    """Names signs in the last run's replies that a method is set up wrongly, each with its remedy."""
    from harness.core.reply_problems import reply_problems
    from harness.store.file import open_to_read
    from harness.store.reader import reply_counts

    with open_to_read(store) as connection:
        for method, counts in reply_counts(connection).items():
            for problem in reply_problems(counts):
                notify(f"{method}: {problem}")


def _warn_of_methods_that_only_abort(store: Path) -> None:
    """Names methods whose every episode was aborted: the usual cause is a wrong set-up, not the model."""
    from harness.store.file import open_to_read
    from harness.store.reader import nothing_but_aborts

    with open_to_read(store) as connection:
        for method, episodes, reason, episode in nothing_but_aborts(connection):
            notify(
                f"{method}: all {episodes} episodes were aborted. The most frequent reason: {reason}. To see an example:"
                f" {program()} show {store} {episode}"
            )
