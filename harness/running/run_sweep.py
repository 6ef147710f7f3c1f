"""Runs a sweep over its store: opens the store, prepares what is left to play, then executes it.

DuckDB reads a large store while Python imports what plays; both take about as long, so a thread does the
imports meanwhile. This module and harness/running/prepare.py therefore import nothing that only play needs.

Keeps: a store that this run made and in which nothing was begun is deleted again. What was committed
stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

import anyio

from harness.access.game_sets import game_sets
from harness.access.keys import read_keys
from harness.core.clock import RealClock
from harness.running.prepare import prepare
from harness.store.file import open_to_write

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.config.sweep import SweepSpec
    from harness.scheduler.shutdown import RunEnd


async def run_sweep(spec: SweepSpec, context: RunContext, *, retry_failed: bool = False) -> RunEnd:
    """Plays what the store does not hold yet.

    raises  SpecError, EngineError: before anything is played; StoreError"""
    sets = game_sets(spec, context.source)
    keys = read_keys(spec, source=context.source, environ=context.environ)
    clock, begun = RealClock(), anyio.Event()
    made = not context.store.exists()
    try:
        with open_to_write(context.store, say=context.notify) as connection:
            with _imports_beside():
                plan = prepare(
                    spec, context, connection, sets=sets, keys=keys, clock=clock, retry_failed=retry_failed
                )
            from harness.running.execute import execute

            return await execute(plan, context, connection, clock=clock, begun=begun)
    finally:
        if made and not begun.is_set():
            context.store.unlink(missing_ok=True)


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
