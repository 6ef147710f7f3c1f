"""Pauses as servers state them."""

from __future__ import annotations

import pytest

from harness.core.durations import PAUSE_S_MAX, pause_in_words, seconds_until

NOW_S = 1_741_305_500.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-5", 0.0),
        ("250ms", 0.25),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("1.5µs", 1.5e-6),
        ("2 minutes", 120.0),
        ("1741305600", 100.0),
        ("1741305600000", 100.0),
        ("Fri, 07 Mar 2025 00:00:00 GMT", 100.0),
        ("2025-03-07T00:00:00Z", 100.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("inf", None),
        ("nan", None),
        ("1e300s", None),
        ("infs", None),
        ("99999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_durations_and_moments(text: str, seconds: float | None) -> None:
    """Numbers, Go's durations, words, epochs in seconds and milliseconds, dates; nothing infinite or
    absurd."""
    read = seconds_until(text, NOW_S)
    assert read == (None if seconds is None else pytest.approx(seconds))


def test_a_unit_is_that_of_bare_numbers() -> None:
    """retry-after-ms counts milliseconds; a month is the longest pause."""
    assert seconds_until("250", NOW_S, unit_s=0.001) == 0.25
    assert seconds_until(str(PAUSE_S_MAX), NOW_S) == PAUSE_S_MAX


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 7.66s. Visit the page", 7.66),
        ("Limit 100000, Used 99900. Please try again in 6m0s.", 360.0),
        ("Please retry after 2 seconds.", 2.0),
        ("No deployments available, Try again in 5 seconds. Passed model=x", 5.0),
        ("Please retry in 34.07s", 34.07),
        ("try again in 1 hour and 5 minutes", 3900.0),
        ("try again in 2 minutes", 120.0),
        ("Please retry your request in a few minutes", None),
        ("try again later", None),
        ("model 7s is busy", None),
    ],
)
def test_pauses_in_words(message: str, seconds: float | None) -> None:
    """The words of a message state a pause that no header states."""
    assert pause_in_words(message, NOW_S) == seconds
