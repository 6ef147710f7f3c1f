"""Workers in the test's own process: everything of a run with workers but the processes. Messages are
pickled, as those of Ray are."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import anyio

from harness.access.game_sets import items_of
from harness.cluster.messages import Report, ToWorker, WorkerSetup
from harness.cluster.worker import Worker
from harness.cluster.worker_pool import StartWorker, WorkerHandle
from harness.core.clock import RealClock
from harness.core.errors import WorkerDied
from harness.core.vocabulary import EpisodePlan


class LocalWorker:
    """A worker on the test's event loop.

    dies_after   it ends when it would report more ended episodes; None: never
    dies_of      it ends when it is to play such an episode
    took         is called when its report is there"""

    def __init__(
        self,
        setup: WorkerSetup,
        *,
        dies_after: int | None,
        dies_of: Callable[[EpisodePlan], bool],
        took: Callable[[Report], None],
    ) -> None:
        self.name = setup.store.stem
        self._instances = items_of(setup.sets)
        self._worker = Worker(pickle.loads(pickle.dumps(setup)), clock=RealClock())
        self._left = dies_after
        self._dies_of = dies_of
        self._took = took
        self._scope = anyio.CancelScope()

    async def play(self) -> None:
        with self._scope:
            await self._worker.play()

    async def exchange(self, message: ToWorker) -> Report:
        if any(self._dies_of(one.plan(self._instances)) for one in message.assignments):
            self._die()
        report: Report = pickle.loads(
            pickle.dumps(await self._worker.exchange(pickle.loads(pickle.dumps(message))))
        )
        self._took(report)
        if self._left is not None:
            self._left -= len(report.ended)
            if self._left < 0:
                self._die()
        return report

    def _die(self) -> NoReturn:
        self.stop()
        raise WorkerDied("the process was killed")

    def wake(self) -> None:
        self._worker.wake()

    def stop(self) -> None:
        self._scope.cancel()


@dataclass
class LocalWorkers:
    """Starts workers; `open_workers` is what a run takes.

    dies_after   (number of a worker, from 1, over all runs) -> see LocalWorker
    dies_of      see LocalWorker
    before       is called before a worker starts
    reports      of all workers, in order"""

    size: int
    dies_after: Callable[[int], int | None] = lambda number: None
    dies_of: Callable[[EpisodePlan], bool] = lambda plan: False
    before: Callable[[WorkerSetup], object] = lambda setup: None
    setups: list[WorkerSetup] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    @asynccontextmanager
    async def open_workers(self) -> AsyncIterator[tuple[int, StartWorker]]:
        async def start(setup: WorkerSetup) -> WorkerHandle:
            self.setups.append(setup)
            self.before(setup)
            return LocalWorker(
                setup,
                dies_after=self.dies_after(len(self.setups)),
                dies_of=self.dies_of,
                took=self.reports.append,
            )

        yield self.size, start
