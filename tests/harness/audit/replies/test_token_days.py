"""Days of first tokens: what is ordinary, what is suspect, what is announced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.audit.replies.drift import DAYS_MEAN, Day, DayFinding, PanelReply
from harness.audit.replies.token_days import judge_token_days, token_panel, watched
from harness.core.errors import AuditError
from tests.harness.audit.services import Service, panel_of


def day(tokens: Sequence[str], *, weekend: bool = False) -> Day:
    """Each prompt has one string of tokens, a letter for each call."""
    replies = [
        PanelReply(item=f"p{place}", ask=f"p{place}", text=token, ending=None)
        for place, letters in enumerate(tokens)
        for token in letters
    ]
    return Day(label="day", weekend=weekend, replies=tuple(replies), facts={}, prompt_tokens={})


def judged(days: Sequence[Day]) -> tuple[DayFinding, ...]:
    weekend = np.array([one.weekend for one in days])
    return judge_token_days(token_panel(days), weekend, [one.label for one in days], DAYS_MEAN)


def alarms(found: Sequence[DayFinding]) -> list[int]:
    return [place for place, one in enumerate(found) if one.alarm]


def test_the_statistic_is_the_mean_total_variation() -> None:
    """Computed by hand: one prompt of two moves from aaaa to aabb, a distance of one half; the mean is a
    quarter, and ordinary days have none."""
    found = judged([*[day(["aaaa", "cccc"])] * 7, day(["aabb", "cccc"])])
    assert found[-1].difference == pytest.approx(0.25)
    assert found[-1].ordinary == 0.0
    assert (found[-1].asks, found[-1].earlier) == (2, 7)


def test_a_change_is_announced_on_its_second_day_and_the_baseline_starts_anew() -> None:
    """Days of a deterministic engine, then other tokens for one prompt of four, which stay."""
    before, after = day(["a", "b", "c", "d"]), day(["a", "b", "c", "x"])
    found = judged([*[before] * 7, *[after] * 12])
    assert alarms(found) == [8]
    assert found[7].p == 0.0
    assert found[-1].difference == 0.0


def test_one_strange_day_is_no_alarm_and_joins_the_ordinary_ones() -> None:
    """A day with other tokens between equal days is suspect, and announced only if the next is, too."""
    usual, strange = day(["a", "b", "c", "d"]), day(["a", "b", "x", "y"])
    found = judged([*[usual] * 8, strange, *[usual] * 3])
    assert alarms(found) == []
    assert found[8].difference == pytest.approx(0.5)
    assert found[10].earlier == 10
    assert found[9].earlier == 8, "the suspect day is left out until the next is known"


def test_a_small_change_is_not_announced() -> None:
    """One prompt of forty is below the margin."""
    usual = ["a"] * 40
    found = judged([*[day(usual)] * 8, *[day([*usual[:-1], "b"])] * 4])
    assert alarms(found) == []
    found = judged([*[day(usual)] * 8, *[day([*usual[:-3], "b", "b", "b"])] * 2])
    assert alarms(found) == [9]


def test_weekends_are_compared_with_weekends() -> None:
    """Weekends that always answer otherwise raise no alarm once three weekend days are known."""
    week = [*[day(["a", "b"])] * 5, *[day(["x", "y"], weekend=True)] * 2]
    found = judged(week * 4)
    assert alarms(found) == []
    assert found[-1].earlier == 7


def test_a_swap_is_seen_within_two_days_where_days_vary() -> None:
    """In nine runs of ten at least another model is announced on its second day at the latest."""
    service = Service(asks=40, replies=5, swapped_on=14)
    seen = 0
    for run in range(10):
        panel, weekend = panel_of(service, 16, np.random.default_rng(run), first_weekday=run % 7)
        seen += alarms(judge_token_days(panel, weekend, [""] * 16, DAYS_MEAN)) == [15]
    assert seen >= 9


def test_the_sentence_says_what_is_missing() -> None:
    """A first day is not enough; without a day there is nothing to say."""
    assert "there are not enough days yet" in watched("m/a", [day(["a"])]).sentence
    with pytest.raises(AuditError, match="no day of a panel"):
        watched("m/a", [])


def test_a_suspect_day_is_named() -> None:
    """The sentence of a suspect last day says that the next one decides."""
    found = watched("m/a", [*[day(["a", "b"])] * 7, day(["x", "b"])])
    assert not found.changed
    assert "if the next day is as far, a change is reported" in found.sentence
