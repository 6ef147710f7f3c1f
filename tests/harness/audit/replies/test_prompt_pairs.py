"""Pairs of replies: the values of every kernel stand in its own column."""

from __future__ import annotations

import numpy as np

from harness.audit.replies.columns import ReplyColumns, gather
from harness.audit.replies.kernels import KERNELS
from harness.audit.replies.prompt_pairs import similarity_of


def test_each_kernel_has_its_column() -> None:
    """Two equal replies and one that differs in its third and last byte and in its ending."""
    replies = gather(
        ReplyColumns(
            method=["a", "a", "b"],
            item=["p"] * 3,
            turn=[0] * 3,
            ask_hash=["p"] * 3,
            reply=["x y", "x y", "x zz"],
            size=[3, 3, 4],
            ending=["stop", "stop", "length"],
        )
    )
    table, common = similarity_of(replies, np.array([0, 0]), np.array([1, 2]))
    alike, other = (dict(zip(KERNELS, row, strict=True)) for row in table.tolist())
    assert alike == {"match": 1, "prefix": 1, "position": 1, "words": 1, "length": 0, "ending": 1}
    assert (other["match"], other["prefix"], other["position"]) == (0, 0.5, 0.5)
    assert 0 < other["words"] < 1
    assert (other["length"], other["ending"]) == (-1, 0)
    assert common.tolist() == [3, 2]
