"""Tests of the hash of the messages that a seat has seen."""

from __future__ import annotations

from harness.core.history import SeatHistory
from harness.core.vocabulary import Message


def test_the_chain_depends_on_the_messages_alone() -> None:
    """Two seats with the same messages have the same hash, however they came by them; any change changes
    it."""
    grown, made = SeatHistory(), SeatHistory()
    one, two = Message("user", "a"), Message("assistant", "b")
    assert grown.advance((one,)) == 0
    assert grown.advance((one, two, one)) == 1
    made.advance((one, two, one))
    assert grown.ask_hash == made.ask_hash
    assert grown.advance((one, two)) == 2
    assert grown.ask_hash != made.ask_hash
    assert grown.advance((Message("user", "ab"), Message("assistant", ""))) == 0
    assert grown.ask_hash != made.ask_hash
