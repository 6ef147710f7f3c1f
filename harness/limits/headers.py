"""What providers say of their limits in response headers. Pure.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI, Groq, Together, Azure; resets as "6m0s",
"250ms" or seconds) and
`anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` (resets as RFC 3339
moments). All are a minute's. Sources: the providers' pages on rate limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from harness.limits.token_bucket import QuotaReport

Quota = Literal["requests", "tokens", "input_tokens", "output_tokens"]
_QUOTAS: dict[str, Quota] = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
RESET_S_MAX = 86_400.0  # a longer one is no duration: some servers send a moment as a number
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def read_reports(headers: Mapping[str, str], wall_s: float) -> dict[Quota, QuotaReport]:
    """Quota -> what these headers (names in lower case) say of it; what cannot be read is not said.

    wall_s   now, in seconds since 1970"""
    reports: dict[Quota, QuotaReport] = {}
    for word, quota in _QUOTAS.items():
        said = {
            what: headers.get(f"x-ratelimit-{what}-{word}", headers.get(f"anthropic-ratelimit-{word}-{what}"))
            for what in ("limit", "remaining", "reset")
        }
        report = QuotaReport(
            limit=_number(said["limit"]),
            remaining=_number(said["remaining"]),
            reset_s=_seconds(said["reset"], wall_s),
        )
        if report != QuotaReport():
            reports[quota] = report
    return reports


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _seconds(text: str | None, wall_s: float) -> float | None:
    """ "6m0s", "250ms", "1.5", "2026-11-22T10:00:00Z" -> seconds from now."""
    if text is None:
        return None
    seconds = _number(text)
    if seconds is None and re.fullmatch(f"(?:{_PIECE.pattern})+", text):
        seconds = sum(float(count) * _UNIT_S[unit] for count, unit in _PIECE.findall(text))
    if seconds is None:
        try:
            seconds = datetime.fromisoformat(text).timestamp() - wall_s
        except ValueError:
            return None
    return max(0.0, seconds) if seconds <= RESET_S_MAX else None
