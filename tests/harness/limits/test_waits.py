"""The causes of a turn's waiting, on virtual time."""

from __future__ import annotations

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from harness.limits.waits import NO_WAIT, WaitMeter, WaitTimes
from tests.world import run

FINE = CallResult(kind="clean")


def waited(
    limits: GateLimits, answers: list[CallResult], *, service_s: float
) -> list[tuple[float, WaitTimes]]:
    """Returns how long turns that all come at once waited, in all and by cause, in the order of their
    admission.

    answers   the n-th admitted turn's"""

    async def scenario() -> list[tuple[float, WaitTimes]]:
        clock = LoopClock()
        gate = Gate("g", limits, clock=clock, on_event=lambda kind, detail: None)
        found: list[tuple[float, WaitTimes]] = []

        async def turn() -> None:
            came_s = clock.now()
            admission = await gate.enter(1.0, CallCost())
            answer = answers[len(found)]
            found.append((clock.now() - came_s, admission.waited))
            await anyio.sleep(service_s)
            gate.leave(admission, answer)

        async with anyio.create_task_group() as timers:
            timers.start_soon(gate.run_timer)
            async with anyio.create_task_group() as turns:
                for _ in answers:
                    turns.start_soon(turn)
            timers.cancel_scope.cancel()
        return found

    return run(scenario)


def test_waiting_for_a_place() -> None:
    """While every place is taken, a turn waits for neither quota nor rest."""
    assert waited(GateLimits(concurrency=1), [FINE] * 3, service_s=5.0) == [
        (0.0, NO_WAIT),
        (5.0, NO_WAIT),
        (10.0, NO_WAIT),
    ]


def test_waiting_for_a_quota() -> None:
    """While places are free, all waiting is for the quota."""
    found = waited(GateLimits(concurrency=50, requests=60), [FINE] * 50, service_s=0.0)
    assert found[-1][0] > 30.0
    for in_all_s, parts in found:
        assert parts.quota_s == pytest.approx(in_all_s)
        assert parts.rest_s == 0.0


def test_waiting_for_a_rest() -> None:
    """A turn that waited for a place and then for the end of a rest has both in its sum, and only the rest as
    rest."""
    limited = CallResult(kind="limited", retry_after_s=20.0)
    first, (in_all_s, parts) = waited(GateLimits(concurrency=1), [limited, FINE], service_s=5.0)
    assert first == (0.0, NO_WAIT)
    assert (in_all_s, parts.quota_s) == (25.0, 0.0)
    assert parts.rest_s == pytest.approx(20.0)


def test_each_second_has_one_cause() -> None:
    """Each second belongs to the cause that was set last before it."""
    waits = WaitMeter(10.0)
    waits.set_cause("quota", 11.0)
    waits.set_cause("quota", 12.0)
    waits.set_cause("rest", 14.0)
    waits.set_cause("place", 15.0)
    assert waits.sums(99.0) == WaitTimes(3.0, 1.0)
    assert waits.sums(99.0).since(WaitTimes(1.0, 1.0)) == WaitTimes(2.0, 0.0)
