"""Divides the threads of a query server among its readers.

Knows nothing of queries. Keeps: a thread computes one step of one query at a time; one that becomes free goes
to the reader with the fewest threads, among equals to the one that waits longest; while somebody waits, a
query is stopped if its step has taken GIVE_WAY_S. So endless queries delay a reader by a few times GIVE_WAY_S
at most. To stop is the only way: DuckDB cannot pause a query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

GIVE_WAY_S = 5.0  # grouping a million calls takes a second or two
LOOK_PERIOD_S = 0.2


@dataclass(eq=False, slots=True)
class _Step:
    """A step that has a thread, since then. stop: stops its query; None: that may not be done."""

    reader: int
    since_s: float
    stop: Callable[[], None] | None


@dataclass(eq=False, slots=True)
class _Waiting:
    reader: int
    admitted: anyio.Event = field(default_factory=anyio.Event)


class ReaderPlaces:
    """See the module's header.

    threads      steps that are computed at once
    give_way_s   see GIVE_WAY_S"""

    def __init__(self, threads: int, *, give_way_s: float = GIVE_WAY_S) -> None:
        self._free = threads
        self._give_way_s = give_way_s
        self._steps: set[_Step] = set()
        self._queue: list[_Waiting] = []

    @asynccontextmanager
    async def held(self, reader: int, stop: Callable[[], None] | None) -> AsyncIterator[None]:
        """Holds a thread's place for one step; waits until there is one.

        reader   who asks: queries of one reader share its turns
        stop     stops the query of this step while others wait; None: it may not be stopped"""
        await self._wait(reader)
        step = _Step(reader, anyio.current_time(), stop)
        self._steps.add(step)
        try:
            yield
        finally:
            self._steps.discard(step)
            self._release()

    async def _wait(self, reader: int) -> None:
        if self._free:
            self._free -= 1
            return
        waiting = _Waiting(reader)
        self._queue.append(waiting)
        try:
            while not waiting.admitted.is_set():
                with anyio.move_on_after(LOOK_PERIOD_S):
                    await waiting.admitted.wait()
                self._stop_longest()
        except BaseException:
            if waiting.admitted.is_set():
                self._release()
            else:
                self._queue.remove(waiting)
            raise

    def _release(self) -> None:
        """Hands a free place to the next in the queue."""
        if not self._queue:
            self._free += 1
            return
        taken = [step.reader for step in self._steps]
        following = min(self._queue, key=lambda waiting: taken.count(waiting.reader))
        self._queue.remove(following)
        following.admitted.set()

    def _stop_longest(self) -> None:
        """Stops as many steps as turns wait, the longest first, if they have taken long enough."""
        if not self._queue:
            return
        latest_s = anyio.current_time() - self._give_way_s
        long = [step for step in self._steps if step.stop is not None and step.since_s <= latest_s]
        for step in sorted(long, key=lambda step: step.since_s)[: len(self._queue)]:
            assert step.stop is not None
            step.stop()
