"""Days of replies: quiet while nothing changes, loud soon after."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from harness.audit.replies.drift import Day, Drift, PanelReply, drift
from harness.core.errors import AuditError


def _day(
    rng: np.random.Generator,
    number: int,
    *,
    changed: int = 0,
    each: int = 2,
    facts: Mapping[str, tuple[str, ...]] | None = None,
) -> Day:
    """Thirty asks with three answers each; the first `changed` of them are answered in other words."""
    return Day(
        label=f"day {number}",
        replies=tuple(
            PanelReply(
                item=f"i{ask}",
                ask=f"a{ask}",
                text=f"{'new' if ask < changed else 'old'} words {one} on {ask}",
                ending="stop",
            )
            for ask in range(30)
            for one in rng.choice(3, size=each, p=[0.85, 0.1, 0.05]).tolist()
        ),
        facts=facts or {},
        prompt_tokens={"a0": 10.0 + (number > 3), "a1": 20.0},
    )


def _found(seed: int, *, days: int, changed: int = 0, since: int = 10**9) -> Drift:
    rng = np.random.default_rng(seed)
    told = [
        _day(rng, day, changed=changed if day >= since else 0, each=5 if day == 0 else 2)
        for day in range(days)
    ]
    return drift("m/a", told, seed=seed, draws=399)


def test_daily_ps_are_flat_without_a_change() -> None:
    """Over 8 runs of 10 days p is below a quarter in 12 to 38 % of days, as evenly above three quarters, and nothing is announced."""
    runs = [_found(seed, days=10) for seed in range(8)]
    p = np.array([day.p for found in runs for day in found.days if day.p is not None])
    assert len(p) == 72
    assert 0.12 <= (p <= 0.25).mean() <= 0.38
    assert 0.12 <= (p > 0.75).mean() <= 0.38
    assert not any(found.changed for found in runs)


@pytest.mark.parametrize(("changed", "within"), [(9, 6), (3, 12)])
def test_a_change_is_announced(changed: int, within: int) -> None:
    """Nine of thirty asks answered otherwise from day 6 on: within 6 days, three of them: within 12; then the detector begins anew."""
    found = _found(3, days=6 + within, changed=changed, since=6)
    alarms = [place for place, day in enumerate(found.days) if day.alarm]
    assert alarms
    assert alarms[0] >= 6
    assert "has changed" in found.sentence
    assert alarms[0] + 1 == len(found.days) or found.days[alarms[0] + 1].evidence < 3


def test_what_providers_tell_is_an_event() -> None:
    """Another fingerprint, and more tokens for the same prompt: dated, from what to what, beside the test and not part of it."""
    rng = np.random.default_rng(4)
    days = [
        _day(rng, day, facts={"system fingerprint": ("fp_1",) if day < 3 else ("fp_1", "fp_2")})
        for day in range(5)
    ]
    events = drift("m/a", days, draws=199).events
    assert [(one.label, one.fact, one.before, one.after) for one in events] == [
        ("day 3", "system fingerprint", "fp_1", "fp_1, fp_2"),
        ("day 4", "tokens of identical prompts", "15.0", "15.5"),
    ]


def test_what_cannot_be_compared_is_refused() -> None:
    """One day, or days without a common ask."""
    rng = np.random.default_rng(5)
    one = _day(rng, 0)
    with pytest.raises(AuditError, match="two days"):
        drift("m/a", [one])
    other = Day(
        label="x", replies=(PanelReply(item="j", ask="b", text="t", ending=None),), facts={}, prompt_tokens={}
    )
    with pytest.raises(AuditError, match="no ask was put on two"):
        drift("m/a", [one, other])


def test_replies_always_alike_say_nothing_either_way() -> None:
    """A deterministic model's p is a coin's: the evidence of ten such days stays small."""
    same = tuple(
        PanelReply(item=f"i{ask}", ask=f"a{ask}", text="yes", ending="stop")
        for ask in range(5)
        for _ in range(2)
    )
    found = drift(
        "m/a", [Day(label=str(day), replies=same, facts={}, prompt_tokens={}) for day in range(10)], seed=2
    )
    assert len({day.p for day in found.days}) == 10
    assert not found.changed
