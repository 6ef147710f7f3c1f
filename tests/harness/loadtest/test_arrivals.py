"""The moments of an open loop."""

from __future__ import annotations

from itertools import islice, pairwise
from statistics import fmean, pstdev

import pytest

from harness.core.seeds import stream
from harness.loadtest.arrivals import arrival_moments
from harness.loadtest.load_profile import Arrivals, LoadProfile, Stage


def moments(
    count: int, *, ramp_s: float = 0.0, arrivals: Arrivals = "poisson", burstiness: float = 1.0
) -> list[float]:
    stage = Stage(
        loop="open", level=4.0, requests=None, ramp_s=ramp_s, arrivals=arrivals, burstiness=burstiness
    )
    return list(islice(arrival_moments(stage, stream(1, "arrivals")), count))


@pytest.mark.parametrize(
    ("arrivals", "burstiness", "variation"),
    [("poisson", 1.0, 1.0), ("gamma", 0.25, 2.0), ("gamma", 4.0, 0.5), ("constant", 1.0, 0.0)],
)
def test_gaps_have_the_rate_and_the_spread(arrivals: Arrivals, burstiness: float, variation: float) -> None:
    """Gaps have the mean 1 / rate; their coefficient of variation is 1 / sqrt(burstiness), or 0."""
    gaps = [b - a for a, b in pairwise(moments(40_000, arrivals=arrivals, burstiness=burstiness))]
    assert fmean(gaps) == pytest.approx(0.25, rel=0.03)
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(variation, abs=0.05)


def test_a_ramp_grows_evenly() -> None:
    """In a ramp of ten seconds to four a second 20 requests are due: a quarter of them in its first half;
    then four a second."""
    due = moments(60, ramp_s=10.0, arrivals="constant")
    assert sum(moment <= 10.0 for moment in due) == 20
    assert sum(moment <= 5.0 for moment in due) == 5
    assert [b - a for a, b in pairwise(due[20:])] == pytest.approx([0.25] * 39)


def test_a_stage_has_enough_requests_by_default() -> None:
    """100, or ten for each place; what the user sets is taken as it is."""
    assert LoadProfile().stage("closed", 4).requests == 100
    assert LoadProfile().stage("closed", 64).requests == 640
    assert LoadProfile().stage("open", 64).requests == 100
    assert LoadProfile(requests=2).stage("closed", 64).requests == 2
    assert LoadProfile(seconds=5).stage("closed", 64).requests is None
