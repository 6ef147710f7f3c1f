"""Window, breaker and learned quota together: what is announced, and what an outage leaves."""

from __future__ import annotations

from math import inf

import pytest

from harness.limits.breaker import FAILURES_IN_ROW
from harness.limits.congestion import Congestion


class Played:
    """A congestion with its events, and calls that are sent one at a time, each answered after an eighth of a
    second."""

    def __init__(self, *, size: int = 8) -> None:
        self.events: list[tuple[str, str]] = []
        self.congestion = Congestion(
            start=size, ceiling=size, on_event=lambda kind, detail: self.events.append((kind, detail))
        )

    def served(self, at_s: float, *, sent_with: int = 1, in_flight: int = 1) -> None:
        self.congestion.sent(sent_with=sent_with, now_s=at_s)
        number = self.congestion.sent_calls
        self.congestion.served(
            number=number, sent_s=at_s, sent_with=sent_with, now_s=at_s + 0.125, in_flight=in_flight
        )
        self.congestion.left(at_s)

    def failed(
        self,
        at_s: float,
        *,
        limited: bool = False,
        retry_after_s: float | None = None,
        sent_with: int = 1,
        quota_known: bool = False,
        in_flight: int = 1,
    ) -> float:
        """Returns the pause that the failure of a call asks for."""
        self.congestion.sent(sent_with=sent_with, now_s=at_s)
        pause_s = self.congestion.failed(
            number=self.congestion.sent_calls,
            sent_s=at_s,
            sent_with=sent_with,
            limited=limited,
            retry_after_s=retry_after_s,
            quota_known=quota_known,
            cause="HTTP 429" if limited else "HTTP 503",
            error="words of the provider",
            now_s=at_s + 0.125,
            in_flight=in_flight,
        )
        self.congestion.left(at_s)
        return pause_s

    @property
    def learned(self) -> float | None:
        return self.congestion.learned.per_minute

    @property
    def cuts(self) -> list[str]:
        return [detail for kind, detail in self.events if kind == "cut"]


def test_an_outage_opens_at_the_eighth_failure_and_ends_with_a_served_call() -> None:
    """Seven failures in a row pause nothing; from the eighth on one call probes, until one is served."""
    played = Played()
    played.served(0.0)
    pauses = [played.failed(1.0 + number) for number in range(FAILURES_IN_ROW)]
    assert pauses == [0.0] * (FAILURES_IN_ROW - 1) + [2.0]
    assert played.congestion.probing
    assert played.congestion.last_failure == "words of the provider"
    assert played.congestion.silent_since_s == 1.125
    assert played.events[-1:] == [
        (
            "cut",
            "sending one call at a time after 8 failures in a row (HTTP 503); when a call is served again, concurrency"
            " begins at 8 (it was 1)",
        )
    ]
    played.served(20.0)
    assert not played.congestion.probing
    assert played.congestion.silent_since_s is None
    assert played.congestion.served_since(20.0)
    assert not played.congestion.served_since(20.1)


def test_a_single_failure_ends_nothing_that_was_learned() -> None:
    """A figure learned in a short trouble is kept after it, one learned in a long silence is not."""
    for pause_s, kept in ((10.0, True), (90.0, False)):
        played = Played()
        for number in range(120):
            played.served(0.5 * number)
        played.failed(60.0)
        learned = played.congestion.learned
        for number in range(3):
            learned.refused(sent_s=60.5 + number, now_s=60.6 + number, retry_after_s=30.0, of_rate=True)
        assert learned.per_minute is not None
        played.served(60.0 + pause_s)
        assert (learned.per_minute is not None) is kept


def test_a_learned_quota_is_announced_when_it_changes_by_more_than_steps() -> None:
    """The first figure, a cut of more than 5 % and a raise of more than a quarter are events."""
    played = Played()
    learned = played.congestion.learned
    learned.forgotten = "why"
    for figure in (100.0, 96.0, 94.0, 100.0, 117.0, 118.0, None):
        learned._set(figure, 0.0)
        played.congestion.note_learned_quota()
    assert [detail for _, detail in played.events] == [
        "quota: 100 requests/min (learned from refusals)",
        "quota: 94 requests/min (learned from refusals; it was 100)",
        "quota: 118 requests/min (learned from refusals; it was 94)",
        "no quota on requests is assumed, because why",
    ]


def test_a_long_pause_of_a_refusal_is_kept_by_all_and_a_short_one_by_its_call() -> None:
    """HTTP 429 that asks for 5 s or more says that calls come too fast; HTTP 503 does not."""
    for limited, asked_s, kept_s in ((True, 5.0, 5.0), (False, 5.0, 0.0), (False, None, 0.0)):
        played = Played()
        for number in range(60):
            played.served(0.1 * number)
        assert played.failed(10.0, limited=limited, retry_after_s=asked_s) == kept_s


