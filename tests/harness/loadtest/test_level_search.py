"""The search for levels of load, against servers of known laws."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from harness.loadtest.level_search import Highest, Knee, knee_of, search_highest, search_knee

Answer = TypeVar("Answer")
Finding = TypeVar("Finding")


def follow(
    search: Generator[float, Answer, Finding], answer: Callable[[float], Answer]
) -> tuple[Finding, list[float]]:
    levels = [next(search)]
    try:
        while True:
            levels.append(search.send(answer(levels[-1])))
    except StopIteration as ended:
        return ended.value, levels


def test_a_knee_is_named_only_with_a_level_beyond_it() -> None:
    """Throughput 1, 1.9, 2.0, 2.0 at 1, 2, 4, 8: two. The same without the levels beyond two, or one that is
    hardly beyond, has none and still rises; one level says nothing."""
    rates = [(1.0, 1.0), (2.0, 1.9), (4.0, 2.0), (8.0, 2.0)]
    assert knee_of(rates) == Knee(level=2.0, best_per_s=2.0, rising_at=None)
    assert knee_of(rates[:2]) == Knee(level=None, best_per_s=1.9, rising_at=2.0)
    assert knee_of([(8.0, 8.0), (9.0, 8.6)]) == Knee(level=None, best_per_s=8.6, rising_at=9.0)
    assert knee_of([(1.0, 3.52), (2.0, 6.69), (4.0, 12.37)]) == Knee(
        level=None, best_per_s=12.37, rising_at=4.0
    )
    assert knee_of(rates[:1]) is None


@pytest.mark.parametrize("places", [1, 3, 8, 20, 100])
def test_the_search_ends_beyond_the_knee(places: int) -> None:
    """A server with so many places and no noise has its knee where nine tenths of them are used; the search
    finds it within a level and stops soon after it."""
    knee, levels = follow(search_knee(start=1, most=1024), lambda level: min(level, places) / 2)
    assert knee is not None
    assert knee.level is not None
    assert 0.9 * places <= knee.level <= max(1.15 * 0.9 * places, 0.9 * places + 1)
    assert max(levels) <= 4 * places


def test_a_server_without_an_end_has_no_knee() -> None:
    """No knee is named if throughput rises up to the bound."""
    knee, levels = follow(search_knee(start=1, most=64), lambda level: 3.0 * level)
    assert knee == Knee(level=None, best_per_s=192.0, rising_at=64.0)
    assert levels == [1, 2, 4, 8, 16, 32, 64]


def test_a_level_without_figures_ends_the_doubling() -> None:
    """If the client limits a level, nothing beyond it is played, and no knee is named below it."""
    knee, levels = follow(search_knee(start=1, most=64), lambda level: None if level >= 8 else level)
    assert knee == Knee(level=None, best_per_s=4.0, rising_at=4.0)
    assert levels == [1, 2, 4, 8]


def test_the_highest_level_that_passes_is_found() -> None:
    """From below and from above, in whole numbers and in rates."""
    found, levels = follow(search_highest(start=1, most=1024, whole=True), lambda level: level <= 37)
    assert found.level is not None
    assert found.failed_at is not None
    assert found.level <= 37 < found.failed_at <= 1.15 * found.level
    assert len(levels) < 12
    found, _ = follow(search_highest(start=50.0, most=1024, whole=False), lambda level: level <= 3.3)
    assert found.level is not None
    assert found.failed_at is not None
    assert found.level <= 3.3 < found.failed_at <= 1.16 * found.level


def test_a_search_without_an_end_says_so() -> None:
    """All pass up to the bound, or none passes."""
    assert follow(search_highest(start=1, most=8, whole=True), lambda level: True)[0] == Highest(
        level=8, failed_at=None
    )
    assert follow(search_highest(start=4, most=8, whole=True), lambda level: False)[0] == Highest(
        level=None, failed_at=1
    )
