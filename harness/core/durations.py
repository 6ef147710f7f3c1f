"""Reads durations, and the moments in which servers say how long to wait. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PAUSE_S_MAX = 31 * 86_400.0  # no quota is longer than a month; a longer pause is an error of the server
_UNIT_S = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86_400.0, "day": 86_400.0, "days": 86_400.0,
    "milliseconds": 1e-3, "millisecond": 1e-3,
}  # fmt: skip
_UNITS = "|".join(sorted(_UNIT_S, key=len, reverse=True))
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNITS})(?![a-zµμ])")
_DURATION = re.compile(rf"(?:{_PART.pattern}[\s,]*(?:and\s+)?)+")
_IN_WORDS = re.compile(
    rf"\b(?:again|retry|retrying|reset|resets|wait|available)\s+(?:your request\s+)?(?:in|after|for)?\s*"
    rf"(?:about|approximately)?\s*({_DURATION.pattern})"
)
_MOMENT_IN_WORDS = re.compile(
    r"\b(?:again|retry|resets?|available)\s+(?:at|on|after)\s*:?\s*"
    r"(\d{4}-\d\d-\d\d[ t]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(z|utc|gmt|[+-]\d\d:?\d\d)?"
)
_EPOCH_S = (1e9, 1e11)  # years 2001 to 5138: a number in this range is a moment, in seconds since 1970
_EPOCH_MS = (1e12, 1e14)  # the same in milliseconds


def seconds_until(text: str, wall_s: float, *, unit_s: float = 1.0) -> float | None:
    """Returns the seconds that this text states: "7", "1.5", "6m0s", "250ms", "2 minutes", a date, a moment.

    wall_s   now, in seconds since 1970: the text may be an HTTP date, an ISO 8601 moment or an epoch number
    unit_s   seconds of the unit of a bare number
    returns  None for what cannot be read, for infinity, and beyond PAUSE_S_MAX; 0 for the past"""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        if (seconds := duration_s(text.lower())) is not None:
            return _bounded(seconds)
        moment_s = _moment_s(text)
        return None if moment_s is None else _bounded(moment_s - wall_s)
    if _EPOCH_S[0] <= value < _EPOCH_S[1]:
        return _bounded(value - wall_s)
    if _EPOCH_MS[0] <= value < _EPOCH_MS[1]:
        return _bounded(value / 1000.0 - wall_s)
    return _bounded(value * unit_s)


def pause_in_words(text: str, wall_s: float) -> float | None:
    """Returns the pause that a message asks for in words, such as "Please try again in 6m0s" or "Limit resets
    at: 2026-11-30 00:54:20 UTC"; None without one.

    wall_s   now, in seconds since 1970; a moment without a zone is UTC"""
    words = text.lower()
    if (found := _IN_WORDS.search(words)) is not None:
        return _bounded(duration_s(found[1].strip(" ,")) or 0.0)
    if (moment := _MOMENT_IN_WORDS.search(words)) is not None:
        zone = moment[2] if moment[2] and moment[2][0] in "+-" else "+00:00"
        return seconds_until(moment[1].upper() + zone, wall_s)
    return None


def duration_s(text: str) -> float | None:
    """Returns the seconds of a duration such as "6h", "1.5 hours" or "6m0s"; None for any other text."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(count) * _UNIT_S[unit] for count, unit in _PART.findall(text))


def _moment_s(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
        except (ValueError, TypeError, OverflowError):
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _bounded(seconds: float) -> float | None:
    """Returns the seconds, at least 0; None if they are no pause."""
    return max(0.0, seconds) if math.isfinite(seconds) and seconds <= PAUSE_S_MAX else None
