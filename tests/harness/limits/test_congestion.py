"""Window, breaker and learned quota together: what is announced, and what an outage leaves."""

from __future__ import annotations

from harness.limits.breaker import FAILURES_IN_ROW
from harness.limits.congestion import Congestion


class Played:
    """A congestion with its events, and calls that are sent one at a time."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.congestion = Congestion(
            start=8, ceiling=8, on_event=lambda kind, detail: self.events.append((kind, detail))
        )

    def served(self, at_s: float) -> None:
        self.congestion.sent(sent_with=1, now_s=at_s)
        self.congestion.served(sent_s=at_s, sent_with=1, now_s=at_s + 0.1, in_flight=1)
        self.congestion.left(at_s)

    def failed(self, at_s: float, *, limited: bool = False, retry_after_s: float | None = None) -> float:
        """Returns the pause that the failure of a call asks for."""
        self.congestion.sent(sent_with=1, now_s=at_s)
        pause_s = self.congestion.failed(
            sent_s=at_s,
            sent_with=1,
            limited=limited,
            retry_after_s=retry_after_s,
            quota_known=False,
            cause="HTTP 429" if limited else "HTTP 503",
            error="words of the provider",
            now_s=at_s + 0.1,
            in_flight=1,
        )
        self.congestion.left(at_s)
        return pause_s


def test_an_outage_opens_at_the_eighth_failure_and_ends_with_a_served_call() -> None:
    """Seven failures in a row pause nothing; from the eighth on one call probes, until one is served."""
    played = Played()
    played.served(0.0)
    pauses = [played.failed(1.0 + number) for number in range(FAILURES_IN_ROW)]
    assert pauses == [0.0] * (FAILURES_IN_ROW - 1) + [2.0]
    assert played.congestion.probing
    assert played.congestion.last_failure == "words of the provider"
    assert played.congestion.silent_since_s == 1.1
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
    for figure in (100.0, 96.0, 94.0, 100.0, 117.0, 118.0, None):
        learned._set(figure, 0.0)
        played.congestion.note_learned_quota()
    assert [detail for _, detail in played.events] == [
        "quota: 100 requests/min (learned from refusals)",
        "quota: 94 requests/min (learned from refusals; it was 100)",
        "quota: 118 requests/min (learned from refusals; it was 94)",
        "no quota on requests (they were refused for longer than a quota of one minute explains)",
    ]


def test_a_long_pause_of_a_refusal_is_kept_by_all_and_a_short_one_by_its_call() -> None:
    """HTTP 429 that asks for 5 s or more says that calls come too fast; HTTP 503 does not."""
    for limited, asked_s, kept_s in ((True, 5.0, 5.0), (False, 5.0, 0.0), (False, None, 0.0)):
        played = Played()
        for number in range(60):
            played.served(0.1 * number)
        assert played.failed(10.0, limited=limited, retry_after_s=asked_s) == kept_s