@pytest.mark.parametrize(
    ("pauses_s", "figure"),
    [
        ([2.0, 2.0, 2.0, 2.0, 2.0], False),
        ([2.0, 2.0, 2.4, 2.4, 2.4], False),  # the longest is 1.2 times the shortest
        ([2.0, 2.5, 2.0], False),  # a fourth refusal compares the three before it
        ([2.0, 2.0, 2.5, 2.0], True),
        ([0.5, 0.5, 0.5, 0.5, 0.5], False),
        ([0.5, 0.5, 0.7, 0.5], True),
        ([None, 2.0, 2.0, 2.0, 2.0], False),  # no pause is none of 0 s
        ([None, 2.0, 2.0, 2.5], False),
        ([inf, 2.0, 2.0, 2.0, 2.0], False),
    ],
)
def test_three_pauses_of_different_lengths_speak_of_a_rate(
    pauses_s: list[float | None], figure: bool
) -> None:
    """They are computed from the time: a figure is learned from refusals that ask for less than 5 s."""
    played = Played()
    for number, pause_s in enumerate(pauses_s):
        assert played.learned is None
        played.failed(float(number), limited=True, retry_after_s=pause_s)
    assert (played.learned is not None) is figure


@pytest.mark.parametrize(
    ("refused_with", "others_with", "figure"),
    [(30, 40, True), (31, 40, False), (30, 31, True), (30, 30, False)],
)
def test_refusals_with_few_in_flight_speak_of_a_rate(
    refused_with: int, others_with: int, figure: bool
) -> None:
    """40 are served together, and of calls with at most 30 in flight three in a row are refused. Calls sent
    with more in flight do not count; those sent with as few and not refused do. A rate is suspected then."""
    played = Played(size=40)
    played.congestion.window.served_with = 40.0
    for second in range(3):
        assert played.learned is None
        played.failed(float(second), limited=True, sent_with=refused_with)
        for _ in range(3):
            played.congestion.sent(sent_with=others_with, now_s=second + 0.5)
    assert played.cuts == []
    assert (played.learned is not None) is figure


def test_refusals_do_not_cut_a_window_that_is_paced() -> None:
    """With a learned quota a refusal is one too fast; a failure without service is still evidence of
    overload."""
    for limited, figure, after in ((True, None, "429"), (True, 600.0, None), (False, 600.0, "503")):
        played = Played(size=10)
        played.congestion.learned._set(figure, 0.0)
        for number in range(3):
            played.failed(1.0 + number, limited=limited)
            played.congestion.sent(sent_with=1, now_s=1.5 + number)
        text = f"concurrency lowered to 7 after HTTP {after} (it was 10; 3 of 5 recent calls failed)"
        assert played.cuts == ([text] if after else [])


def test_nothing_is_learned_from_failures_that_are_no_refusals_or_where_quotas_are_known() -> None:
    """Three refusals in a row that ask for half a minute are a quota where the provider reports none."""
    for limited, quota_known, figure in (
        (True, False, True),
        (True, True, False),
        (False, False, False),
        (False, True, False),
    ):
        played = Played()
        for number in range(3):
            played.failed(1.0 + number, limited=limited, quota_known=quota_known, retry_after_s=30.0)
        assert (played.learned is not None) is figure


def test_a_cut_that_is_undone_makes_a_rate_suspected() -> None:
    """Three of the five calls before the cut were refused, and five of the sixteen after it."""
    played = Played(size=10)
    played.congestion.window.served_with = 1.0
    for number, call in enumerate("x.x.x" + "." * 11 + "xxxxx"):
        assert played.learned is None
        if call == "x":
            played.failed(float(number), limited=True)
        else:
            played.congestion.sent(sent_with=1, now_s=float(number))
    assert played.cuts == [
        "concurrency lowered to 7 after HTTP 429 (it was 10; 3 of 5 recent calls failed)",
        "concurrency raised again to 10 (it was 7), because fewer calls in flight did not help: 5 of 16 recent calls"
        " failed (HTTP 429)",
    ]
    assert played.learned is not None
    assert played.congestion.learned.is_tested
    assert played.events[-1] == (
        "quota",
        "pace: 32 requests/min, to test if calls are refused because they come too fast",
    )


