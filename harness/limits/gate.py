"""The door of one access method.

Knows how many calls may be in flight; nothing of games, episodes or HTTP.
Keeps: at most `window` calls in flight. Of the turns that wait, the one with the longest episode ahead goes first. A call that
waits for another try holds no place in the window, and is counted so that no new episode takes its work for a lack of work.
Once closed, it lets nobody in and tells everyone who waits why.
Does not promise: fairness between gates; they do not know each other."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from harness.core.errors import GateClosing


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatistics:
    """A snapshot. calls: answered so far, well or badly; resting: those that wait for another try."""

    calls: int
    in_flight: int
    waiting: int
    resting: int
    window: int
    closed: str | None


@dataclass(slots=True, order=True)
class _Ticket:
    """A turn that waits; sorts by longest remainder, then by arrival."""

    rank: float
    number: int
    called: anyio.Event = field(compare=False)
    admitted: bool = field(default=False, compare=False)
    left: bool = field(default=False, compare=False)


class Gate:
    """See the module's header. `on_event(kind, detail)` hears of every change of mind."""

    def __init__(self, name: str, *, window: int, on_event: Callable[[str, str], None]) -> None:
        self.name = name
        self._window = window
        self._on_event = on_event
        self._queue: list[_Ticket] = []
        self._numbers = 0
        self._waiting = 0
        self._in_flight = 0
        self._calls = 0
        self._resting = 0
        self._closed: GateClosing | None = None
        self._hunger = anyio.Event()

    # --- turns ----------------------------------------------------------------------------------------------------------------

    async def enter(self, remainder: float) -> None:
        """Waits for a place in the window; the turn with the most turns ahead of its episode goes first.

        raises  GateClosing once the gate is closed"""
        if self._closed:
            raise self._refusal()
        if self._in_flight < self._window and not self._waiting:
            self._in_flight += 1
            return
        self._numbers += 1
        ticket = _Ticket(-remainder, self._numbers, anyio.Event())
        heapq.heappush(self._queue, ticket)
        self._waiting += 1
        try:
            await ticket.called.wait()
        except BaseException:
            if ticket.admitted:
                self.leave()
            else:
                ticket.left = True
                self._waiting -= 1
            raise
        if not ticket.admitted:
            raise self._refusal()

    def leave(self) -> None:
        """Gives the place back and calls the next turn."""
        self._calls += 1
        self._in_flight -= 1
        while self._queue and self._in_flight < self._window:
            ticket = heapq.heappop(self._queue)
            if ticket.left:
                continue
            self._waiting -= 1
            self._in_flight += 1
            ticket.admitted = True
            ticket.called.set()
        self._feel_hunger()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Around the pause before another try: outside the window, still work to come."""
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1
            self._feel_hunger()

    # --- episodes -------------------------------------------------------------------------------------------------------------

    async def wait_hungry(self) -> None:
        """Until the turns at hand no longer suffice to keep the window full.

        raises  GateClosing once the gate is closed"""
        while not self.hungry:
            if self._hunger.is_set():
                self._hunger = anyio.Event()
            await self._hunger.wait()
        if self._closed:
            raise self._refusal()

    @property
    def hungry(self) -> bool:
        """Fewer turns are ready, or soon will be, than a quarter of the window. A closed gate is hungry: come and be told."""
        return self._closed is not None or self._waiting + self._resting < max(1, self._window // 4)

    def _feel_hunger(self) -> None:
        if self.hungry:
            self._hunger.set()

    # --- the end --------------------------------------------------------------------------------------------------------------

    def close(self, reason: GateClosing) -> None:
        """Nobody enters any more; those who wait are told. What is in flight comes home. The first reason stands."""
        if self._closed:
            return
        self._closed = reason
        self._on_event("closed", str(reason))
        for ticket in self._queue:
            if not ticket.left:
                self._waiting -= 1
                ticket.called.set()
        self._queue.clear()
        self._feel_hunger()

    def _refusal(self) -> GateClosing:
        """A fresh copy of the reason: one exception raised in a thousand tasks would collect a thousand tracebacks."""
        assert self._closed is not None
        return type(self._closed)(str(self._closed), status=self._closed.status, request_id=self._closed.request_id)

    @property
    def closed(self) -> GateClosing | None:
        return self._closed

    def statistics(self) -> GateStatistics:
        return GateStatistics(
            calls=self._calls,
            in_flight=self._in_flight,
            waiting=self._waiting,
            resting=self._resting,
            window=self._window,
            closed=str(self._closed) if self._closed else None,
        )
