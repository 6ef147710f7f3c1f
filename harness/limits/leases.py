"""Lets several processes share one gate: the coordinator's side, and the messages.

A process that plays (a worker) holds leases on the coordinator's gate. Messages travel in batches, twenty a
second at most, because each costs some milliseconds of CPU whatever it carries. A worker whose own calls fill
all places sends four a second: no answer would give it anything.

- Where only the window limits calls, a lease is a place in it for as long as it is used: when a call ends,
  the worker gives its place to its next turn at once, and tells so with its next message.
- Where a quota or a pause limits calls, a lease is one call: the worker asks for its waiting turns, and may
  send those that are admitted within LEASE_S.

The gate itself is the gate of one process: quotas, window, pauses and what is learned stay in one place.

Knows the gate, the workers by name and the clock; nothing of processes or of how messages travel. Keeps:
all places that workers hold are places of the window. An admitted call is sent within LEASE_S of its
admission, or given back: the answer names a moment of the worker's clock that was not later than the
admission. A quota whose bucket counts this time as jitter (`LEASE_JITTER_S`) therefore holds at the
provider in every window. The calls of a worker that is lost count as sent. Does not promise: that a pause
or a smaller window is known to all workers before their next message; calls that hand on a place until then
are sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from harness.core.errors import GateClosing
from harness.core.protocols import Clock
from harness.limits.admission import Admission, CallResult, Ticket
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate
from harness.limits.token_bucket import JITTER_S
from harness.limits.waits import WaitTimes

BATCH_S = 0.05  # between the messages of a worker that waits for an answer
STEADY_S = 0.25  # between the messages of a worker that needs none; each costs 3 to 5 ms of CPU on both sides
LEASE_S = 0.25  # a busy worker's event loop may be late by a tenth of a second; the quota pays 0.4 % for it
LEASE_JITTER_S = JITTER_S + LEASE_S
# of its share of the window a worker may hold; less, and places would change hands for nothing
SHARE_SLACK = 1.1


SERVED = CallResult(kind="clean")

Haste = Literal["now", "soon", "later"]
"""Says when a worker's message is due: at once, BATCH_S after the last one, STEADY_S after it."""


class WaitingTurn(NamedTuple):
    """A turn of a worker that waits. number: the worker's own for it."""

    number: int
    remainder: float
    cost: CallCost


class EndedCall(NamedTuple):
    """An admitted call that ended.

    number  of the turn that the gate admitted
    result  None: it was not sent
    kept    the next call has its place already, under the same number"""

    number: int
    result: CallResult | None
    kept: bool = False


class LeaseRequest(NamedTuple):
    """A worker's message about one gate.

    turns    turns that began to wait
    left     turns that wait no more, by number
    served   places whose call was served and told nothing of quotas, and that went on to the next call: the
             usual end of a call, one entry for each
    ended    other calls that ended, in order, after those
    resting  calls that pause before another try, in all
    notes    events that were observed there, as (kind, detail)
    closing  a reason to close the gate"""

    turns: tuple[WaitingTurn, ...] = ()
    left: tuple[int, ...] = ()
    served: tuple[int, ...] = ()
    ended: tuple[EndedCall, ...] = ()
    resting: int = 0
    notes: tuple[tuple[str, str], ...] = ()
    closing: GateClosing | None = None


class LeaseAnswer(NamedTuple):
    """The coordinator's message about one gate.

    admitted        turns that may be sent, by number, with their waits by cause
    since_s         not later than the first of these admissions, by the worker's clock
    free            a call that ends may hand on its place
    has_room        a further call would be admitted at once
    usual_failures  the usual share of calls that are refused or not served
    served_ago_s    how long ago the last call that was served had been sent; infinity: none was
    closed          why the gate admits no one any more"""

    admitted: tuple[tuple[int, WaitTimes], ...]
    since_s: float
    free: bool
    has_room: bool
    usual_failures: float
    served_ago_s: float
    closed: GateClosing | None = None


@dataclass(slots=True)
class _Call:
    """A turn of a worker in the gate's queue; `set` is called by the gate."""

    turn: WaitingTurn
    state: _WorkerState
    ticket: Ticket | None = None

    def set(self) -> None:
        self.state.called.append(self)
        self.state.on_news()


@dataclass(slots=True)
class _WorkerState:
    """The state of one worker at the coordinator.

    on_news   is called when there is something to tell the worker
    waiting   its turns in the gate's queue, by number
    admitted  its places in the window, by number
    called    turns that the gate called and no answer has named yet
    behind_s  this clock less the worker's, and the time that its last message took
    known     what the worker knows: whether the gate is free, and why it is closed"""

    on_news: Callable[[], None]
    waiting: dict[int, _Call] = field(default_factory=dict)
    admitted: dict[int, Admission] = field(default_factory=dict)
    called: list[_Call] = field(default_factory=list)
    resting: int = 0
    behind_s: float = 0.0
    known: tuple[bool, GateClosing | None] = (False, None)


