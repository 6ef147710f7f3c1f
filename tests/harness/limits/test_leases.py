"""The laws of a gate that several workers share, on virtual time: quota, window, loss, closing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest

from backends.emulator.quota import SlidingWindow
from harness.core.clock import LoopClock
from harness.core.errors import AccountRefused, GateClosing
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from harness.limits.leased_gate import LeasedGate
from harness.limits.leases import (
    BATCH_S,
    LEASE_JITTER_S,
    LEASE_S,
    STEADY_S,
    GateLeases,
    Haste,
    LeaseAnswer,
)
from harness.limits.waits import NO_WAIT
from tests.world import run

ONE = CallCost()
FINE = CallResult(kind="clean")


@dataclass
class Shared:
    """One gate, its leases, and workers behind messages that take time.

    travel_s   of one message, drawn anew for each
    behind_s   the workers' clocks show so much less than the coordinator's"""

    limits: GateLimits
    travel_s: Callable[[], float] = lambda: 0.002
    behind_s: float = 0.0
    clock: LoopClock = field(default_factory=LoopClock)
    events: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = Gate(
            "g",
            self.limits,
            clock=self.clock,
            on_event=lambda kind, detail: self.events.append((kind, detail)),
            jitter_s=LEASE_JITTER_S,
        )
        self.leases = GateLeases(self.gate, clock=self.clock)

    def worker(self, name: str) -> Worker:
        return Worker(name, self)


class LateClock(LoopClock):
    """A clock that shows another time than the coordinator's."""

    def __init__(self, behind_s: float) -> None:
        self._behind_s = behind_s

    def now(self) -> float:
        return super().now() - self._behind_s


class Worker:
    """A leased gate, and the messages between it and the coordinator: one to and fro at a time, each begun
    BATCH_S after the last one unless it is urgent, or STEADY_S if no answer is waited for.

    told   how many messages it sent"""

    def __init__(self, name: str, shared: Shared) -> None:
        self.name = name
        self.shared = shared
        self.is_lost = False
        self.told = 0
        self._news, self._soon, self._urgent = anyio.Event(), anyio.Event(), anyio.Event()
        self._clock = LateClock(shared.behind_s)
        self.gate = LeasedGate("g", clock=self._clock, on_news=self._note)
        shared.leases.join(name, self._news_for_worker)

    def _note(self, haste: Haste) -> None:
        self._news.set()
        if haste != "later":
            self._soon.set()
        if haste == "now":
            self._urgent.set()

    def _news_for_worker(self) -> None:
        self._note("soon")

    async def carry(self) -> None:
        leases, travel = self.shared.leases, self.shared.travel_s
        while not self.is_lost:
            with anyio.move_on_after(BATCH_S if self.gate.has_spare else None):
                await self._news.wait()
            for period_s, event in ((STEADY_S - BATCH_S, self._soon), (BATCH_S, self._urgent)):
                with anyio.move_on_after(period_s):
                    await event.wait()
            self._news, self._soon, self._urgent = anyio.Event(), anyio.Event(), anyio.Event()
            self.told += 1
            sent_s, request = self._clock.now(), self.gate.request()
            await anyio.sleep(travel())
            if self.is_lost:
                return
            if request is not None:
                leases.take(self.name, request, sent_s=sent_s)
            answer = leases.answer(self.name)
            await anyio.sleep(travel())
            self.gate.take(answer)

    def lose(self) -> None:
        self.is_lost = True
        self.shared.leases.lose(self.name)


@dataclass
class Sent:
    """The requests that a provider with a quota of 600 in any 60 s served and refused."""

    served: int = 0
    refused: int = 0