@pytest.mark.parametrize(
    ("limited", "asked_s", "sent_with", "quota_known", "figure", "kept_s"),
    [
        (True, 2.0, 2, False, None, 0.0),  # more in flight than are served together: the call's own pause
        (True, 2.0, 1, False, None, 2.0),
        (True, 4.9, 2, False, None, 0.0),
        (True, 5.0, 2, False, None, 5.0),
        (True, 2.0, 2, True, None, 2.0),
        (True, 2.0, 2, False, 600.0, 2.0),
        (False, 5.0, 1, True, 600.0, 0.0),
        (True, None, 1, False, None, 0.0),
        (True, inf, 1, False, None, 0.0),
        (True, 0.5, 1, False, None, 0.5),
    ],
)
def test_a_refusal_too_fast_pauses_all(
    limited: bool,
    asked_s: float | None,
    sent_with: int,
    quota_known: bool,
    figure: float | None,
    kept_s: float,
) -> None:
    """It asks for 5 s or more, or comes where a quota is known or learned, or with no more in flight than are
    served together."""
    played = Played()
    played.congestion.window.served_with = 1.0
    played.congestion.learned._set(figure, 0.0)
    pause_s = played.failed(
        1.0, limited=limited, retry_after_s=asked_s, sent_with=sent_with, quota_known=quota_known
    )
    assert pause_s == kept_s


def test_while_nobody_is_served_one_call_probes_beside_those_sent_before() -> None:
    """Five are in flight when the breaker opens, the one that failed among them."""
    played = Played(size=20)
    congestion = played.congestion
    for number in range(FAILURES_IN_ROW - 1):
        played.failed(1.0 + number)
    before_s = 8.0
    assert congestion.room == congestion.window.size
    played.failed(before_s, in_flight=5)
    assert congestion.probing
    assert congestion.room == 1 + 4
    congestion.left(11.0)  # a probe
    assert congestion.room == 1 + 4
    played.failed(20.0, in_flight=9)
    assert congestion.room == 1 + 4
    opened_s = before_s + 0.125
    for left in (3, 2, 1, 0, 0):
        congestion.left(opened_s)
        assert congestion.room == 1 + left
    played.served(30.0)
    assert congestion.room == congestion.window.size == 20


def test_failures_among_many_sent_calls_are_no_outage() -> None:
    """Eight in a row of a hundred calls sent since the first: the others may be about to be served."""
    played = Played()
    played.failed(0.0)
    for _ in range(100):
        played.congestion.sent(sent_with=1, now_s=0.5)
    for number in range(FAILURES_IN_ROW):
        played.failed(1.0 + number)
    assert not played.congestion.probing


def test_a_call_sent_before_the_first_failure_ends_no_outage() -> None:
    """It was admitted before the trouble."""
    played = Played()
    for number in range(FAILURES_IN_ROW):
        played.failed(10.0 + number)
    played.served(9.0)
    assert played.congestion.probing


def hundred_and_silence(played: Played, begin_s: float, *, failures: str, until_s: float) -> None:
    """Serves a hundred calls in ten seconds, then fails calls with HTTP 429 (r) or 503 (u), then serves
    one."""
    for number in range(100):
        played.served(begin_s + 0.1 * number)
    for number, kind in enumerate(failures):
        played.failed(begin_s + 10.0 + number, limited=kind == "r")
    played.served(until_s)


@pytest.mark.parametrize(
    ("failures", "served_s", "figure"),
    [
        ("rrrrrrrr", 40.0, 101.0),  # two outages after as many requests
        ("ruuuuuuu", 40.0, 101.0),  # the first failure tells what the outage is of
        ("urrrrrrr", 40.0, None),
        ("r", 40.0, None),  # no outage
        ("r", 71.5, None),  # a silence of 61.5 s, which a quota a minute may last
    ],
)
def test_two_outages_of_refusals_are_a_quota(failures: str, served_s: float, figure: float | None) -> None:
    """Each follows a hundred requests in a minute and ends when a call is served again; one more ended the
    first."""
    played = Played()
    for begin_s in (1_000.0, 1_080.0):
        hundred_and_silence(played, begin_s, failures=failures, until_s=begin_s + served_s)
    assert played.learned == figure


def test_what_was_learned_in_a_long_silence_is_forgotten() -> None:
    """The quota that was known before the first failure holds again."""
    played = Played()
    played.congestion.learned._set(600.0, 0.0)
    played.failed(10.0)
    played.congestion.learned._set(300.0, 11.0)
    played.failed(12.0)
    played.served(90.0)
    assert played.learned == 600.0


def test_a_served_call_announces_nothing() -> None:
    """Events are changes."""
    played = Played()
    played.served(1.0)
    assert played.events == []
