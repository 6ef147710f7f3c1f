"""Days of replies: ordinary variation is no change, a swap is one on its first day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.audit.replies.drift import (
    DAYS_MIN,
    Day,
    DayFinding,
    Drift,
    PanelReply,
    drift,
    drift_sentence,
)
from harness.core.errors import AuditError
from tests.harness.audit.services import Service, days_of


def _found(service: Service, *, days: int, seed: int, first_weekday: int = 0) -> Drift:
    return drift("m/a", days_of(service, days, np.random.default_rng(seed), first_weekday=first_weekday))


def _alarms(found: Drift) -> list[int]:
    return [place for place, day in enumerate(found.days) if day.alarm]


def _constant(texts: Sequence[str]) -> list[Day]:
    """Five asks, two replies each, all with the text of the day."""
    return [
        Day(
            label=str(number),
            replies=tuple(
                PanelReply(item=f"i{ask}", ask=f"a{ask}", text=text, ending="stop")
                for ask in range(5)
                for _ in "12"
            ),
            facts={},
            prompt_tokens={},
        )
        for number, text in enumerate(texts)
    ]


def test_a_service_whose_days_vary_is_quiet() -> None:
    """Six services over 60 days, ordinary days .05 apart and weekends .20: at most two false alarms in 360
    days."""
    found = [
        _found(Service(weekend_variation=0.20), days=60, seed=seed, first_weekday=seed) for seed in range(6)
    ]
    assert sum(len(_alarms(one)) for one in found) <= 2
    tested = [day for day in found[0].days if day.p is not None]
    assert len(tested) == 60 - DAYS_MIN - 1, (
        "and not on the second Saturday: two days of its kind are too few"
    )
    assert 0.01 < (tested[-1].ordinary or 0.0) < 0.15


@pytest.mark.parametrize("replies", [10, 3])
def test_a_swap_is_seen_on_its_first_day(replies: int) -> None:
    """After 14 days of baseline another model answers: an alarm that day, a sentence that names ordinary
    variation, and a baseline that starts anew."""
    found = _found(Service(replies=replies, swapped_on=14), days=16, seed=3)
    assert _alarms(found) == [14]
    assert "has changed" in found.sentence
    assert "ordinary day-to-day variation" in found.sentence
    assert found.days[14].difference is not None
    assert found.days[14].difference > 0.3
    assert found.days[15].p is None


def test_weekends_are_compared_with_weekends() -> None:
    """A Saturday is compared with the earlier days of weekends, from three of them on, and a Monday with
    weekdays."""
    found = _found(Service(), days=22, seed=1)
    assert [found.days[place].earlier for place in (12, 13, 14, 19, 20)] == [2, 3, 10, 4, 5]
    assert found.days[12].p is None
    assert found.days[13].p is not None


def test_a_week_is_needed() -> None:
    """With seven earlier days a day is compared, with six it is not, and the sentence says so."""
    found = _found(Service(), days=DAYS_MIN, seed=2)
    assert [day.p for day in found.days] == [None] * DAYS_MIN
    assert "not enough days yet" in found.sentence
    assert _found(Service(), days=DAYS_MIN + 1, seed=2).days[-1].p is not None


def test_replies_that_never_vary() -> None:
    """The same reply on eight days is p = 1; another one on the ninth is a difference of 1 and an alarm."""
    found = drift("m/a", _constant(["yes"] * 8 + ["no"]))
    assert [day.p for day in found.days[DAYS_MIN:]] == [1.0, 0.0]
    assert found.days[-1].difference == 1.0
    assert _alarms(found) == [8]


def test_a_change_below_the_margin_is_none() -> None:
    """One of 200 asks changes for good where nothing ever varied: certain, and too small to report."""
    days = [
        replace(
            day,
            replies=tuple(
                PanelReply(
                    item=f"i{n}",
                    ask=f"a{n}",
                    text=("no" if n == 0 and day.label == "8" else "yes"),
                    ending=None,
                )
                for n in range(200)
            ),
        )
        for day in _constant(["yes"] * 9)
    ]
    last = drift("m/a", days).days[-1]
    assert last.p == 0.0
    assert not last.alarm


def test_replies_that_never_repeat_are_compared_by_their_words() -> None:
    """Every text is new, from ten words on ordinary days and from ten others on the last: a difference near
    1."""
    rng = np.random.default_rng(0)

    def text(first: int) -> str:
        return " ".join(f"w{word}" for word in rng.integers(first, first + 10, size=12))

    days = [
        replace(
            day,
            replies=tuple(
                PanelReply(item=f"i{ask}", ask=f"a{ask}", text=text(10 * (day.label == "9")), ending=None)
                for ask in range(20)
            ),
        )
        for day in _constant(["-"] * 10)
    ]
    last = drift("m/a", days).days[-1]
    assert last.alarm
    assert last.difference is not None
    assert last.difference > 0.8


def test_reports_of_providers_are_events() -> None:
    """Another fingerprint, and more tokens for the same prompt: dated, from what to what, and not part of the
    test."""
    facts = [{"system fingerprint": ("fp_1",) if day < 3 else ("fp_1", "fp_2")} for day in range(5)]
    days = [
        replace(day, facts=fact, prompt_tokens={"a0": 10.0 + (place > 3), "a1": 20.0})
        for place, (day, fact) in enumerate(zip(_constant(["yes"] * 5), facts, strict=True))
    ]
    events = drift("m/a", days).events
    assert [(event.label, event.fact, event.before, event.after) for event in events] == [
        ("3", "system fingerprint", "fp_1", "fp_1, fp_2"),
        ("4", "tokens of identical prompts", "15.0", "15.5"),
    ]


def test_days_that_cannot_be_compared_are_refused() -> None:
    """One day, or days without a common ask."""
    (first,) = _constant(["yes"])
    with pytest.raises(AuditError, match="two days"):
        drift("m/a", [first])
    other = Day(
        label="x", replies=(PanelReply(item="j", ask="b", text="t", ending=None),), facts={}, prompt_tokens={}
    )
    with pytest.raises(AuditError, match="no prompt was used on two"):
        drift("m/a", [first, other])


def test_days_that_never_vary_are_ordinary_by_nothing() -> None:
    """Replies at temperature 0 may be equal on all days: the first other day is beside 0.0 percent."""
    day = DayFinding(label="friday", asks=9, earlier=4, difference=0.25, ordinary=0.0, p=0.0, alarm=True)
    assert "(friday by 25 %, ordinary days by 0.0 %)" in drift_sentence("m/a", [day], 365.0)
