"""The rate limit headers of providers, as their documentation has them."""

from __future__ import annotations

from datetime import UTC, datetime

from harness.limits.headers import read_reports
from harness.limits.token_bucket import QuotaReport

NOW_S = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC).timestamp()


def test_openai_headers() -> None:
    """Requests and tokens, resets as durations."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_reports(headers, NOW_S) == {
        "requests": QuotaReport(limit=60, remaining=59, reset_s=1),
        "tokens": QuotaReport(limit=150_000, remaining=149_984, reset_s=360),
    }


def test_anthropic_headers() -> None:
    """Input and output tokens apart, resets as moments."""
    headers = {
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-requests-reset": "2026-11-22T10:00:15Z",
        "anthropic-ratelimit-output-tokens-remaining": "80000",
    }
    assert read_reports(headers, NOW_S) == {
        "requests": QuotaReport(limit=4_000, remaining=3_999, reset_s=15),
        "output_tokens": QuotaReport(remaining=80_000),
    }


def test_durations_in_every_unit_and_nonsense() -> None:
    """Every unit is read; a text that is no duration is None and raises nothing."""
    for text, seconds in {
        "250ms": 0.25,
        "7.66s": 7.66,
        "2m59.56s": 179.56,
        "1h2m": 3720.0,
        "1d": 86_400.0,
        "2d": 172_800.0,
        "40d": None,
        "1795341615": 15.0,
        "12": 12.0,
        "soon": None,
        "": None,
    }.items():
        report = read_reports({"x-ratelimit-reset-requests": text, "x-ratelimit-limit-requests": "1"}, NOW_S)[
            "requests"
        ]
        assert report.reset_s == seconds
    assert (
        read_reports(
            {"x-ratelimit-limit-requests": "nan", "x-ratelimit-remaining-tokens": "-1", "content-type": "x"},
            NOW_S,
        )
        == {}
    )


def test_a_remainder_of_0_is_a_report_and_an_endless_limit_is_none() -> None:
    """Nothing is left: that is what matters most. A limit of 1e15 or more is no number of requests."""
    assert read_reports({"x-ratelimit-remaining-requests": "0"}, NOW_S) == {
        "requests": QuotaReport(remaining=0.0)
    }
    assert read_reports({"x-ratelimit-limit-requests": "1e15"}, NOW_S) == {}
