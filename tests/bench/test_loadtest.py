"""Load tests of a server whose law is known, small: `python -m bench.loadtest` has twenty seeds and more
requests."""

from __future__ import annotations

import pytest

from bench.loadtest import ServiceLaw, figures_of, knee_is_near, measure, ratios, rising
from harness.loadtest.load_profile import LoadProfile, Loop

LAW = ServiceLaw()


def test_the_law_is_that_of_the_books() -> None:
    """Two of three busy workers wait as Erlang C says: .444; places without a queue give places / (delay +
    service)."""
    law = ServiceLaw(workers=3, token_s=1 / ServiceLaw().tokens_mean)
    assert law.service_s == pytest.approx(1.0)
    assert law.open_wait_s(2.0) == pytest.approx(4 / 9)
    assert ServiceLaw(workers=10).closed_rate(10) == pytest.approx(10 / (0.1 + ServiceLaw().service_s))
    assert LAW.closed_rate(200) == pytest.approx(LAW.workers / LAW.service_s)


def test_estimates_are_near_the_truth() -> None:
    """Rates, time to first token and time per token of a closed and an open loop are within 10 % of the
    law's, with 2,000 requests each."""
    found = dict(ratios(LAW, places=12, rate=5.0, requests=2000, seed=1))
    assert {name: value for name, value in found.items() if not 0.9 < value < 1.1} == {}


def test_the_knee_is_found_and_not_invented() -> None:
    """The knee is within one level of the true one; a server whose throughput rises up to the bound has
    none."""
    near, knee, truth = knee_is_near(LAW, requests=800, seed=1)
    assert near, (knee, truth)
    assert rising(ServiceLaw(workers=1000), requests=400, seed=1)


def test_a_stall_is_in_the_percentiles() -> None:
    """A server that stops for two seconds of a hundred delays 2 % of the requests by up to two seconds: p99
    is about one second. Without it p99 is the time of the law."""
    profile = LoadProfile(requests=2000)
    levels: list[tuple[Loop, float]] = [("open", 20.0)]
    (without,) = figures_of(measure(ServiceLaw(workers=64), profile, 1, levels))
    (with_stall,) = figures_of(measure(ServiceLaw(workers=64, stall=(50.0, 52.0)), profile, 1, levels))
    assert without.ttft_s.p99 == pytest.approx(0.11, abs=0.01)
    assert with_stall.ttft_s.p99 == pytest.approx(1.1, abs=0.35)