class GateLeases:
    """See the module's header. The gate must have been made with LEASE_JITTER_S."""

    def __init__(self, gate: Gate, *, clock: Clock) -> None:
        self.gate = gate
        self._clock = clock
        self._states: dict[str, _WorkerState] = {}

    def join(self, worker: str, on_news: Callable[[], None]) -> None:
        """Begins to serve a worker. on_news: is called when `answer` has something for it."""
        self._states[worker] = _WorkerState(on_news)

    def take(self, worker: str, request: LeaseRequest, *, sent_s: float) -> None:
        """Takes a worker's message, which it sent then by its own clock."""
        state = self._states[worker]
        state.behind_s = self._clock.now() - sent_s
        for place in request.served:
            state.admitted[place] = self.gate.hand_on(state.admitted[place], SERVED)
        for ended in request.ended:
            self._end(state, ended)
        for number in request.left:
            self._leave(state, number)
        if request.resting != state.resting:
            self.gate.rest_elsewhere(request.resting - state.resting)
            state.resting = request.resting
        for kind, detail in request.notes:
            self.gate.note(kind, detail)
        if request.closing is not None:
            self.gate.close(request.closing)
        for turn in request.turns:
            self._queue(state, turn)
        self.tell_changes()

    async def tell_when_closed(self) -> None:
        """Lets all workers know once the gate is closed here: those whose calls pause send no message."""
        await self.gate.closing.wait()
        self.tell_changes()

    def tell_changes(self) -> None:
        """Lets all workers know if the gate was closed, or calls may no longer hand on their places."""
        for state in self._states.values():
            if state.known != (self._is_free(state), self.gate.closed):
                state.on_news()

    def answer(self, worker: str) -> LeaseAnswer:
        """Returns the message to a worker that has sent one."""
        state = self._states[worker]
        admitted, first_s = [], self._clock.now()
        called, state.called = state.called, []
        for call in called:
            assert call.ticket is not None
            del state.waiting[call.turn.number]
            if (admission := call.ticket.admission) is not None:  # else the gate is closed
                state.admitted[call.turn.number] = admission
                admitted.append((call.turn.number, admission.waited))
                first_s = min(first_s, admission.sent_s)
        state.known = (self._is_free(state), self.gate.closed)
        statistics = self.gate.statistics()
        return LeaseAnswer(
            admitted=tuple(admitted),
            since_s=first_s - state.behind_s,
            free=state.known[0],
            has_room=statistics.in_flight < statistics.window,
            usual_failures=self.gate.usual_failures,
            served_ago_s=self._clock.now() - self.gate.served_sent_s,
            closed=self.gate.closed and self.gate.closed.copied(),
        )

    def lose(self, worker: str) -> None:
        """Ends what a worker that died had: its turns wait no more; its admitted calls count as sent."""
        state = self._states.pop(worker)
        self.gate.rest_elsewhere(-state.resting)
        for call in list(state.waiting.values()):
            assert call.ticket is not None
            if call.ticket.admission is not None:  # no answer has named it
                self.gate.give_back(call.ticket.admission)
            elif not self.gate.closed:
                self.gate.withdraw(call.ticket)
        for admission in state.admitted.values():
            self.gate.leave(admission, CallResult(kind="other"))

    def _is_free(self, state: _WorkerState) -> bool:
        """Returns whether the worker's calls may hand on their places: only the window limits calls, and no
        other worker waits that holds less than its share of it."""
        statistics = self.gate.statistics()
        if self.gate.is_metered or statistics.in_flight > statistics.window:
            return False
        share = statistics.window / len(self._states)
        others_wait = statistics.waiting > len(state.waiting) - len(state.called)
        return not others_wait or len(state.admitted) <= SHARE_SLACK * share + 1.0

    def _queue(self, state: _WorkerState, turn: WaitingTurn) -> None:
        if self.gate.closed:
            return
        call = state.waiting[turn.number] = _Call(turn, state)
        call.ticket = self.gate.enter_later(turn.remainder, turn.cost, call)

    def _end(self, state: _WorkerState, ended: EndedCall) -> None:
        admission = state.admitted.pop(ended.number)
        if ended.result is None:
            self.gate.give_back(admission)
        elif ended.kept:
            state.admitted[ended.number] = self.gate.hand_on(admission, ended.result)
        else:
            self.gate.leave(admission, ended.result)

    def _leave(self, state: _WorkerState, number: int) -> None:
        """Ends a turn that waits no more; the gate may have admitted it meanwhile."""
        if (admission := state.admitted.pop(number, None)) is not None:
            self.gate.give_back(admission)
        elif (call := state.waiting.pop(number, None)) is not None:
            assert call.ticket is not None
            if call in state.called:
                state.called.remove(call)
            if call.ticket.admission is not None:
                self.gate.give_back(call.ticket.admission)
            elif not self.gate.closed:
                self.gate.withdraw(call.ticket)
