"""A refused call took no place at the provider."""

from __future__ import annotations

from harness.limits import refused_in_flight
from harness.limits.refused_in_flight import RefusedInFlight


def test_a_call_was_sent_beside_those_refused_later() -> None:
    """Call 3 is refused when six calls have been sent: it was in flight when 4, 5 and 6 were sent, and not
    when 7 was."""
    refused = RefusedInFlight()
    refused.add(number=3, sent_calls=6)
    assert [refused.beside(number) for number in range(1, 8)] == [0, 0, 0, 1, 1, 1, 0]


def test_several_refusals_add_up_in_any_order() -> None:
    """Calls 2, 4 and 3 are refused after 5, 5 and 8 calls."""
    refused = RefusedInFlight()
    for number, sent_calls in ((2, 5), (4, 5), (3, 8)):
        refused.add(number=number, sent_calls=sent_calls)
    assert [refused.beside(number) for number in range(1, 10)] == [0, 0, 1, 2, 3, 1, 1, 1, 0]


def test_of_the_calls_in_flight_as_many_will_be_refused_as_of_those_whose_fate_is_known() -> None:
    """One call of those in flight is refused again and again, after three more calls each time."""
    refused = RefusedInFlight()
    for number in range(1, 31, 3):
        refused.add(number=number, sent_calls=number + 3)
    assert refused.likely(31) == 1
    assert RefusedInFlight().likely(31) == 0


def test_old_refusals_are_dropped(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The older half of eight kept refusals is dropped; the later ones count as before."""
    monkeypatch.setattr(refused_in_flight, "KEPT", 4)
    refused = RefusedInFlight()
    for number in range(10, 90, 10):
        refused.add(number=number, sent_calls=number + 5)
    assert refused.beside(84) == 1
    assert refused.beside(86) == 0
    assert refused.beside(52) == 1
    assert refused.beside(12) == 0
