"""The metrics of a stage, and the reasons why a stage has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.loadtest.client_cost import ClientCost
from harness.loadtest.generator import StageLoad, TimedRequest
from harness.loadtest.load_profile import Stage
from harness.loadtest.metrics import (
    MeasuredStage,
    Objective,
    StageResult,
    metrics_of,
    summarise_stage,
    turns_with,
)
from harness.loadtest.steady_window import SteadyWindow, steady_window

OBJECTIVE = Objective(ttft_s=1.0, e2e_s=3.0)
SHOT = TimedRequest(
    due_at=0.0,
    sent_at=0.0,
    first_at=0.5,
    done_at=2.5,
    prompt_tokens=10,
    completion_tokens=5,
    gap_s_median=0.5,
    error=None,
)
GOOD = StageLoad(
    stage=Stage(loop="closed", level=1, requests=4),
    requests=tuple(
        replace(SHOT, due_at=2.5 * n, sent_at=2.5 * n, first_at=2.5 * n + 0.5, done_at=2.5 * (n + 1))
        for n in range(4)
    ),
    began_at=0.0,
    offered_s=7.5,
    wall_s=10.0,
    client=ClientCost(cpu_s=1.0, cpu_share=0.1, lag_s=0.001, lag_s_max=0.01, beats=400),
)


def summarised(load: StageLoad, objective: Objective = OBJECTIVE) -> StageResult:
    window = steady_window(load, warm_up_s=None, cool_down_s=None)
    return summarise_stage(MeasuredStage(load=load, window=window), objective)


def with_client(**changes: Any) -> StageLoad:
    return replace(GOOD, client=replace(GOOD.client, **changes))


def test_a_stage_says_why_requests_failed() -> None:
    """The most frequent class of error counts, with the words of its first one; without errors there is
    nothing to say."""
    errors = (("TimedOut", "no reply"), ("Rejected", "first"), ("Rejected", "second"))
    failed = [replace(SHOT, error=name, error_text=words) for name, words in errors]
    assert summarised(replace(GOOD, requests=(*GOOD.requests, *failed))).failure == "Rejected: first"
    assert summarised(GOOD).failure is None


def test_a_stage_without_requests_blames_no_server() -> None:
    """At a very low rate no request is due before the stage ends."""
    assert "no request was due in its time" in (summarised(replace(GOOD, requests=())).refused or "")


def test_the_figures_are_what_they_say() -> None:
    """Four requests of two and a half seconds one after the other, five tokens each, the first after half a
    second."""
    figures = summarised(GOOD).figures
    assert figures is not None
    assert (figures.requests_per_s, figures.output_tokens_per_s, figures.input_tokens_per_s) == pytest.approx(
        (0.4, 2.0, 4.0)
    )
    assert figures.goodput_per_s == pytest.approx(0.4)
    means = (figures.ttft_s, figures.tpot_s, figures.gap_s, figures.e2e_s, figures.waited_s)
    assert [one.mean for one in means] == pytest.approx([0.5, 0.5, 0.5, 2.5, 0.0])
    assert (figures.in_flight, figures.goodput_share) == pytest.approx((1.0, 1.0))


def test_itl_pools_the_gaps_of_all_requests() -> None:
    """A stutter of one request is one gap of eleven: its own median and its TPOT hide it."""
    smooth, stuttering = GOOD.requests[0], GOOD.requests[1]
    load = replace(
        GOOD, requests=(replace(smooth, gaps_s=[0.1] * 5), replace(stuttering, gaps_s=[*[0.1] * 5, 2.0]))
    )
    figures = summarised(load).figures
    assert figures is not None
    assert (figures.itl_s.n, figures.itl_s.max) == (11, 2.0)
    assert figures.itl_s.mean == pytest.approx(3.0 / 11)
    assert (figures.gap_s.n, figures.tpot_s.n) == (2, 2)


def test_goodput_counts_what_kept_the_objective() -> None:
    """A request that starts late or ends late misses the objective; waiting in the client counts against
    it."""
    late = (
        replace(GOOD.requests[0], first_at=1.5),
        replace(GOOD.requests[1], done_at=5.9),
        replace(GOOD.requests[2], due_at=4.4),
        GOOD.requests[3],
    )
    figures = summarised(replace(GOOD, requests=late)).figures
    assert figures is not None
    assert figures.goodput_per_s == pytest.approx(0.1)
    assert figures.requests_per_s == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (with_client(cpu_share=0.97), "97 % of a core"),
        (with_client(lag_s=0.4), "its event loop delay is 400.0 ms on average"),
        (
            replace(
                GOOD,
                requests=tuple(replace(request, sent_at=request.due_at + 1.0) for request in GOOD.requests),
            ),
            "half of the requests waited 1000.0 ms or longer",
        ),
        (
            replace(GOOD, requests=tuple(replace(request, error="Unavailable") for request in GOOD.requests)),
            "no request was answered",
        ),
        (with_client(beats=3), "too short to measure this client's delay"),
    ],
)
def test_what_the_client_limited_has_no_figures(offered: StageLoad, why: str) -> None:
    """A stage that the client limited has a reason in place of metrics, and the client's own figures."""
    measured = summarised(offered)
    assert measured.figures is None
    assert why in str(measured.refused)
    assert (measured.cpu_share, measured.lag_s) == (offered.client.cpu_share, offered.client.lag_s)


