"""Joins a run to its workers: starts them, and takes their stores into the run's own.

Each worker writes a store in a folder beside the run's store. Keeps: these stores are merged when the run
ends, or before the next run reads the store if this one was killed or ended with an error; each is deleted
only once its rows are in the store. Merging again what was merged adds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from harness.access.connect import LiveMethods
from harness.cluster.messages import RouteSetup, WorkerSetup
from harness.cluster.worker import TOKEN
from harness.cluster.worker_pool import PoolParts, WorkerHandle, WorkerPool, worker_pool
from harness.core.errors import SpecError, StoreDamaged, StoreInUse
from harness.core.records import Record
from harness.running.merge_stores import merge_stores
from harness.store.file import open_to_write
from harness.store.worker_stores import workers_folder

if TYPE_CHECKING:
    from harness.access.context import RunContext
    from harness.config.sweep import SweepSpec
    from harness.running.prepare import RunPlan

ENDS_WITHIN_S = 30.0  # a worker whose coordinator was killed closes its store within so long
TRIED_EVERY_S = 0.2


def refuse_on_cluster(spec: SweepSpec) -> None:
    """raises  SpecError if a method's server runs on this machine, where workers elsewhere cannot reach it"""
    local = [
        name
        for name, (_, part) in spec.methods().items()
        if part.engine is not None or part.emulator is not None
    ]
    if local:
        raise SpecError(
            f"--ray: {', '.join(local)}: this machine serves the method, and workers on other machines cannot"
            " reach it. Start its server by itself, with `lightbulb engine` or `lightbulb emulate`, and name its"
            " address as base_url; or use --workers alone"
        )


@asynccontextmanager
async def workers_of(
    plan: RunPlan,
    context: RunContext,
    live: LiveMethods,
    rows: Sequence[Record],
    parts: Callable[[int, Callable[[str], Awaitable[WorkerHandle]]], PoolParts],
) -> AsyncIterator[WorkerPool]:
    """Gives a pool of workers that play this plan.

    rows   the run's opening rows
    parts  (number of workers, how one is started) -> what the pool works with"""
    open_workers = plan.request.options.workers
    assert open_workers is not None
    folder = workers_folder(context.store)
    folder.mkdir(exist_ok=True)
    token = token_hex(16)
    (folder / TOKEN).write_text(token, "utf-8")
    async with open_workers() as (size, start):
        context.notify(f"starting {size} workers")
        setup = _setup(plan, context, live, rows, size=size, token=token)

        async def start_worker(name: str) -> WorkerHandle:
            return await start(replace(setup, store=folder / f"{plan.run_id}-{name}.duckdb"))

        async with worker_pool(parts(size, start_worker)) as made:
            yield made


def _setup(
    plan: RunPlan, context: RunContext, live: LiveMethods, rows: Sequence[Record], *, size: int, token: str
) -> WorkerSetup:
    return WorkerSetup(
        store=context.store,
        source=context.source.absolute(),
        spec=plan.spec,
        sets=plan.sets,
        keys=plan.request.keys,
        run_id=plan.run_id,
        routes=tuple(
            RouteSetup(
                method=replace(
                    route.method,
                    requests_per_second_max=route.method.requests_per_second_max
                    and route.method.requests_per_second_max / size,
                ),
                gate=route.gate.name,
                account=tuple(gate.name for gate in route.account),
                alone=route.alone,
                sole=route.sole,
                key_users=route.key_users,
            )
            for route in live.routes.values()
        ),
        rows=tuple(rows),
        counts_soon=bool(plan.scopes) or plan.early_stopping is not None,
        token=token,
    )


async def merge_worker_stores(context: RunContext) -> None:
    """Merges the stores of workers into the run's store, and deletes them.

    raises  SpecError if the run's store is gone; StoreInUse if a worker still writes; StoreError"""
    folder = workers_folder(context.store)
    with anyio.CancelScope(shield=True):
        files = await anyio.to_thread.run_sync(sorted, folder.glob("*.duckdb"))
        try:
            for path in files:
                await _until_closed(path)
            await anyio.to_thread.run_sync(_merge, files, context)
        except StoreDamaged as error:
            raise StoreDamaged(
                f"{error}. {folder} has the stores of workers of a run that did not end; to go on without the rows of a"
                " damaged one, delete its file"
            ) from error


async def _until_closed(path: Path) -> None:
    """Brings a worker's rows into its file; waits while the worker ends."""
    tries = round(ENDS_WITHIN_S / TRIED_EVERY_S)
    for left in reversed(range(tries)):
        try:
            await anyio.to_thread.run_sync(_checkpoint, path)
            return
        except StoreInUse:
            if not left:
                raise
            await anyio.sleep(TRIED_EVERY_S)


def _checkpoint(path: Path) -> None:
    with open_to_write(path) as connection:
        connection.execute("CHECKPOINT")


def _merge(files: Sequence[Path], context: RunContext) -> None:
    store, folder = context.store, workers_folder(context.store)
    if files and not store.exists():
        raise SpecError(
            f"{folder}: holds episodes of a run whose store {store} is gone; delete this folder too, or bring the"
            " store back"
        )
    if files:
        merge_stores(files, store, notify=context.notify)
    rmtree(folder)
