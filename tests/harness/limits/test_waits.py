"""What a turn waited for, on virtual time."""

from __future__ import annotations

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.limits.estimates import CallCost
from harness.limits.gate import CallResult, Gate, GateLimits
from harness.limits.waits import NO_WAIT, WaitSums, WaitTimes
from tests.world import run

FINE = CallResult(kind="clean")


def waited(
    limits: GateLimits, answers: list[CallResult], *, service_s: float
) -> list[tuple[float, WaitTimes]]:
    """What turns that come all at once waited, in all and by cause, in the order of their admission; the n-th is answered so."""

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

        async with anyio.create_task_group() as keeping:
            keeping.start_soon(gate.keep)
            async with anyio.create_task_group() as turns:
                for _ in answers:
                    turns.start_soon(turn)
            keeping.cancel_scope.cancel()
        return found

    return run(scenario)


def test_waiting_for_a_place() -> None:
    """With every place taken, a turn waits for neither quota nor rest."""
    assert waited(GateLimits(concurrency=1), [FINE] * 3, service_s=5.0) == [
        (0.0, NO_WAIT),
        (5.0, NO_WAIT),
        (10.0, NO_WAIT),
    ]


def test_waiting_for_a_quota() -> None:
    """With places free, all the waiting was for the quota."""
    found = waited(GateLimits(concurrency=50, requests=60), [FINE] * 50, service_s=0.0)
    assert found[-1][0] > 30.0
    for in_all_s, parts in found:
        assert parts.quota_s == pytest.approx(in_all_s)
        assert parts.rest_s == 0.0


def test_waiting_for_a_rest() -> None:
    """A turn that waited for a place and then for the end of a rest has both in its sum, and only the rest as rest."""
    limited = CallResult(kind="limited", retry_after_s=20.0)
    first, (in_all_s, parts) = waited(GateLimits(concurrency=1), [limited, FINE], service_s=5.0)
    assert first == (0.0, NO_WAIT)
    assert (in_all_s, parts.quota_s) == (25.0, 0.0)
    assert parts.rest_s == pytest.approx(20.0)


def test_sums_grow_by_what_holds_up() -> None:
    """Each second belongs to the cause that was named last before it."""
    waits = WaitSums(10.0)
    waits.held_up_by("quota", 11.0)
    waits.held_up_by("quota", 12.0)
    waits.held_up_by("rest", 14.0)
    waits.held_up_by("place", 15.0)
    assert waits.so_far(99.0) == WaitTimes(3.0, 1.0)
    assert waits.so_far(99.0).since(WaitTimes(1.0, 1.0)) == WaitTimes(2.0, 0.0)