async def saturate(shared: Shared, workers: int, seconds: float, chance: Random) -> Sent:
    """Sends as much as the gate admits; requests arrive up to 0.4 s late, answers take a second or two."""
    law, sent = SlidingWindow(600.0, 60.0), Sent()

    async def turns(gate: LeasedGate) -> None:
        while True:
            admission = await gate.enter(chance.random(), ONE)
            await anyio.sleep(0.4 * chance.random())
            now_s = shared.clock.now()
            if law.wait_s(1.0, now_s) > 0.0:
                sent.refused += 1
                gate.leave(admission, CallResult(kind="limited", cause="HTTP 429"))
                continue
            law.take(1.0, now_s)
            sent.served += 1
            await anyio.sleep(1.0 + chance.random())
            gate.leave(admission, FINE)

    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shared.gate.run_timer)
            for number in range(workers):
                worker = shared.worker(f"w{number}")
                tasks.start_soon(worker.carry)
                for _ in range(40):
                    tasks.start_soon(turns, worker.gate)
    return sent


@pytest.mark.parametrize(("workers", "slow"), [(2, 0.0), (4, 0.01)])
def test_a_quota_holds_over_all_workers_and_is_used(workers: int, slow: float) -> None:
    """600 requests a minute over several workers: no request is refused by a window of any phase, and at
    least 95 % of the quota are used; also where one message in a hundred takes up to half a second."""
    chance = Random(workers)

    def travel_s() -> float:
        return 0.5 * chance.random() if chance.random() < slow else 0.001 + 0.004 * chance.random()

    async def scenario() -> Sent:
        shared = Shared(
            GateLimits(concurrency=64, requests=600.0), travel_s, behind_s=1000.0 * chance.random()
        )
        return await saturate(shared, workers, 130.0, chance)

    sent = run(scenario)
    assert sent.refused == 0
    assert sent.served >= 0.95 * 600 * 130 / 60


def test_no_call_is_sent_later_than_it_may() -> None:
    """Under a quota an answer that comes too late admits nothing: the turn waits again, and no place is
    lost."""

    async def scenario() -> tuple[float, float, int]:
        slow = [0.002, 0.3]  # the first answer
        shared = Shared(GateLimits(concurrency=1, requests=6000.0), lambda: slow.pop(0) if slow else 0.002)
        worker, asked_s, sent_s = shared.worker("w"), [], []

        async def turn() -> None:
            asked_s.append(shared.clock.now())
            admission = await worker.gate.enter(1.0, ONE)
            sent_s.append(shared.clock.now())
            worker.gate.leave(admission, FINE)

        await _played(shared, [worker], turn, turn)
        return asked_s[0], sent_s[0], shared.gate.statistics().in_flight

    asked_s, sent_s, in_flight = run(scenario)
    assert LEASE_S < sent_s - asked_s < 0.45
    assert in_flight == 0


