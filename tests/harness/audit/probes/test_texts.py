"""Answers from replies: the permutation statistics by hand, and the thresholds of the temperature finding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from harness.audit.probes import texts
from harness.audit.probes.asks import TOPICS
from harness.core.emulation import Emulation
from harness.core.records import ProbeRecord
from tests.harness.audit.probed import probed

ROW = next(row for row in probed(Emulation()) if row.kind == "greedy")


def _rows(kind: str, replies: Sequence[str]) -> list[ProbeRecord]:
    """Every topic is answered with these replies."""
    return [
        ROW._replace(kind=kind, name=str(topic), number=number, reply=reply)
        for topic in range(len(TOPICS))
        for number, reply in enumerate(replies)
    ]


def test_excess_match_is_the_difference_of_two_shares_of_pairs() -> None:
    """3 of 6 pairs of the first four replies are equal and 1 of 3 of the last three; under other labels
    likewise."""
    replies = ["a", "a", "a", "b", "c", "c", "d"]
    equal = np.array([[one == other for other in replies] for one in replies])
    labels = np.array([[1.0, 1, 1, 1, 0, 0, 0], [0.0, 1, 0, 1, 1, 0, 1]])
    assert texts.excess_match(labels, equal).tolist() == pytest.approx([3 / 6 - 1 / 3, 0 - 1 / 3])
    assert texts.rarer_across(labels, equal).tolist() == [0.0, -3.0]


def test_the_p_is_the_share_of_labellings_that_are_as_extreme() -> None:
    """One prompt of seven replies: close to the share over all 35 labellings, and never 0."""
    first, second = ["a", "a", "a", "b"], ["c", "d", "a"]
    replies = [*first, *second]
    equal = np.array([[one == other for other in replies] for one in replies])
    labels = np.array(
        [[float(place in chosen) for place in range(7)] for chosen in combinations(range(7), 4)]
    )
    every = texts.excess_match(labels, equal)
    observed = texts.excess_match(np.array([[1.0, 1, 1, 1, 0, 0, 0]]), equal)[0]
    p = texts.permutation_p([(first, second)], texts.excess_match, np.random.default_rng(0))
    assert p == pytest.approx(np.mean(every >= observed - 1e-12), abs=0.05)
    certain = texts.permutation_p(
        [(["a"] * 8, [str(n) for n in range(8)])] * 3, texts.excess_match, np.random.default_rng(0)
    )
    assert certain == 1 / (texts.DRAWS + 1)


@pytest.mark.parametrize(
    ("cold", "warm", "answer"),
    [
        (["a"] * 4, ["a", "b", "c", "d"], "kept"),
        (["a"] * 4, ["a"] * 4, "broken"),
        (["a", "b", "c", "d"], ["e", "f", "g", "h"], "broken"),
        (["a", "a", "a", "b"], ["c", "d", "e", "e"], "unclear"),
    ],
    ids=["served", "always greedy", "not served", "noisy"],
)
def test_temperature_is_kept_if_greedy_replies_repeat_and_warm_ones_do_not(
    cold: list[str], warm: list[str], answer: str
) -> None:
    """Figures are the shares of equal pairs; both must be on the right side of their thresholds."""
    found, _, figures = texts.temperature([*_rows("greedy", cold), *_rows("warm", warm)])
    pairs = [sum(a == b for a, b in combinations(replies, 2)) / 6 for replies in (cold, warm)]
    assert [figures["match at 0"], figures["match at 1"]] == pytest.approx(pairs)
    assert found == answer
