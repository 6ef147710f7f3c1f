"""The similarity of two replies equals the one computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.audit.replies.kernels import likeness, prepare


@given(st.lists(st.text(alphabet="ab é", min_size=0, max_size=12), min_size=2, max_size=6, unique=True))
def test_positions_and_prefixes_are_those_of_the_bytes(texts: list[str]) -> None:
    """Common prefix and agreeing positions, counted one by one."""
    one, other = np.triu_indices(len(texts), 1)
    found = likeness(prepare(texts), one, other)
    for k, (i, j) in enumerate(zip(one, other, strict=True)):
        a, b = texts[i].encode(), texts[j].encode()
        common = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        assert found.common[k] == common
        assert found.prefix[k] == common / max(len(a), len(b))
        assert found.position[k] == sum(x == y for x, y in zip(a, b, strict=False)) / max(len(a), len(b))


def test_words_count_in_any_order() -> None:
    """The cosine of the square roots of counts: 1 for the same words shuffled, 0 for none in common, else
    what it is."""
    found = likeness(
        prepare(["the cat sat", "sat the cat", "dogs run", "the the dog", ""]),
        np.array([0, 0, 0, 0]),
        np.array([1, 2, 3, 4]),
    )
    assert found.words == pytest.approx([1.0, 0.0, np.sqrt(2 / 3 / 3), 0.0], abs=1e-6)
