"""The gate's laws, on virtual time."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from harness.core.clock import LoopClock
from harness.core.errors import AccountRefused, NotServed
from harness.limits.admission import CallResult
from harness.limits.estimates import CallCost
from harness.limits.gate import Gate, GateLimits, GateStatistics
from tests.world import run

ONE = CallCost()
FINE = CallResult(kind="clean")


def new_gate(window: int) -> Gate:
    return Gate("g", GateLimits(concurrency=window), clock=LoopClock(), on_event=lambda kind, detail: None)


def test_never_more_in_flight_than_the_window() -> None:
    """However many turns crowd the gate, the window holds, and all of them get through."""

    async def scenario() -> tuple[int, int]:
        gate, most, through = new_gate(3), 0, 0

        async def turn() -> None:
            nonlocal most, through
            admission = await gate.enter(1.0, ONE)
            most = max(most, gate.statistics().in_flight)
            await anyio.sleep(1)
            gate.leave(admission, FINE)
            through += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(turn)
        return most, through

    assert run(scenario) == (3, 20)


def test_the_longest_remainder_goes_first() -> None:
    """The waiting turn with most turns ahead of its episode is admitted first; equals go in order of
    arrival."""

    async def scenario() -> list[str]:
        gate, order = new_gate(1), []

        async def turn(name: str, remainder: float, wait_s: float) -> None:
            await anyio.sleep(wait_s)
            admission = await gate.enter(remainder, ONE)
            order.append(name)
            await anyio.sleep(10)
            gate.leave(admission, FINE)

        async with anyio.create_task_group() as tasks:
            for place, (name, remainder) in enumerate(
                [("first", 1), ("short", 1), ("long", 9), ("middle a", 5), ("middle b", 5)]
            ):
                tasks.start_soon(turn, name, float(remainder), place * 0.1)
        return order

    assert run(scenario) == ["first", "long", "middle a", "middle b", "short"]


def test_a_cancelled_turn_takes_no_place() -> None:
    """Giving up while waiting, or in the very moment of being let in, leaves the window whole."""

    async def scenario() -> tuple[int, int]:
        gate = new_gate(1)
        admission = await gate.enter(1.0, ONE)

        async def turn() -> None:
            admission = await gate.enter(1.0, ONE)
            try:
                await anyio.sleep(1)
            finally:
                gate.leave(admission, FINE)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            tasks.start_soon(turn)
            await anyio.sleep(1)
            gate.leave(admission, FINE)  # lets one in, which is cancelled before it can do anything
            tasks.cancel_scope.cancel()
        admission = await gate.enter(1.0, ONE)
        now = gate.statistics()
        return now.in_flight, now.waiting

    assert run(scenario) == (1, 0)


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


def test_hunger_counts_those_who_will_come_back() -> None:
    """Calls that rest before another try are work to come: they keep the gate from asking for more episodes.
    Everyone who waits for hunger, two lanes here, hears of it when the rest is over."""

    async def scenario() -> tuple[list[bool], list[float]]:
        clock = LoopClock()
        gate, seen, told = new_gate(4), [], []

        async def lane() -> None:
            await gate.wait_until_wants_episodes()
            told.append(clock.now())

        async with anyio.create_task_group() as tasks:
            seen.append(gate.wants_episodes)
            tasks.start_soon(gate.rest, 10.0)
            await anyio.sleep(1)
            seen.append(gate.wants_episodes)
            tasks.start_soon(lane)
            tasks.start_soon(lane)
        return seen, told

    assert run(scenario) == ([True, False], [10.0, 10.0])


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


def headers(
    remaining: float, reset_s: float, *, quota: str = "requests", limit: float = 6_000.0
) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{quota}": f"{limit:g}",
        f"x-ratelimit-remaining-{quota}": f"{remaining:g}",
        f"x-ratelimit-reset-{quota}": f"{reset_s:g}s",
    }


def noted_gate(events: list[str], **limits: float) -> Gate:
    made = GateLimits(concurrency=8, **limits)  # type: ignore[arg-type]
    return Gate("g", made, clock=LoopClock(), on_event=lambda kind, detail: events.append(detail))


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
    assert event.endswith("(the quota of requests is used up, by response headers)")


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


def test_a_gate_wants_episodes_below_a_quarter_of_its_window() -> None:
    """At a window of eight one waiting turn is too few, and two are enough."""

    async def scenario() -> list[bool]:
        gate, wants = new_gate(8), []
        for _ in range(8):
            await gate.enter(1.0, ONE)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(gate.enter, 1.0, ONE)
                await anyio.sleep(1)
                wants.append(gate.wants_episodes)
            tasks.cancel_scope.cancel()
        return wants

    assert run(scenario) == [True, False]


def limited(pause_s: float | None) -> CallResult:
    return CallResult(kind="limited", retry_after_s=pause_s, cause="HTTP 429")


def test_statistics_count_calls_by_where_they_are() -> None:
    """Answered, in flight, waiting, and pausing before another try; a closed gate has none that wait."""

    async def scenario() -> list[GateStatistics]:
        gate, found = new_gate(2), [new_gate(2).statistics()]
        first = await gate.enter(1.0, ONE)
        await gate.enter(1.0, ONE)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(gate.enter, 1.0, ONE)
            tasks.start_soon(gate.rest, 5.0)
            await anyio.sleep(1)
            found.append(gate.statistics())
            gate.leave(first, FINE)
            await anyio.sleep(5)
            found.append(gate.statistics())
            tasks.cancel_scope.cancel()
        return found

    def counts(*, calls: int, in_flight: int, waiting: int, resting: int) -> GateStatistics:
        return GateStatistics(calls=calls, in_flight=in_flight, waiting=waiting, resting=resting, window=2)

    assert run(scenario) == [
        counts(calls=0, in_flight=0, waiting=0, resting=0),
        counts(calls=0, in_flight=2, waiting=3, resting=1),
        counts(calls=1, in_flight=2, waiting=2, resting=0),
    ]


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


def test_an_admission_tells_what_was_admitted_so_far() -> None:
    """Itself included."""

    async def scenario() -> list[CallCost]:
        gate = new_gate(4)
        costs = CallCost(1.0, 10.0, 3.0), CallCost(1.0, 20.0, 4.0)
        return [(await gate.enter(1.0, cost)).sent for cost in costs]

    assert run(scenario) == [CallCost(1.0, 10.0, 3.0), CallCost(2.0, 30.0, 7.0)]


def test_a_turn_does_not_overtake_those_that_wait() -> None:
    """One waits for output tokens; another, which needs none and has as many turns ahead, waits behind it."""

    async def scenario() -> tuple[int, dict[str, float]]:
        gate, places = noted_gate([], output_tokens=60.0), dict[str, float]()
        await gate.enter(1.0, CallCost(1.0, 0.0, 30.0))

        async def turn(name: str, output_tokens: float) -> None:
            admission = await gate.enter(1.0, CallCost(1.0, 0.0, output_tokens))
            places[name] = admission.sent.requests

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn, "long", 1.0)
            await anyio.sleep(1)
            tasks.start_soon(turn, "short", 0.0)
            await anyio.sleep(1)
            waiting = gate.statistics().waiting
            tasks.start_soon(gate.run_timer)
            await anyio.sleep(60)
            tasks.cancel_scope.cancel()
        return waiting, places

    assert run(scenario) == (2, {"long": 2.0, "short": 3.0})


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


def test_a_gate_tells_if_a_call_sent_since_then_was_served() -> None:
    """The moment at which the call was sent counts."""

    async def scenario() -> list[bool]:
        gate = new_gate(4)
        await anyio.sleep(5)
        admission = await gate.enter(1.0, ONE)
        await anyio.sleep(5)
        before = gate.served_since(0.0)
        gate.leave(admission, FINE)
        return [before, gate.served_since(5.0), gate.served_since(5.1)]

    assert run(scenario) == [False, True, False]


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
        assert "(the quota of requests is used up, by response headers)" in reason
        assert reason.endswith("this is longer than patience_s = 100")


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


@pytest.mark.parametrize(
    ("requests", "asked_s", "waits", "rests", "expected"),
    [
        (None, 30.0, True, False, (20.0, "HTTP 429")),
        (None, 30.0, False, True, (20.0, "HTTP 429")),
        (None, 30.0, True, True, (20.0, "HTTP 429")),
        (None, 30.0, False, False, (0.0, "")),
        (None, 10.5, True, False, (0.5, "HTTP 429")),
        (None, None, True, False, (0.0, "")),  # the call is still in flight: its place is waited for
        (1.0, 30.0, True, False, (50.5, "a quota is spent")),
        (1.0, 60.0, True, False, (50.5, "a quota is spent")),
        (1.0, 70.0, True, False, (60.0, "HTTP 429")),
    ],
)
def test_statistics_tell_how_long_no_call_is_sent_and_why(
    requests: float | None, asked_s: float | None, waits: bool, rests: bool, expected: tuple[float, str]
) -> None:
    """The pause that was asked for or the quota, whichever ends later; nothing if no one waits. Ten seconds
    after the one call, with one place and a quota of one a minute or none."""

    async def scenario() -> tuple[float, str]:
        limits = GateLimits(concurrency=1, requests=requests)
        gate = Gate("g", limits, clock=LoopClock(), on_event=lambda kind, detail: None)
        admission = await gate.enter(1.0, ONE)
        if asked_s is not None:
            gate.leave(admission, limited(asked_s))
        async with anyio.create_task_group() as tasks:
            if waits:
                tasks.start_soon(gate.enter, 1.0, ONE)
            if rests:
                tasks.start_soon(gate.rest, 100.0)
            await anyio.sleep(10)
            now = gate.statistics()
            tasks.cancel_scope.cancel()
        return now.pause_s, now.pause_cause

    assert run(scenario) == expected


def test_a_gate_tells_the_usual_share_of_failures() -> None:
    """It is one in a hundred before the first call; calls that are refused raise it."""

    async def scenario() -> tuple[float, float]:
        gate = new_gate(4)
        before = gate.usual_failures
        for _ in range(3):
            gate.leave(await gate.enter(1.0, ONE), limited(None))
            for _ in range(9):
                gate.leave(await gate.enter(1.0, ONE), FINE)
        return before, gate.usual_failures

    before, after = run(scenario)
    assert before == 0.01
    assert after > 0.02
