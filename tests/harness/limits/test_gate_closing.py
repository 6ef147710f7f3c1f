"""A gate closes: on request, after its patience, for a pause that is too long."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.core.errors import AccountRefused, NotServed
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits
from tests.harness.limits.gates import FINE, ONE, headers, new_gate, noted_gate
from tests.world import run


def test_closing_tells_all_who_wait_and_all_who_come() -> None:
    """A closed gate refuses waiting and new turns with its reason, once and for all; what is in flight comes
    home."""

    async def scenario() -> list[str]:
        events: list[str] = []
        gate = Gate(
            "g",
            GateLimits(concurrency=1),
            clock=LoopClock(),
            on_event=lambda kind, detail: events.append(f"{kind}: {detail}"),
        )
        admission = await gate.enter(1.0, ONE)

        async def turn() -> None:
            with pytest.raises(AccountRefused, match="no credit"):
                await gate.enter(1.0, ONE)
            events.append("refused")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            await anyio.sleep(1)
            gate.close(AccountRefused("no credit", status=402))
            gate.close(AccountRefused("a later reason"))
            tasks.start_soon(turn)
        gate.leave(admission, FINE)
        events.append(str(gate.statistics().in_flight))
        with pytest.raises(AccountRefused):
            await gate.wait_until_wants_episodes()
        return events

    assert run(scenario) == ["closed: no credit", "refused", "refused", "0"]


def test_a_rest_ends_when_the_gate_closes() -> None:
    """Nobody sleeps out an hour's Retry-After at a gate that has closed."""

    async def scenario() -> float:
        clock, gate = LoopClock(), new_gate(4)

        async def resting() -> None:
            with pytest.raises(AccountRefused):
                await gate.rest(3_600.0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resting)
            await anyio.sleep(5)
            gate.close(AccountRefused("no credit"))
        return clock.now()

    assert run(scenario) == 5.0


def test_a_gate_with_as_many_in_flight_as_waiting_closes_after_its_patience() -> None:
    """A call hangs and a turn waits after a failure: a quarter of an hour later the gate closes."""

    async def scenario() -> float:
        clock, gate = LoopClock(), new_gate(1)
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="unserved", cause="HTTP 503"))
        await gate.enter(1.0, ONE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            with pytest.raises(NotServed, match="no call was served for 15 minutes"):
                await gate.enter(1.0, ONE)
            tasks.cancel_scope.cancel()
        return clock.now()

    assert run(scenario) == 900.0


def test_a_closed_gate_has_no_one_waiting() -> None:
    """It keeps its reason."""

    async def scenario() -> tuple[int, list[str]]:
        gate, refused = new_gate(1), []
        await gate.enter(1.0, ONE)
        assert gate.closed is None

        async def turn() -> None:
            with pytest.raises(AccountRefused) as caught:
                await gate.enter(1.0, ONE)
            refused.append(str(caught.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            tasks.start_soon(turn)
            await anyio.sleep(1)
            gate.close(AccountRefused("no credit"))
        assert str(gate.closed) == "no credit"
        return gate.statistics().waiting, refused

    assert run(scenario) == (0, ["no credit", "no credit"])


def test_a_gate_closes_after_its_patience_while_a_call_hangs() -> None:
    """Nobody waits: one call failed at 600 s and another is still in flight an hour later."""

    async def scenario() -> tuple[float, str]:
        clock = LoopClock()
        gate = Gate(
            "g",
            GateLimits(concurrency=2, patience_s=3_600.0),
            clock=clock,
            on_event=lambda kind, detail: None,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            failing, _ = await gate.enter(1.0, ONE), await gate.enter(1.0, ONE)
            await anyio.sleep(600)
            gate.leave(failing, CallResult(kind="unserved", cause="HTTP 503"))
            await anyio.sleep(3_599)
            assert gate.closed is None
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        return clock.now(), str(gate.closed)

    assert run(scenario) == (4_200.0, "no call was served for 60 minutes; the last failure: HTTP 503")


def test_a_gate_closes_after_its_patience_while_calls_pause_and_wait() -> None:
    """None is in flight: one pauses before another try, one waits for a quota that is spent for an hour."""

    async def scenario() -> float:
        clock, gate = LoopClock(), noted_gate([], output_tokens=100.0)
        failing = await gate.enter(1.0, CallCost(1.0, 0.0, 6_000.0))
        gate.leave(failing, CallResult(kind="unserved", cause="HTTP 503"))

        async def resting() -> None:
            with pytest.raises(NotServed):
                await gate.rest(2_000.0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            tasks.start_soon(resting)
            with pytest.raises(NotServed):
                await gate.enter(1.0, CallCost(1.0, 0.0, 1.0))
            tasks.cancel_scope.cancel()
        return clock.now()

    assert run(scenario) == 900.0


@pytest.mark.parametrize(("reset_s", "waited_s"), [(100, 100.0), (101, None)])
def test_a_reported_wait_of_more_than_the_patience_closes(reset_s: int, waited_s: float | None) -> None:
    """A turn waits as long as the sweep does, and no longer."""

    async def scenario() -> tuple[float | None, str]:
        clock, gate, waited = LoopClock(), noted_gate([], patience_s=100.0), list[float]()
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="clean", headers=headers(0, reset_s)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            with suppress(NotServed):
                await gate.enter(1.0, ONE)
                waited.append(clock.now())
            tasks.cancel_scope.cancel()
        return waited[0] if waited else None, str(gate.closed)

    found, reason = run(scenario)
    assert found == waited_s
    if waited_s is None:
        assert "(response headers say that the quota of requests is used up)" in reason
        assert reason.endswith("this is longer than patience_s = 100")
