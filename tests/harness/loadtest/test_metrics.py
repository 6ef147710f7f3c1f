"""The metrics of a stage, and the reasons why a stage has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.loadtest.generator import Stage, StageLoad, TimedRequest
from harness.loadtest.metrics import Objective, StageResult, knee, quantiles, summarise_stage

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
    wall_s=10.0,
    cpu_share=0.1,
    lag_s=0.001,
    lag_s_max=0.01,
    beats=400,
)


def test_the_figures_are_what_they_say() -> None:
    """Four requests of two and a half seconds one after the other, five tokens each, the first after half a
    second."""
    figures = summarise_stage(GOOD, OBJECTIVE).figures
    assert figures is not None
    assert (figures.requests_per_s, figures.output_tokens_per_s, figures.input_tokens_per_s) == pytest.approx(
        (0.4, 2.0, 4.0)
    )
    assert figures.goodput_per_s == pytest.approx(0.4)
    assert (
        figures.ttft_s[0],
        figures.tpot_s[0],
        figures.gap_s[0],
        figures.e2e_s[0],
        figures.waited_s[0],
    ) == pytest.approx((0.5, 0.5, 0.5, 2.5, 0.0))


def test_percentiles_lie_between_neighbours() -> None:
    """The quantiles of 1 to 101 are exactly 51, 91, 96, 100; those of one value are that value."""
    assert quantiles([float(n) for n in range(101, 0, -1)]) == pytest.approx((51, 91, 96, 100))
    assert quantiles([7.0]) == (7.0,) * 4
    assert quantiles([]) == ()


def test_goodput_counts_what_kept_the_objective() -> None:
    """A request that starts late or ends late misses the objective; waiting in the client counts against
    it."""
    late = (
        replace(GOOD.requests[0], first_at=1.5),
        replace(GOOD.requests[1], done_at=5.9),
        replace(GOOD.requests[2], due_at=4.4),
        GOOD.requests[3],
    )
    figures = summarise_stage(replace(GOOD, requests=late), OBJECTIVE).figures
    assert figures is not None
    assert figures.goodput_per_s == pytest.approx(0.1)
    assert figures.requests_per_s == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (replace(GOOD, cpu_share=0.97), "97 % of a core"),
        (replace(GOOD, lag_s=0.4), "its event loop delay is 400.0 ms on average"),
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
        (replace(GOOD, beats=3), "too short to measure this client's delay"),
    ],
)
def test_what_the_client_limited_has_no_figures(offered: StageLoad, why: str) -> None:
    """A stage that the client limited has a reason in place of metrics, and the client's own figures."""
    measured = summarise_stage(offered, OBJECTIVE)
    assert measured.figures is None
    assert why in str(measured.refused)
    assert (measured.cpu_share, measured.lag_s) == (offered.cpu_share, offered.lag_s)


def test_the_knee_is_the_least_level_that_is_nearly_best() -> None:
    """Throughput 1, 1.9, 2.0, 2.0 at 1, 2, 4, 8 in flight: 2. A refused stage and an open one do not count;
    one stage has no knee."""

    def stage(level: float, rate: float, *, refused: bool = False) -> StageResult:
        made = summarise_stage(GOOD, OBJECTIVE)
        assert made.figures is not None
        figures = None if refused else replace(made.figures, requests_per_s=rate)
        return replace(made, stage=Stage(loop="closed", level=level, requests=4), figures=figures)

    ladder = [stage(1, 1.0), stage(2, 1.9), stage(4, 2.0), stage(8, 2.0), stage(16, 9.0, refused=True)]
    opened = replace(ladder[0], stage=Stage(loop="open", level=0.5, requests=4))
    assert knee([*ladder, opened]) == 2
    assert knee(ladder[:1]) is None
