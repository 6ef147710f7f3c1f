"""The deadlines of many requests, kept by one timer.

A timer for each costs a request more than all else that its deadlines need, and whoever waits for minutes need not be punctual: one look
at all that are under way, once a second or ten times in the shortest deadline, finds those whose time is over, and the next one ends
them, unless they were heard of in between: after a loop, or the whole machine, stood still, what came meanwhile counts. Knows no HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

Limit = Literal["first_byte_s", "between_chunks_s", "timeout_s"]
CHECK_INTERVAL_S_MAX = 1.0
CHECKS_PER_DEADLINE = 10  # in the shortest deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: to a connection; from the request to the answer's first byte; between two of its pieces; for the whole call."""

    connect_s: float = 15.0
    first_byte_s: float = 300.0
    between_chunks_s: float = 60.0
    timeout_s: float = 300.0


class DeadlineGuard:
    """One request's, to be held with `with` around what is waited for: TimeoutError leaves it once a deadline has passed. Held again
    within, it ends there, and is watched no longer: what came before is kept.

    As asyncio.timeout does it: the task is cancelled, and unless somebody else cancelled it too its end is made a TimeoutError.

    limit   the deadline it waits under, and in the end the one that passed"""

    __slots__ = (
        "_cancelled_before",
        "_overdue",
        "_passed",
        "_pending",
        "_task",
        "due_s",
        "limit",
        "over_s",
    )

    def __init__(
        self, pending: set[DeadlineGuard], task: asyncio.Task[object], due_s: float, over_s: float
    ) -> None:
        self.limit: Limit = "first_byte_s"
        self.due_s = due_s
        self.over_s = over_s
        self._pending = pending
        self._task = task
        self._cancelled_before = task.cancelling()
        self._overdue = False
        self._passed = False

    def __enter__(self) -> None:
        self._pending.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._pending.discard(self)
        if self._passed:
            self._passed = False
            if self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def check(self, now_s: float) -> None:
        """Ends it if its time is over, and was at the look before."""
        overdue_before, self._overdue = self._overdue, now_s >= min(self.due_s, self.over_s)
        if overdue_before and self._overdue:
            if self.over_s <= self.due_s:
                self.limit = "timeout_s"
            self._pending.discard(self)
            self._passed = True
            self._task.cancel()


class DeadlineTimer:
    """The requests under way. To be used in one event loop only."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        shortest_s = min(deadlines.first_byte_s, deadlines.between_chunks_s, deadlines.timeout_s)
        self._interval_s = min(CHECK_INTERVAL_S_MAX, shortest_s / CHECKS_PER_DEADLINE)
        self._loop = asyncio.get_running_loop()
        self._pending: set[DeadlineGuard] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> DeadlineGuard:
        """For a request that this task is about to send."""
        task = asyncio.current_task(self._loop)
        assert task is not None, "requests are sent by tasks"
        now_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self._check)
        return DeadlineGuard(
            self._pending, task, now_s + self.deadlines.first_byte_s, now_s + self.deadlines.timeout_s
        )

    def piece_arrived(self, wait: DeadlineGuard) -> None:
        """A piece of the answer came."""
        wait.limit = "between_chunks_s"
        wait.due_s = self._loop.time() + self.deadlines.between_chunks_s

    def _check(self) -> None:
        now_s = self._loop.time()
        for wait in tuple(self._pending):
            wait.check(now_s)
        self._timer = self._loop.call_later(self._interval_s, self._check) if self._pending else None
