"""A gate of a worker, which leases places and calls from the coordinator's gate. See leases.py.

Does for calls what Gate does, and decides no limit itself. Knows the clock; nothing of how messages travel:
it says when it has something to tell, `request` takes that out, and `take` brings the answer. Keeps: a call
is sent no later than LEASE_S after its admission; one that comes too late is given back, and its turn waits
again. A call that ends hands on its place only while the coordinator allows it, and not after a refusal or
missing service until the coordinator has answered."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from harness.core.errors import GateClosing
from harness.core.protocols import Clock
from harness.limits.admission import Admission, CallResult, GateStatistics
from harness.limits.estimates import CallCost, Estimates
from harness.limits.leases import LEASE_S, EndedCall, Haste, LeaseAnswer, LeaseRequest, WaitingTurn
from harness.limits.waits import NO_WAIT, WaitTimes

SPARSE = 64  # turns in the queue that wait no more; a longer queue is made again if they are half of it
NO_HEADERS: dict[str, str] = {}  # the usual empty mapping cannot be pickled


@dataclass(slots=True, eq=False)
class _Waiting:
    """A turn that waits.

    place   the number of its place once it has one, to be used until `until_s`
    left    it waits no more"""

    turn: WaitingTurn
    called: anyio.Event = field(default_factory=anyio.Event)
    place: int | None = None
    until_s: float = float("inf")
    waited: WaitTimes = NO_WAIT
    left: bool = False


class LeasedGate:
    """See the module's header.

    on_news(haste)   is called when `request` has something to tell, with when the coordinator should know"""

    def __init__(self, name: str, *, clock: Clock, on_news: Callable[[Haste], None]) -> None:
        self.name = name
        self.estimates = Estimates()
        self.usual_failures = 0.0
        self.closed: GateClosing | None = None
        self._clock = clock
        self._on_news = on_news
        self._numbers = 0
        self._calls = 0
        self._in_flight = 0
        self._resting = 0
        # a heap: the longest remainder first, then the order of arrival
        self._queue: list[tuple[float, int, _Waiting]] = []
        self._waiting: dict[int, _Waiting] = {}
        self._spare: deque[tuple[int, float]] = deque()  # places without a call, and since when
        self._free = False
        self._is_full = False  # a turn gets a place only when a call of this worker ends
        self._served_s = float("-inf")
        self._closing = anyio.Event()
        # what the coordinator does not know yet
        self._turns: dict[int, WaitingTurn] = {}
        self._left: dict[int, None] = {}
        self._served: list[int] = []
        self._ended: list[EndedCall] = []
        self._notes: list[tuple[str, str]] = []
        self._reason: GateClosing | None = None
        self._known_resting = 0

    # --- calls ----------------------------------------------------------------------------------------------

    async def enter(self, remainder: float, cost: CallCost) -> Admission:
        """Waits for a place and the quotas; see Gate.enter.

        raises  GateClosing once the gate is closed"""
        while True:
            if self.closed:
                raise self.closed.copied()
            if self._spare and self._free:
                number, _ = self._spare.pop()
                return self._admission(number, cost, NO_WAIT)
            waiting = self._wait(remainder, cost)
            try:
                await waiting.called.wait()
            except BaseException:
                self._stop_waiting(waiting)
                raise
            if waiting.place is None:
                assert self.closed is not None
                raise self.closed.copied()
            if self._clock.now() <= waiting.until_s:
                return self._admission(waiting.place, cost, waiting.waited)
            self._return(waiting.place)

    def _wait(self, remainder: float, cost: CallCost) -> _Waiting:
        self._numbers += 1
        waiting = _Waiting(WaitingTurn(self._numbers, remainder, cost))
        self._waiting[self._numbers] = waiting
        self._turns[self._numbers] = waiting.turn
        if len(self._queue) > SPARSE + 2 * len(self._waiting):
            self._queue = [entry for entry in self._queue if not entry[2].left]
            heapq.heapify(self._queue)
        heapq.heappush(self._queue, (-remainder, self._numbers, waiting))
        self._on_news(self._haste)
        return waiting

    def _stop_waiting(self, waiting: _Waiting) -> None:
        if waiting.place is not None:
            self._return(waiting.place)
        elif not waiting.left:
            self._withdraw(waiting)

    def _withdraw(self, waiting: _Waiting) -> None:
        """Takes back the request for a turn."""
        waiting.left = True
        number = waiting.turn.number
        del self._waiting[number]
        if self._turns.pop(number, None) is None:
            self._left[number] = None
            self._on_news(self._haste)

    def _admission(self, place: int, cost: CallCost, waited: WaitTimes) -> Admission:
        self._in_flight += 1
        return Admission(cost, self._clock.now(), self._in_flight, self._calls, cost, waited, place)

    def leave(self, admission: Admission, answer: CallResult) -> None:
        """Reports the end of a call with the next message, and hands on its place if that is allowed."""
        self._calls += 1
        self._in_flight -= 1
        failed = answer.kind in ("limited", "unserved")
        if failed:
            self._free = self._is_full = False
        kept = self._free and self.closed is None
        if kept and answer.kind == "clean" and not answer.headers:
            self._served.append(admission.place)
        else:
            headers = dict(answer.headers) if answer.headers else NO_HEADERS
            self._ended.append(EndedCall(admission.place, answer._replace(headers=headers), kept))
        if kept:
            self._use(admission.place)
        self._on_news("now" if failed else self._haste)

    def _use(self, place: int) -> None:
        """Gives a place to the turn with the longest remainder, or keeps it for the next one."""
        while self._queue:
            _, _, waiting = heapq.heappop(self._queue)
            if not waiting.left:
                self._withdraw(waiting)
                waiting.place = place
                waiting.called.set()
                return
        self._spare.append((place, self._clock.now()))
        self._on_news("soon")

    def _return(self, place: int) -> None:
        """Gives back a place in which nothing was sent."""
        self._ended.append(EndedCall(place, None))
        self._on_news("soon")

    @property
    def _haste(self) -> Haste:
        return "later" if self._is_full else "soon"

    async def rest(self, seconds: float) -> None:
        """Pauses before another try; see Gate.rest.

        raises  GateClosing as soon as the gate is closed"""
        self._resting += 1
        self._on_news("soon")
        try:
            with anyio.move_on_after(seconds):
                await self._closing.wait()
        finally:
            self._resting -= 1
            self._on_news("soon")
        if self.closed:
            raise self.closed.copied()

    # --- messages -------------------------------------------------------------------------------------------

    def request(self) -> LeaseRequest | None:
        """Returns what the coordinator does not know yet, with the places that were spare for long; None if
        there is nothing."""
        idle_since_s = self._clock.now() - LEASE_S
        while self._spare and (self._spare[0][1] <= idle_since_s or not self._free):
            self._ended.append(EndedCall(self._spare.popleft()[0], None))
        news = self._turns or self._left or self._served or self._ended or self._notes or self._reason
        if not news and self._resting == self._known_resting:
            return None
        request = LeaseRequest(
            turns=tuple(self._turns.values()),
            left=tuple(self._left),
            served=tuple(self._served),
            ended=tuple(self._ended),
            resting=self._resting,
            notes=tuple(self._notes),
            closing=self._reason,
        )
        for reported in (self._turns, self._left, self._served, self._ended, self._notes):
            reported.clear()
        self._known_resting, self._reason = self._resting, None
        return request

    @property
    def has_spare(self) -> bool:
        """Returns whether places have no call, so that `request` will give them back."""
        return bool(self._spare)

    def take(self, answer: LeaseAnswer) -> None:
        """Takes the coordinator's message."""
        now_s = self._clock.now()
        self._free, self.usual_failures = answer.free, answer.usual_failures
        self._served_s = max(self._served_s, now_s - answer.served_ago_s)
        self._is_full = answer.free and not answer.has_room
        until_s = float("inf") if answer.free else answer.since_s + LEASE_S
        for number, waited in answer.admitted:
            waiting = self._waiting.pop(number, None)
            if waiting is not None:
                waiting.left = True  # in the heap
                waiting.place, waiting.until_s, waiting.waited = number, until_s, waited
                waiting.called.set()
            elif number in self._left:  # it stopped waiting, and the coordinator does not know it yet
                del self._left[number]
                if self._free:
                    self._use(number)
                else:
                    self._return(number)
        if answer.closed is not None and self.closed is None:
            self._end(answer.closed)

    # --- the end --------------------------------------------------------------------------------------------

    def close(self, reason: GateClosing) -> None:
        """Closes the gate here, and for all workers with the next message."""
        if self.closed is None:
            self._reason = reason.copied()
            self._end(reason)
            self._on_news("now")

    def _end(self, reason: GateClosing) -> None:
        self.closed = reason
        self._closing.set()
        self._free = self._is_full = False
        for waiting in list(self._waiting.values()):
            self._withdraw(waiting)
            waiting.called.set()
        self._queue.clear()

    def note(self, kind: str, detail: str) -> None:
        """Reports an event that was observed here."""
        self._notes.append((kind, detail))
        self._on_news("soon")

    def served_since(self, moment_s: float) -> bool:
        """Returns whether a call of any worker that was sent since then was served, as far as it is known
        here."""
        return self._served_s >= moment_s

    def statistics(self) -> GateStatistics:
        """Returns this worker's counts."""
        return GateStatistics(
            calls=self._calls,
            in_flight=self._in_flight,
            waiting=len(self._waiting),
            resting=self._resting,
            window=self._in_flight + len(self._spare),
        )
