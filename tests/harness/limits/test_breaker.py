"""A time in which nobody is served is told from single failures."""

from __future__ import annotations

from harness.limits.breaker import (
    FAILURES_IN_ROW,
    LONG_OUTAGE_PAUSE_S,
    LONG_OUTAGE_S,
    LONGEST_PAUSE_S,
    Breaker,
)


def outage(breaker: Breaker, *, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """Calls one at a time, each sent when the pause is over, all refused at once: returns the pauses, and
    when each began."""
    now_s, pauses, sent = begin_s, [], 0
    while now_s < end_s:
        sent += 1
        pause_s = breaker.failed(sent_s=now_s, sent_calls=sent, now_s=now_s + 0.01)
        if pause_s is not None:
            pauses.append((now_s, pause_s))
        now_s += (pause_s or 0.0) + 0.1
    return pauses


def test_pauses_double_to_a_quarter_of_a_minute_and_later_are_a_minute() -> None:
    """An end within five minutes is noticed within 15 s; after that one call a minute probes."""
    breaker = Breaker()
    pauses = outage(breaker, begin_s=0.0, end_s=900.0)
    assert [pause_s for _, pause_s in pauses[:5]] == [2.0, 4.0, 8.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert {pause_s for at_s, pause_s in pauses if at_s >= LONG_OUTAGE_S} == {LONG_OUTAGE_PAUSE_S}
    assert breaker.open
    assert breaker.silent_since_s == 0.01
    assert breaker.served(899.0) == 0.01
    assert not breaker.open
    assert breaker.silent_since_s is None


def test_calls_in_flight_at_the_first_failure_count_once() -> None:
    """Fifty refusals of calls sent at one moment are one failure, and so is the end of what was sent before a
    pause."""
    breaker = Breaker()
    assert [breaker.failed(sent_s=1.0, sent_calls=50, now_s=1.1) for _ in range(50)] == [None] * 50
    assert not breaker.open


def test_a_call_sent_before_the_first_failure_ends_nothing() -> None:
    """It was admitted before the trouble; only a call sent after it shows that others are served."""
    breaker = Breaker()
    outage(breaker, begin_s=10.0, end_s=11.0)
    assert breaker.open
    assert breaker.served(9.0) is None
    assert breaker.open
    assert breaker.served(11.0) is not None
    assert not breaker.open


def test_failures_among_many_calls_in_flight_do_not_open_it() -> None:
    """Quick refusals of a tenth of the calls come long before the others are served."""
    breaker, sent = Breaker(), 0
    for number in range(20):
        sent += 10
        assert breaker.failed(sent_s=0.1 * number, sent_calls=sent, now_s=0.1 * number + 0.05) is None
    assert breaker.in_row >= FAILURES_IN_ROW
    assert not breaker.open


def test_the_eighth_failure_in_a_row_opens_it() -> None:
    """Seven do not, even if they are all calls that were sent."""
    breaker = Breaker()
    pauses = [
        breaker.failed(sent_s=float(n), sent_calls=n, now_s=n + 0.5) for n in range(1, FAILURES_IN_ROW + 1)
    ]
    assert pauses == [None] * (FAILURES_IN_ROW - 1) + [2.0]


def test_a_silence_of_less_than_five_minutes_is_probed_often() -> None:
    """The long pause begins five minutes after the first failure, wherever the clock stands."""
    breaker = Breaker()
    pauses = outage(breaker, begin_s=10_000.0, end_s=10_000.0 + LONG_OUTAGE_S - 1.0)
    assert {pause_s for _, pause_s in pauses} == {2.0, 4.0, 8.0, LONGEST_PAUSE_S}


def test_a_call_of_the_first_moment_of_the_clock_may_end_a_silence() -> None:
    """Only a call sent before the first failed one does not count."""
    breaker = Breaker()
    breaker.failed(sent_s=0.5, sent_calls=1, now_s=0.6)
    assert breaker.served(0.4) is None
    assert breaker.served(0.5) == 0.6
    assert breaker.served(0.7) is None


def test_failures_in_a_row_are_counted_from_the_first_one() -> None:
    """None at the start and after a served call; a call sent before the first failure was known adds none."""
    breaker = Breaker()
    assert (breaker.in_row, breaker.open, breaker.silent_since_s) == (0, False, None)
    for sent_s, in_row in ((1.0, 1), (1.4, 1), (1.5, 1), (1.6, 2), (1.7, 3)):
        breaker.failed(sent_s=sent_s, sent_calls=5, now_s=sent_s + 0.5)
        assert breaker.in_row == in_row
    breaker.served(2.0)
    assert breaker.in_row == 0


def test_more_than_seven_tenths_of_the_calls_since_the_first_failure_open_it() -> None:
    """Fourteen failures of twenty calls sent since then do not open it, and fifteen do."""
    breaker = Breaker()
    breaker.failed(sent_s=0.5, sent_calls=1_000, now_s=1.0)
    pauses = [
        breaker.failed(sent_s=1.0 + number, sent_calls=1_020, now_s=1.5 + number) for number in range(1, 15)
    ]
    assert breaker.in_row == 15
    assert pauses == [None] * 13 + [2.0]


def test_the_long_pause_begins_five_minutes_after_the_first_failure() -> None:
    """A probe that fails a moment earlier is followed by a short one."""
    for last_s, pause_s in ((LONG_OUTAGE_S - 0.1, 2.0), (LONG_OUTAGE_S, LONG_OUTAGE_PAUSE_S)):
        breaker = Breaker()
        for number in range(FAILURES_IN_ROW - 1):
            breaker.failed(sent_s=999.5 + number, sent_calls=number, now_s=1_000.0 + number)
        found = breaker.failed(sent_s=1_100.0, sent_calls=FAILURES_IN_ROW, now_s=1_000.0 + last_s)
        assert found == pause_s
