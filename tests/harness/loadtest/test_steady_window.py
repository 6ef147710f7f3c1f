"""The window of a stage that has figures, and saturation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.loadtest.client_cost import ClientCost
from harness.loadtest.generator import StageLoad, TimedRequest
from harness.loadtest.load_profile import Loop, Stage
from harness.loadtest.saturation import find_saturation
from harness.loadtest.steady_window import SteadyWindow, steady_window


def load(
    latency_s: Callable[[float], float], *, count: int = 200, loop: Loop = "open", gap_s: float = 0.1
) -> StageLoad:
    """Makes a load of requests that are due at even moments. latency_s: of one that is due at a second."""
    requests = tuple(
        TimedRequest(
            due_at=gap_s * n,
            sent_at=gap_s * n,
            first_at=None,
            done_at=gap_s * n + latency_s(gap_s * n),
            prompt_tokens=None,
            completion_tokens=None,
            gap_s_median=None,
            error=None,
        )
        for n in range(count)
    )
    return StageLoad(
        stage=Stage(loop=loop, level=1, requests=count),
        requests=requests,
        began_at=0.0,
        offered_s=gap_s * (count - 1),
        wall_s=max(one.done_at for one in requests),
        client=ClientCost(cpu_s=0.0, cpu_share=0.0, lag_s=0.0, lag_s_max=0.0, beats=100),
    )


def found(given: StageLoad) -> SteadyWindow:
    return steady_window(given, warm_up_s=None, cool_down_s=None)


def test_a_warm_up_is_left_out() -> None:
    """The first four of 20 seconds, in which replies take three times as long, are no part of the window, nor
    is the end, when nothing new begins."""
    window = found(load(lambda due_s: 0.9 if due_s < 4 else 0.3))
    assert 3.9 < window.from_s < 6.5
    assert window.to_s == pytest.approx(19.9)
    assert (window.steady, window.whole) == (True, False)


def test_a_stall_stays_in_the_window() -> None:
    """Two seconds without an answer in the first half do not move the window: users see them."""
    stalled = load(lambda due_s: 0.3 + (max(0.0, 8.0 - due_s) if due_s >= 6 else 0.0))
    assert found(stalled).from_s == pytest.approx(found(load(lambda due_s: 0.3)).from_s)


def test_a_drift_is_said() -> None:
    """Latencies that grow as long as the stage lasts are not steady."""
    window = found(load(lambda due_s: 0.3 + 0.2 * due_s))
    assert window.steady is False
    assert "not steady" in window.note


def test_few_requests_all_count() -> None:
    """49 requests are the whole stage, and the note says why."""
    window = found(load(lambda due_s: 0.3, count=49))
    assert (window.whole, window.from_s, window.steady) == (True, 0.0, None)
    assert window.to_s == pytest.approx(5.1)
    assert "49 requests are too few" in window.note


def test_what_the_user_sets_is_taken() -> None:
    """Warm-up and cool-down bound the window; zeros take all; ones longer than the stage take all, with a
    note."""
    even = load(lambda due_s: 0.3)
    window = steady_window(even, warm_up_s=2.0, cool_down_s=1.0)
    assert (window.from_s, window.to_s) == pytest.approx((2.0, 18.9))
    assert window.steady
    assert steady_window(even, warm_up_s=0.0, cool_down_s=0.0).whole
    assert "shorter than its warm-up" in steady_window(even, warm_up_s=30.0, cool_down_s=None).note


def test_an_open_loop_that_piles_up_is_saturated() -> None:
    """A server that answers five of ten a second is saturated, one that answers all of them late is not; a
    closed loop never is."""
    behind = load(lambda due_s: 0.3 + due_s)
    state = find_saturation(behind, found(behind))
    assert state is not None
    assert state.saturated
    assert state.offered_per_s == pytest.approx(10, rel=0.05)
    assert state.achieved_per_s == pytest.approx(5, rel=0.05)
    assert state.in_flight_to > state.in_flight_from + 40
    late = load(lambda due_s: 3.0)
    state = find_saturation(late, found(late))
    assert state is not None
    assert not state.saturated
    assert state.in_flight_from == pytest.approx(state.in_flight_to, abs=1)
    closed = load(lambda due_s: 0.3, loop="closed")
    assert find_saturation(closed, found(closed)) is None


def test_a_short_open_stage_is_not_saturated_by_its_own_start() -> None:
    """40 requests at ten a second to a server that takes two seconds: the first two seconds say nothing."""
    short = load(lambda due_s: 2.0, count=40)
    state = find_saturation(short, found(short))
    assert state is not None
    assert not state.saturated
