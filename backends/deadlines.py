"""The deadlines of many requests, watched by one timer.

One timer per request would cost a request more than the rest of its deadlines, and limits of seconds or
minutes need no exact timer. So one check of all pending requests runs once a second, or ten times in the
shortest deadline. A request that is overdue at two checks in a row ends. After a pause of the event loop or
of the whole machine, the data that arrived meanwhile is read before the second check and counts. Knows no
HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

Limit = Literal["first_byte_s", "between_chunks_s", "timeout_s"]
CHECK_INTERVAL_S_MAX = 1.0  # the default deadlines are 15 s and more: at most 2 s late
CHECKS_PER_DEADLINE = 10  # so a short deadline is at most a fifth late


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Limits in seconds.

    connect_s         until a connection is made
    first_byte_s      from the request to the first byte of the answer's body
    between_chunks_s  between two pieces of the answer
    timeout_s         for the whole call"""

    connect_s: float = 15.0
    first_byte_s: float = 300.0
    between_chunks_s: float = 60.0
    timeout_s: float = 300.0


class DeadlineGuard:
    """The deadlines of one request: a context manager that raises TimeoutError once a deadline has passed.

    It may be entered again within itself: then the inner block raises, and the outer one keeps what came
    before. It works as asyncio.timeout does: it cancels the task, and turns the cancellation into a
    TimeoutError unless something else cancelled the task too.

    began_s  when it was made, by the event loop's clock
    limit    the deadline that applies now; after the end, the one that passed"""

    __slots__ = (
        "_cancelled_before",
        "_overdue",
        "_passed",
        "_pending",
        "_task",
        "began_s",
        "due_s",
        "limit",
        "over_s",
    )

    def __init__(
        self, pending: set[DeadlineGuard], task: asyncio.Task[object], now_s: float, deadlines: Deadlines
    ) -> None:
        self.limit: Limit = "first_byte_s"
        self.began_s = now_s
        self.due_s = now_s + deadlines.first_byte_s
        self.over_s = now_s + deadlines.timeout_s
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
        """Cancels the task if it is overdue and was overdue at the check before."""
        overdue_before, self._overdue = self._overdue, now_s >= min(self.due_s, self.over_s)
        if overdue_before and self._overdue:
            if self.over_s <= self.due_s:
                self.limit = "timeout_s"
            self._pending.discard(self)
            self._passed = True
            self._task.cancel()


class DeadlineTimer:
    """Watches the pending requests of one event loop."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        shortest_s = min(deadlines.first_byte_s, deadlines.between_chunks_s, deadlines.timeout_s)
        self._interval_s = min(CHECK_INTERVAL_S_MAX, shortest_s / CHECKS_PER_DEADLINE)
        self._loop = asyncio.get_running_loop()
        self._pending: set[DeadlineGuard] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> DeadlineGuard:
        """Returns the guard of a request that the current task is about to send."""
        task = asyncio.current_task(self._loop)
        assert task is not None, "requests are sent by tasks"
        now_s = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self._check)
        return DeadlineGuard(self._pending, task, now_s, self.deadlines)

    def piece_arrived(self, guard: DeadlineGuard) -> None:
        """Starts the limit between two pieces anew: a piece of the answer arrived."""
        guard.limit = "between_chunks_s"
        guard.due_s = self._loop.time() + self.deadlines.between_chunks_s

    def _check(self) -> None:
        now_s = self._loop.time()
        for guard in tuple(self._pending):
            guard.check(now_s)
        self._timer = self._loop.call_later(self._interval_s, self._check) if self._pending else None