async def _played(
    shared: Shared, workers: list[Worker], *tasks: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Plays the tasks to their ends, with all gates at work; ends a second later."""
    async with anyio.create_task_group() as background:
        background.start_soon(shared.gate.run_timer)
        background.start_soon(shared.leases.tell_when_closed)
        for worker in workers:
            background.start_soon(worker.carry)
        async with anyio.create_task_group() as playing:
            for task in tasks:
                playing.start_soon(task)
        await anyio.sleep(1.0)
        background.cancel_scope.cancel()


def test_the_window_is_one_for_all_workers() -> None:
    """However many turns crowd several workers, no more calls are in flight than the window allows; of the
    turns of a worker the one with the most turns ahead goes first; of turns that begin at the same
    moment the order is open."""

    async def scenario() -> tuple[int, list[tuple[float, int]]]:
        shared = Shared(GateLimits(concurrency=3, at_once=3))
        workers, most, in_flight = [shared.worker(name) for name in "abcd"], 0, 0
        began: list[tuple[float, int]] = []

        async def turn(number: int) -> None:
            nonlocal most, in_flight
            admission = await workers[number % 4].gate.enter(float(number), ONE)
            in_flight += 1
            most = max(most, in_flight)
            began.append((shared.clock.now(), number))
            await anyio.sleep(1.0)
            in_flight -= 1
            workers[number % 4].gate.leave(admission, FINE)

        await _played(shared, workers, *(partial(turn, number) for number in range(20)))
        return most, began

    most, began = run(scenario)
    assert most == 3
    assert len(began) == 20
    for worker in range(4):
        of_worker = [(-began_s, number) for began_s, number in began[3:] if number % 4 == worker]
        assert sorted(of_worker, reverse=True) == sorted(of_worker, key=lambda one: -one[1])


def test_a_lost_worker_leaves_its_places_and_not_its_quota() -> None:
    """The calls of a worker that died hold no place any more, but count as sent for their minute."""

    async def scenario() -> tuple[int, float]:
        shared = Shared(GateLimits(concurrency=2, requests=60.0))
        dying, other = shared.worker("dying"), shared.worker("other")
        through_s: list[float] = []

        async def hold() -> None:
            for _ in range(2):
                await dying.gate.enter(1.0, ONE)
            await anyio.sleep(0.1)
            dying.lose()

        async def turn() -> None:
            await anyio.sleep(3.0)
            admission = await other.gate.enter(1.0, ONE)
            through_s.append(shared.clock.now())
            other.gate.leave(admission, FINE)

        await _played(shared, [dying, other], hold, turn)
        return shared.gate.statistics().in_flight, through_s[0]

    in_flight, through_s = run(scenario)
    assert in_flight == 0
    assert through_s >= 3.0


def test_a_refusal_at_one_worker_pauses_all() -> None:
    """A 429 with Retry-After that one worker meets holds back the turns of the others, for as long."""

    async def scenario() -> float:
        shared = Shared(GateLimits(concurrency=8))
        first, second = shared.worker("a"), shared.worker("b")
        through_s: list[float] = []

        async def refused() -> None:
            admission = await first.gate.enter(1.0, ONE)
            first.gate.leave(admission, CallResult(kind="limited", retry_after_s=20.0, cause="HTTP 429"))

        async def turn() -> None:
            await anyio.sleep(1.0)
            second.gate.leave(await second.gate.enter(1.0, ONE), FINE)
            through_s.append(shared.clock.now())

        await _played(shared, [first, second], refused, turn)
        return through_s[0]

    assert 20.0 <= run(scenario) < 21.0


def test_a_gate_that_one_worker_closes_is_closed_for_all() -> None:
    """Turns that wait, and calls that pause before another try, at any worker raise the reason."""

    async def scenario() -> list[str]:
        shared = Shared(GateLimits(concurrency=1))
        workers, raised = [shared.worker(name) for name in "abc"], []

        async def closing() -> None:
            await workers[0].gate.enter(9.0, ONE)
            await anyio.sleep(1.0)
            workers[0].gate.close(AccountRefused("HTTP 401"))

        async def waiting(gate: LeasedGate) -> None:
            await anyio.sleep(0.5)
            try:
                await gate.enter(1.0, ONE)
            except GateClosing as reason:
                raised.append(str(reason))

        async def resting(gate: LeasedGate) -> None:
            try:
                await gate.rest(1000.0)
            except GateClosing as reason:
                raised.append(str(reason))

        await _played(
            shared, workers, closing, partial(waiting, workers[0].gate), partial(waiting, workers[1].gate),
            partial(resting, workers[2].gate),
        )  # fmt: skip
        assert shared.clock.now() < 5.0
        assert [kind for kind, _ in shared.events] == ["closed"]
        return raised

    assert run(scenario) == ["HTTP 401"] * 3


def test_a_gate_that_the_coordinator_closes_is_closed_for_calls_that_pause() -> None:
    """They raise the reason at once, although their worker has nothing to tell and no turn that waits."""

    async def scenario() -> float:
        shared = Shared(GateLimits(concurrency=1))
        worker, raised_s = shared.worker("a"), []

        async def closing() -> None:
            await anyio.sleep(5.0)
            shared.gate.close(AccountRefused("HTTP 401"))

        async def resting() -> None:
            with pytest.raises(AccountRefused, match="HTTP 401"):
                await worker.gate.rest(1000.0)
            raised_s.append(shared.clock.now())

        await _played(shared, [worker], closing, resting)
        return raised_s[0]

    assert 5.0 <= run(scenario) < 5.2


def test_a_late_admission_at_a_closed_gate_raises_the_reason() -> None:
    """The turn does not wait again: nobody would call it."""

    async def scenario() -> None:
        clock = LoopClock()
        gate = LeasedGate("g", clock=clock, on_news=lambda haste: None)

        async def turn() -> None:
            with pytest.raises(AccountRefused, match="HTTP 401"):
                await gate.enter(1.0, ONE)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            await anyio.sleep(1.0)
            request = gate.request()
            assert request is not None
            gate.take(
                LeaseAnswer(
                    admitted=((request.turns[0].number, NO_WAIT),),
                    since_s=clock.now() - 2 * LEASE_S,
                    free=False,
                    has_room=False,
                    usual_failures=0.0,
                    served_ago_s=0.0,
                    closed=AccountRefused("HTTP 401"),
                )
            )

    run(scenario)


def test_turns_that_were_admitted_are_forgotten_under_a_quota() -> None:
    """A worker keeps what waits, however many turns were admitted one by one."""

    async def scenario() -> int:
        shared = Shared(GateLimits(concurrency=4, requests=60_000.0))
        worker, longest = shared.worker("a"), 0

        async def turns() -> None:
            nonlocal longest
            for _ in range(500):
                worker.gate.leave(await worker.gate.enter(1.0, ONE), FINE)
                longest = max(longest, len(worker.gate._queue))

        await _played(shared, [worker], turns, turns)
        return longest

    assert run(scenario) < 100


@pytest.mark.parametrize("after_s", [0.0001, BATCH_S - 0.001, BATCH_S + 0.001, BATCH_S + 0.0039])
def test_a_turn_that_is_cancelled_takes_no_place(after_s: float) -> None:
    """Giving up before the coordinator knows of a turn, while an answer is on its way, or later leaves the
    window whole."""

    async def scenario() -> tuple[int, int]:
        shared = Shared(GateLimits(concurrency=1))
        first, other = shared.worker("a"), shared.worker("b")

        async def cancelled() -> None:
            with anyio.move_on_after(after_s):
                await first.gate.enter(1.0, ONE)
                raise AssertionError("it was admitted before it gave up")

        async def turn() -> None:
            await anyio.sleep(2.0)
            other.gate.leave(await other.gate.enter(1.0, ONE), FINE)

        await _played(shared, [first, other], cancelled, turn)
        statistics = shared.gate.statistics()
        return statistics.in_flight, statistics.waiting

    assert run(scenario) == (0, 0)


def test_a_free_place_is_handed_on_without_a_message() -> None:
    """Turns that follow each other on one worker wait for one message in all, where only the window limits
    calls."""

    async def scenario() -> float:
        shared = Shared(GateLimits(concurrency=1))
        worker, waited_s = shared.worker("a"), 0.0

        async def turns() -> None:
            nonlocal waited_s
            for _ in range(100):
                began_s = shared.clock.now()
                admission = await worker.gate.enter(1.0, ONE)
                waited_s += shared.clock.now() - began_s
                await anyio.sleep(0.1)
                worker.gate.leave(admission, FINE)

        await _played(shared, [worker], turns)
        assert shared.gate.statistics().in_flight == 0
        assert shared.gate.statistics().calls == 100
        return waited_s

    assert run(scenario) <= 0.1


def test_a_worker_whose_calls_fill_the_window_sends_few_messages() -> None:
    """While all its places are in use and no answer would give it one, a message is sent every STEADY_S, and
    at least BATCH_S after a call was refused; a turn that finds room is told within BATCH_S."""

    async def scenario() -> tuple[int, float, bool]:
        shared = Shared(GateLimits(concurrency=2, at_once=2))
        worker = shared.worker("a")

        async def turns() -> None:
            while True:
                admission = await worker.gate.enter(1.0, ONE)
                await anyio.sleep(0.03)
                worker.gate.leave(admission, FINE)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shared.gate.run_timer)
            tasks.start_soon(worker.carry)
            for _ in range(4):
                tasks.start_soon(turns)
            await anyio.sleep(1.0)
            before = worker.told
            await anyio.sleep(10.0)
            told = worker.told - before
            tasks.cancel_scope.cancel()

        shared = Shared(GateLimits(concurrency=2, at_once=2))
        worker = shared.worker("b")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.carry)
            await anyio.sleep(1.0)
            asked_s = shared.clock.now()
            admission = await worker.gate.enter(1.0, ONE)
            waited_s = shared.clock.now() - asked_s
            worker.gate.leave(admission, CallResult(kind="limited", cause="HTTP 429", retry_after_s=9.0))
            await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        return told, waited_s, shared.gate.is_metered

    told, waited_s, is_known = run(scenario)
    assert 30 <= told <= 10.0 / STEADY_S
    assert waited_s <= BATCH_S + 0.01
    assert is_known


def test_a_worker_keeps_its_places_until_another_one_waits() -> None:
    """One worker holds all ten places and has turns that wait: it hands its places on. When the other worker
    waits, it gives them back."""

    async def scenario() -> tuple[bool, bool]:
        shared = Shared(GateLimits(concurrency=10, at_once=10))
        one, other = shared.worker("one"), shared.worker("other")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.carry)
            tasks.start_soon(other.carry)
            for _ in range(15):
                tasks.start_soon(one.gate.enter, 1.0, ONE)
            await anyio.sleep(1.0)
            alone = one.gate._free
            tasks.start_soon(other.gate.enter, 1.0, ONE)
            await anyio.sleep(1.0)
            tasks.start_soon(one.gate.enter, 1.0, ONE)  # its message brings the answer
            await anyio.sleep(1.0)
            beside = one.gate._free
            tasks.cancel_scope.cancel()
        return alone, beside

    assert run(scenario) == (True, False)


def test_a_call_that_takes_over_a_place_is_not_in_flight_with_the_call_that_left_it() -> None:
    """It is sent as one of as many as fill the window, as in one process; the call that left counts as
    served."""

    async def scenario() -> tuple[list[int], int, int]:
        gate = Gate("g", GateLimits(concurrency=2), clock=LoopClock(), on_event=lambda kind, detail: None)
        await gate.enter(1.0, ONE)
        admission = await gate.enter(1.0, ONE)
        in_flight = [admission.in_flight]
        for _ in range(3):
            admission = gate.hand_on(admission, FINE)
            in_flight.append(admission.in_flight)
        statistics = gate.statistics()
        return in_flight, statistics.in_flight, statistics.calls

    assert run(scenario) == ([2, 2, 2, 2], 2, 3)


def test_a_worker_says_once_how_many_calls_pause() -> None:
    """Nothing new is no message; a call that pauses before another try is one."""

    async def scenario() -> None:
        gate = LeasedGate("g", clock=LoopClock(), on_news=lambda haste: None)
        assert gate.request() is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.rest, 5.0)
            await anyio.sleep(0.1)
            request = gate.request()
            assert request is not None
            assert request.resting == 1
            assert gate.request() is None
            tasks.cancel_scope.cancel()

    run(scenario)


def test_a_gate_is_metered_while_it_pauses() -> None:
    """Also for half a second: calls then wait for more than a place."""

    async def scenario() -> list[bool]:
        gate = Gate("g", GateLimits(concurrency=8), clock=LoopClock(), on_event=lambda kind, detail: None)
        metered = [gate.is_metered]
        gate._congestion.window.served_with = 1.0
        refused = CallResult(kind="limited", retry_after_s=0.5, cause="HTTP 429")
        gate.leave(await gate.enter(1.0, ONE), refused)
        metered.append(gate.is_metered)
        await anyio.sleep(0.6)
        return [*metered, gate.is_metered]

    assert run(scenario) == [False, True, False]
