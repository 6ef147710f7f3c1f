"""Runs a sweep over its store: opens the store, prepares what is left to play, executes it, session after
session.

DuckDB reads a large store while Python imports what plays; both take about as long, so a thread does the
imports meanwhile. This module and harness/running/prepare.py therefore import nothing that only play needs.

Keeps: a store that this run made and in which nothing was begun is deleted again. What was committed
stays. Between two sessions the store is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import anyio

from harness.access.game_sets import game_sets
from harness.access.keys import read_keys
from harness.core.clock import RealClock
from harness.running.prepare import RunOptions, RunPlan, RunRequest, prepare
from harness.running.resume import draws_of
from harness.running.sessions import combined, wait_for_session
from harness.store.file import open_to_read, open_to_write
from harness.store.resuming import RunCounts, ended_in_runs
from harness.store.worker_stores import workers_folder

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.config.sweep import SweepSpec
    from harness.scheduler.shutdown import RunEnd


DEFAULTS = RunOptions()


async def run_sweep(spec: SweepSpec, context: RunContext, options: RunOptions = DEFAULTS) -> RunEnd:
    """Plays what the store does not hold yet, through the access methods that can be reached. A seating that
    is stopped before the end of a session plays no further session in this run: by a closed gate, by a
    budget, or because its workers end before any episode is finished. Engines that do not fit on this machine
    together take turns, each for a whole session.

    raises  SpecError: before anything is played, if no method can be reached; StoreError"""
    clock = RealClock()
    async with _worker_stores_merged(context):
        request = RunRequest(
            spec=spec,
            context=context,
            sets=game_sets(spec, context.source, draws=draws_of(context.store)),
            keys=read_keys(spec, source=context.source, environ=context.environ),
            clock=clock,
            options=options,
        )
        with _deleted_unless_begun(context.store) as begun:
            ends: dict[str, RunEnd] = {}  # by run_id
            course, failed_before = _Course(context.notify), 0
            while True:
                with open_to_write(context.store, notify=context.notify) as connection:
                    with _imports_beside():
                        plan = prepare(
                            request,
                            connection,
                            first_session=course.session,
                            left_out=course.stopped,
                            had_turn=course.had_turn,
                            used_s=course.used_s,
                        )
                    if not ends:
                        failed_before = plan.stored.failed
                    elif not plan.lanes:
                        return _whole(ends, plan, failed_before, pending=plan.left_elsewhere)
                    may_begin = plan.begins_at <= clock.wall()
                    if may_begin:
                        from harness.running.execute import execute

                        end = await execute(plan, context, connection, clock=clock, begun=begun)
                if not may_begin:
                    if await wait_for_session(plan, context, clock):
                        continue
                    pending = plan.left + plan.left_elsewhere
                    return _whole(ends, plan, failed_before, pending=pending, interrupted=True)
                ends[plan.run_id] = end
                if options.workers is not None:
                    ends = await _as_stored(ends, context)
                    end = ends[plan.run_id]
                if (plan.is_last and not end.again) or end.interrupted:
                    pending = end.pending + plan.left_elsewhere
                    return _whole(ends, plan, failed_before, pending=pending)
                course.advance(plan, end)


class _Course:
    """Says what a run plays next.

    session   the sessions before it are played
    stopped   seatings that play no further in this run
    had_turn  seatings that have had their turn in this session
    used_s    seconds of a budget's wall_s that were used of what is played on"""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.session = 0
        self.stopped: set[str] = set()
        self.had_turn: set[str] = set()
        self.used_s = 0.0
        self._notify = notify

    def advance(self, plan: RunPlan, end: RunEnd) -> None:
        """Takes how the playing of a plan ended."""
        lanes = {lane.name for lane in plan.lanes}
        self.stopped |= end.closings.keys()
        self.used_s = end.used_s if end.again else 0.0
        if not end.again:
            self.had_turn = self.had_turn | lanes if plan.waiting else set()
            self.session = plan.session if plan.waiting else plan.session + 1
        elif not end.finished:  # nor would any if it were played again; failed ones may be, again and again
            self._notify("no episode finished before its worker ended; what is left stays pending")
            self.stopped |= lanes


@asynccontextmanager
async def _worker_stores_merged(context: RunContext) -> AsyncIterator[None]:
    """Takes in what workers of an earlier run have stored; after the block, what those of this run have."""
    await _merge_worker_stores(context)
    yield
    await _merge_worker_stores(context)


async def _merge_worker_stores(context: RunContext) -> None:
    """Takes in what workers of this run, or of one that was killed, have stored."""
    if workers_folder(context.store).exists():
        from harness.running.workers import merge_worker_stores  # slow to load, and rarely needed

        await merge_worker_stores(context)


async def _as_stored(ends: Mapping[str, RunEnd], context: RunContext) -> dict[str, RunEnd]:
    """Returns the ends with the numbers of episodes that the workers' stores hold. The coordinator does not
    know all of these: an episode may have ended after a worker's last report, or its rows were lost with the
    worker. An episode that failed and was played again counts for the last of its plays."""
    await _merge_worker_stores(context)
    with open_to_read(context.store) as connection:
        counts = ended_in_runs(connection, list(ends))
    return {run_id: _counted(end, counts[run_id]) for run_id, end in ends.items()}


def _counted(end: RunEnd, counts: RunCounts) -> RunEnd:
    failed = sum(counts.failures.values())
    return replace(
        end,
        finished=counts.finished,
        failed=failed,
        pending=end.finished + end.failed + end.pending - counts.finished - failed,
        failures=tuple(counts.failures.items()),
    )


def _whole(
    ends: Mapping[str, RunEnd], plan: RunPlan, failed_before: int, *, pending: int, interrupted: bool = False
) -> RunEnd:
    """Returns the end of a run.

    plan     the last one
    pending  what it leaves; if failed episodes are played again, those that failed in this run before it was
             made are among them, and count as failed only"""
    if plan.request.options.retry_failed:
        pending -= sum(end.failed for run_id, end in ends.items() if run_id != plan.run_id)
    return combined(
        tuple(ends.values()), failed_before=failed_before, pending=max(0, pending), interrupted=interrupted
    )


@contextmanager
def _deleted_unless_begun(store: Path) -> Iterator[anyio.Event]:
    """Gives an event to set once the run has begun; deletes a store that the block made if it is not set."""
    made, begun = not store.exists(), anyio.Event()
    try:
        yield begun
    finally:
        if made and not begun.is_set():
            store.unlink(missing_ok=True)


@contextmanager
def _imports_beside() -> Iterator[None]:
    """Imports what plays in a thread while the block runs; the thread has ended when the block is left."""
    thread = Thread(target=_import_what_plays, name="imports")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import_what_plays() -> None:
    import_module("backends.http")  # loads TLS certificates, too
    import_module("harness.running.execute")
