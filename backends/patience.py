"""The deadlines of many requests, kept by one timer.

A timer for each costs a request more than all else that its deadlines need, and whoever waits for minutes need not be punctual: one look
at all that are under way, once a second or ten times in the shortest deadline, ends those whose time is over. Knows no HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

Limit = Literal["first_byte_s", "between_chunks_s", "timeout_s"]
LOOK_S_MAX = 1.0
LOOKS = 10  # in the shortest deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds: to a connection; from the request to the answer's first byte; between two of its pieces; for the whole call."""

    connect_s: float = 15.0
    first_byte_s: float = 300.0
    between_chunks_s: float = 60.0
    timeout_s: float = 300.0


class Wait:
    """One request's.

    scope   around what is waited for: TimeoutError leaves it once a deadline has passed
    limit   the deadline it waits under, and in the end the one that passed"""

    __slots__ = ("due_s", "limit", "over_s", "scope")

    def __init__(self, due_s: float, over_s: float) -> None:
        self.limit: Limit = "first_byte_s"
        self.due_s = due_s
        self.over_s = over_s
        self.scope = asyncio.timeout(None)

    def anew(self) -> asyncio.Timeout:
        """A scope of its own for what comes next: what was waited for until now is kept, should that fail."""
        self.scope = asyncio.timeout(None)
        return self.scope


class Patience:
    """The requests under way. To be used in one event loop only."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        shortest_s = min(deadlines.first_byte_s, deadlines.between_chunks_s, deadlines.timeout_s)
        self._look_s = min(LOOK_S_MAX, shortest_s / LOOKS)
        self._loop = asyncio.get_running_loop()
        self._under_way: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Wait:
        """A request is about to be sent; hand it back when it is over, however it went."""
        now_s = self._loop.time()
        wait = Wait(now_s + self.deadlines.first_byte_s, now_s + self.deadlines.timeout_s)
        self._under_way.add(wait)
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_s, self._look)
        return wait

    def heard(self, wait: Wait) -> None:
        """A piece of the answer came."""
        wait.limit = "between_chunks_s"
        wait.due_s = self._loop.time() + self.deadlines.between_chunks_s

    def end(self, wait: Wait) -> None:
        self._under_way.discard(wait)

    def _look(self) -> None:
        now_s = self._loop.time()
        for wait in [wait for wait in self._under_way if now_s >= min(wait.due_s, wait.over_s)]:
            if wait.over_s <= wait.due_s:
                wait.limit = "timeout_s"
            self._under_way.discard(wait)
            wait.scope.reschedule(now_s)
        self._timer = self._loop.call_later(self._look_s, self._look) if self._under_way else None
