"""Reads rate limits from response headers. Pure.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI, Groq, Together, Azure) and
`anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`. All are a
minute's. Resets are durations, seconds or moments, as harness/core/durations.py reads them. Sources: the
providers' pages on rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.core.durations import seconds_until
from harness.limits.token_bucket import QuotaReport

Quota = Literal["requests", "tokens", "input_tokens", "output_tokens"]
_QUOTAS: dict[str, Quota] = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}

NONSENSE = 1e15  # no quota comes near it


def read_reports(headers: Mapping[str, str], wall_s: float) -> dict[Quota, QuotaReport]:
    """Returns what these headers (names in lower case) report of each quota; what cannot be read is left out.

    wall_s   now, in seconds since 1970"""
    reports: dict[Quota, QuotaReport] = {}
    for word, quota in _QUOTAS.items():
        reported = {
            what: headers.get(f"x-ratelimit-{what}-{word}", headers.get(f"anthropic-ratelimit-{word}-{what}"))
            for what in ("limit", "remaining", "reset")
        }
        report = QuotaReport(
            limit=_number(reported["limit"]),
            remaining=_number(reported["remaining"]),
            reset_s=None if reported["reset"] is None else seconds_until(reported["reset"], wall_s),
        )
        if report != QuotaReport():
            reports[quota] = report
    return reports


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < NONSENSE else None