def test_each_bound_of_the_objective_counts() -> None:
    """A tighter bound for each further token, or none at all, changes goodput alone; a failed request does
    not keep any."""
    slow = summarised(GOOD, Objective(tpot_s=0.4)).figures
    free = summarised(GOOD, Objective()).figures
    assert slow is not None
    assert free is not None
    assert (slow.goodput_share, free.goodput_share, slow.requests_per_s) == (0.0, 1.0, free.requests_per_s)
    failed = replace(GOOD, requests=(*GOOD.requests[:3], replace(GOOD.requests[3], error="Unavailable")))
    figures = summarised(failed, Objective()).figures
    assert figures is not None
    assert figures.goodput_share == 0.75


def test_a_closed_loop_counts_shares_of_requests() -> None:
    """A window of 4 s holds 4 x 1.6 requests of 4 places that run in step, 2.5 s a request, wherever its
    edges lie in the step."""
    in_step = replace(
        GOOD,
        stage=replace(GOOD.stage, level=4),
        requests=tuple(
            replace(SHOT, due_at=2.5 * n, sent_at=2.5 * n, first_at=2.5 * n + 0.5, done_at=2.5 * (n + 1))
            for n in range(4)
            for _ in range(4)
        ),
    )
    for from_s in (0.5, 2.5, 3.1):
        window = SteadyWindow(from_s=from_s, to_s=from_s + 4.0, whole=False, steady=None, note="")
        figures = metrics_of([MeasuredStage(load=in_step, window=window)], OBJECTIVE)
        assert figures is not None
        assert figures.requests_per_s == pytest.approx(1.6)
        assert figures.output_tokens_per_s == pytest.approx(8.0)


def test_an_open_loop_counts_what_ends_in_the_window() -> None:
    """Two of four requests end in a window of five seconds."""
    opened = replace(GOOD, stage=replace(GOOD.stage, loop="open"))
    window = SteadyWindow(from_s=2.6, to_s=7.6, whole=False, steady=None, note="")
    figures = metrics_of([MeasuredStage(load=opened, window=window)], OBJECTIVE)
    assert figures is not None
    assert figures.requests_per_s == pytest.approx(0.4)
    assert figures.e2e_s.n == 2


def test_turns_of_sessions_are_apart() -> None:
    """Each turn has its own time to first chunk and its share of cached tokens."""
    turns = tuple(
        replace(
            one,
            session=n // 2,
            turn=n % 2,
            cached_tokens=8 * (n % 2),
            first_at=one.due_at + 0.4 - 0.3 * (n % 2),
        )
        for n, one in enumerate(GOOD.requests)
    )
    figures = summarised(replace(GOOD, requests=turns)).figures
    assert figures is not None
    assert [(one.turn, one.cached_share) for one in figures.by_turn] == [(0, 0.0), (1, 0.8)]
    assert [one.ttft_s.mean for one in figures.by_turn] == pytest.approx([0.4, 0.1])
    assert figures.cached_share == 0.4
    assert [turns_with(turn) for turn in (0, 9, 10, 19, 20, 39, 40, 250)] == [
        (0, 0), (9, 9), (10, 19), (10, 19), (20, 39), (20, 39), (40, 79), (160, 319),
    ]  # fmt: skip
