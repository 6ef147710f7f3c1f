"""A gate pauses, for quotas that a provider reports and for pauses that it asks for, and announces it."""

from __future__ import annotations

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from tests.harness.limits.gates import FINE, ONE, headers, limited, noted_gate
from tests.world import run


def test_a_reported_remainder_is_less_what_was_sent_since() -> None:
    """An answer leaves three, and two calls followed it: one more goes at once, the next after the reset."""

    async def scenario() -> list[float]:
        clock, gate, times = LoopClock(), noted_gate([]), []
        first = await gate.enter(1.0, ONE)
        for _ in range(2):
            await gate.enter(1.0, ONE)
        gate.leave(first, CallResult(kind="clean", headers=headers(3, 20)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            for _ in range(2):
                await gate.enter(1.0, ONE)
                times.append(clock.now())
            tasks.cancel_scope.cancel()
        return times

    assert run(scenario) == [0.0, 20.0]


def test_tokens_are_counted_for_reports_by_their_kind() -> None:
    """Output tokens sent after a call, and not those before it, lessen the remainder of its answer."""

    async def scenario() -> float:
        clock, gate = LoopClock(), noted_gate([], output_tokens=600_000.0)
        cost = CallCost(1.0, 0.0, 100.0)
        await gate.enter(1.0, cost)
        admission = await gate.enter(1.0, cost)
        await gate.enter(1.0, cost)
        report = {"anthropic-ratelimit-output-tokens-remaining": "250"}
        report["anthropic-ratelimit-output-tokens-reset"] = "30"
        gate.leave(admission, CallResult(kind="clean", headers=report))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            await gate.enter(1.0, cost)
            first_s = clock.now()
            await gate.enter(1.0, cost)
            tasks.cancel_scope.cancel()
        assert first_s == 0.0
        return clock.now()

    assert run(scenario) == 30.0


def test_nothing_is_learned_of_a_provider_that_reports_its_quotas() -> None:
    """Refusals of one that reports are pauses; of one that does not they become a learned quota."""

    async def scenario(reports: bool) -> list[str]:
        events: list[str] = []
        gate = noted_gate(events)
        report = headers(6_000, 60) if reports else {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            for _ in range(100):
                gate.leave(await gate.enter(1.0, ONE), CallResult(kind="clean", headers=report))
            for _ in range(4):
                admission = await gate.enter(1.0, ONE)
                gate.leave(admission, CallResult(kind="limited", retry_after_s=10.0, cause="HTTP 429"))
            tasks.cancel_scope.cancel()
        return [event for event in events if "learned" in event]

    assert run(lambda: scenario(True)) == []
    assert len(run(lambda: scenario(False))) == 1


def test_a_long_reported_wait_is_announced_and_kept() -> None:
    """Nothing left for 100 s by the headers: the next turn waits so long, and the event says until when."""

    async def scenario() -> tuple[float, list[str]]:
        events: list[str] = []
        clock, gate = LoopClock(), noted_gate(events)
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="clean", headers=headers(0, 100)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            await gate.enter(1.0, ONE)
            tasks.cancel_scope.cancel()
        return clock.now(), [event for event in events if event.startswith("pausing")]

    took_s, (event,) = run(scenario)
    assert took_s == 100.0
    assert event.startswith("pausing 100 s, until ")
    assert event.endswith("(response headers say that the quota of requests is used up)")


def test_a_short_wait_for_a_quota_is_as_long_as_it_must_be() -> None:
    """120 a minute: the second request goes half a second after the first, and not a second."""

    async def scenario() -> list[float]:
        clock, times = LoopClock(), []
        gate = noted_gate([], requests=120.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            for _ in range(3):
                await gate.enter(1.0, ONE)
                times.append(clock.now())
            tasks.cancel_scope.cancel()
        return times

    first_s, second_s, third_s = run(scenario)
    assert first_s == 0.0
    assert 0.45 <= second_s <= 0.55
    assert 0.95 <= third_s <= 1.1


def test_a_failure_that_asks_for_no_pause_is_no_pause() -> None:
    """It neither pauses the gate nor closes it, however short the patience."""

    async def scenario() -> tuple[list[str], bool]:
        events: list[str] = []
        gate = noted_gate(events, patience_s=0.5)
        await anyio.sleep(1)
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="unserved", cause="HTTP 503"))
        return events, gate.closed is None

    assert run(scenario) == ([], True)


def test_a_pause_of_half_a_second_is_announced() -> None:
    """A refusal with fewer calls in flight than are served together pauses all."""

    async def scenario() -> list[str]:
        events: list[str] = []
        gate = noted_gate(events)
        for _ in range(100):
            for admission in [await gate.enter(1.0, ONE) for _ in range(2)]:
                gate.leave(admission, FINE)
        gate.leave(await gate.enter(1.0, ONE), limited(0.5))
        return events

    assert run(scenario) == ["pausing 0.5 s (HTTP 429)"]


def test_a_longer_pause_is_announced_if_half_of_it_is_news() -> None:
    """At 10 s: 20 s are announced, 40 s end later but are not, 82 s are; the gate pauses for the longest."""

    async def scenario() -> tuple[list[str], float]:
        clock, events = LoopClock(), list[str]()
        gate = noted_gate(events)
        admissions = [await gate.enter(1.0, ONE) for _ in range(4)]
        await anyio.sleep(10)
        for admission, pause_s in zip(admissions, (20.0, 40.0, 82.0, 30.0), strict=True):
            gate.leave(admission, limited(pause_s))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.run_timer)
            await gate.enter(1.0, ONE)
            tasks.cancel_scope.cancel()
        return [event.split(",")[0] for event in events if event.startswith("pausing")], clock.now()

    assert run(scenario) == (["pausing 20.0 s (HTTP 429)", "pausing 82 s"], 92.0)


@pytest.mark.parametrize(
    ("report", "quotas"),
    [
        ({"x-ratelimit-limit-requests": "1"}, {"requests": 1.0}),
        ({"x-ratelimit-limit-requests": "0.9"}, {}),
        ({"x-ratelimit-remaining-requests": "5"}, {}),
        ({"x-ratelimit-limit-tokens": "90", "x-ratelimit-limit-requests": "0"}, {"tokens": 90.0}),
    ],
)
def test_a_reported_limit_of_1_or_more_is_a_quota(report: dict[str, str], quotas: dict[str, float]) -> None:
    """Less is the word of some providers for none; a remainder without a limit makes no quota."""

    async def scenario() -> dict[str, float]:
        gate = noted_gate([])
        gate.leave(await gate.enter(1.0, ONE), CallResult(kind="clean", headers=report))
        return gate.quotas

    assert run(scenario) == quotas


@pytest.mark.parametrize(("later_s", "announced"), [(160, 1), (161, 2)])
def test_a_reported_wait_is_announced_again_if_it_ends_more_than_a_minute_later(
    later_s: int, announced: int
) -> None:
    """Two turns wait for requests in 100 s: that is one event. Then they wait for tokens, too."""

    async def scenario() -> tuple[int, int]:
        events = list[str]()
        gate, cost = noted_gate(events), CallCost(1.0, 1.0, 1.0)
        first, second = await gate.enter(1.0, cost), await gate.enter(1.0, cost)
        async with anyio.create_task_group() as tasks:
            gate.leave(first, CallResult(kind="clean", headers=headers(0, 100)))
            tasks.start_soon(gate.enter, 1.0, cost)
            tasks.start_soon(gate.enter, 1.0, cost)
            await anyio.wait_all_tasks_blocked()
            before = sum(event.startswith("pausing") for event in events)
            gate.leave(second, CallResult(kind="clean", headers=headers(0, later_s, quota="tokens")))
            tasks.cancel_scope.cancel()
        return before, sum(event.startswith("pausing") for event in events)

    assert run(scenario) == (1, announced)
