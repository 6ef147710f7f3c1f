"""Starts workers with Ray, on this machine or on a cluster, and carries their messages.

The only file that imports Ray. Keeps: a Ray that is started here has no dashboard, sends no usage
statistics, and ends with the run. Keys travel in a message to the worker's process, and are not part of
what Ray keeps to start it again. Does not promise: that nobody else can reach Ray's processes, which listen
on all addresses of the machine and ask for a token; or that a worker whose machine cannot be reached has
ended."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread

from harness.cluster.messages import Report, ToWorker, WorkerSetup
from harness.cluster.worker import Worker
from harness.cluster.worker_pool import StartWorker, WorkerHandle
from harness.core.clock import RealClock
from harness.core.errors import SpecError, WorkerDied
from harness.core.event_loop import rare_collections

MISSING = "workers need Ray, which is not installed; install it with: pip install 'lightbulb[ray]'"
CALLS_AT_ONCE = 4  # of one worker: play, exchange, wake


def refuse_without_ray() -> None:
    """raises  SpecError if Ray is not installed"""
    try:
        import_module("ray")
    except ModuleNotFoundError as error:
        raise SpecError(MISSING) from error


@asynccontextmanager
async def ray_workers(address: str | None, *, size: int | None) -> AsyncIterator[tuple[int, StartWorker]]:
    """Gives the number of workers, and a function that starts one, for as long as the block lasts.

    address  of a cluster that runs; None: this machine
    size     number of workers; None: as many as the cluster has cores
    raises   SpecError if the cluster cannot be reached"""
    ray = import_module("ray")  # slow to load, and an extra
    with redirect_stdout(sys.stderr):  # stdout is for events, and Ray prints there why a process ended
        try:
            await anyio.to_thread.run_sync(partial(_connect, ray, address, size))
            cores = int(ray.cluster_resources().get("CPU", 0))
            if cores < (size or 1):
                raise SpecError(
                    f"the Ray cluster has {cores} cores, and {size or 'the'} workers need one each; ask for fewer"
                    " with --workers, or add nodes"
                )
            actor = ray.remote(_Actor).options(
                max_concurrency=CALLS_AT_ONCE,
                num_cpus=1,
                scheduling_strategy="SPREAD",
                enable_task_events=False,  # nobody looks at Ray's record of every message
            )

            async def start_worker(setup: WorkerSetup) -> WorkerHandle:
                return _RayWorker(ray, actor.remote(), setup)

            yield size or cores, start_worker
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(ray.shutdown)


def _connect(ray: Any, address: str | None, size: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    common = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(num_cpus=size, include_dashboard=False, **common)
        else:
            ray.init(address=address, **common)
    except Exception as error:  # Ray raises plain ones when a process of its own does not start in time
        cluster = "on this machine" if address is None else f"of --ray {address}"
        raise SpecError(f"Ray {cluster} cannot be used: {error}; the same command tries again") from error


def _packed(message: ToWorker | Report) -> bytes:
    """Returns a message as bytes. Ray's own pickler needs twice the time for a thousand small objects."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


class _Actor:
    """The process of a worker."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._came = anyio.Event()

    async def play(self, setup: WorkerSetup) -> None:
        with rare_collections():
            self._worker = Worker(setup, clock=RealClock())
            self._came.set()
            await self._worker.play()

    async def exchange(self, message: bytes) -> bytes:
        await self._came.wait()
        assert self._worker is not None
        return _packed(await self._worker.exchange(pickle.loads(message)))

    async def wake(self) -> None:
        if self._worker is not None:
            self._worker.wake()


class _RayWorker:
    """See WorkerHandle."""

    def __init__(self, ray: Any, actor: Any, setup: WorkerSetup) -> None:
        self._ray = ray
        self._actor = actor
        self._setup = setup

    async def play(self) -> None:
        await self._answer(self._actor.play.remote(self._setup))

    async def exchange(self, message: ToWorker) -> Report:
        report: Report = pickle.loads(await self._answer(self._actor.exchange.remote(_packed(message))))
        return report

    def wake(self) -> None:
        self._actor.wake.remote()

    def stop(self) -> None:
        self._ray.kill(self._actor)

    async def _answer(self, promised: Any) -> Any:
        try:
            return await promised
        except self._ray.exceptions.RayActorError as error:
            raise WorkerDied(str(error).strip().splitlines()[0]) from error
