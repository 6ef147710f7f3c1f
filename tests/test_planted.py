"""Planted truth, small: what the audit says of ways to a model whose defects are known. `python -m
bench.planted` does it at length."""

from __future__ import annotations

from tests.planted import WAYS, causes_of, contradicted, play, rightly_named, verdicts_of


def test_the_planted_truth_is_found() -> None:
    """Over real sockets: no verdict that the truth contradicts; a temperature that is ignored and a hidden
    prompt are DIFFERENT on replies even in a sweep this small, and every cause is named, no other beside it;
    the reference does not differ from itself."""
    part = play(1, repeats=2, taboo=16, referencegame=24)
    found = verdicts_of(part)
    assert contradicted((way, level, verdict) for (way, level), verdict in found.items()) == []
    assert len(found) == 2 * len(WAYS)
    assert found["temperature-ignored", "replies"] == found["hidden-prompt", "replies"] == "DIFFERENT"
    named = causes_of(part)
    assert {way: named[way] for way in WAYS if not rightly_named(way, named[way])} == {}
    assert part.calibrated
    assert part.plan.before_calls
