"""The causes of a turn's waiting, on virtual time."""

from __future__ import annotations

from datetime import datetime

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from harness.limits.waits import NO_WAIT, WaitMeter, WaitTimes, describe_pause, elapsed
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


def test_a_pause_of_more_than_a_minute_is_shown_with_its_end() -> None:
    """The end is in local time, to the minute."""
    wall_s = datetime(2026, 11, 22, 10, 0, 0).astimezone().timestamp()
    assert describe_pause(0.25, wall_s) == "0.2 s"
    assert describe_pause(60.0, wall_s) == "60.0 s"
    assert describe_pause(61.0, wall_s) == "61 s, until 2026-11-22 10:01"
    assert describe_pause(7_200.4, wall_s) == "7200 s, until 2026-11-22 12:00"


def test_waiting_while_one_call_probes_is_a_rest() -> None:
    """Nine failures in a row (the second was sent at the moment of the first): a pause of 2 s, then one call
    probes for 5 s, and the last turn waits for it."""
    unserved = CallResult(kind="unserved")
    *_, probe, last = waited(GateLimits(concurrency=1), [unserved] * 9 + [FINE, FINE], service_s=5.0)
    assert probe == (47.0, WaitTimes(0.0, 2.0))
    assert last == (52.0, WaitTimes(0.0, 7.0))


def test_waiting_for_a_quota_that_comes_after_a_rest_is_for_the_quota() -> None:
    """A pause of 60 s, and one request a minute, which is there half a second later."""
    limits = GateLimits(concurrency=1, requests=1.0)
    answers = [CallResult(kind="limited", retry_after_s=60.0), FINE]
    _, (in_all_s, parts) = waited(limits, answers, service_s=0.0)
    assert (in_all_s, parts) == (60.5, WaitTimes(60.5, 0.0))


def test_a_time_that_has_passed_is_said_in_seconds_or_minutes() -> None:
    """Minutes begin at a minute and a half."""
    assert [elapsed(seconds) for seconds in (89.4, 90.0, 150.0, 900.0)] == [
        "89 s",
        "2 minutes",
        "2 minutes",
        "15 minutes",
    ]
