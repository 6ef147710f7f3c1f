"""The table that ends a run."""

from __future__ import annotations

import pytest

from harness.report.run_end import result_lines
from harness.store.report_queries import MethodResult

ONE = MethodResult(
    method="llama-3.1-405b-instruct/a-provider-with-a-long-name",
    episodes=1_165,
    failed=2,
    clemscore=79.08,
    played=95.4,
    errors=17,
    cost_usd=0.122112,
    busy_s=481.0,
)


@pytest.mark.parametrize("width", [80, 100, 500])
def test_numbers_are_whole_in_every_window(width: int) -> None:
    """Names are cut in the middle; what is not known is a dash."""
    unknown = MethodResult(
        method="m/\x1b[31m",
        episodes=0,
        failed=0,
        clemscore=None,
        played=None,
        errors=0,
        cost_usd=None,
        busy_s=None,
    )
    head, first, second = result_lines([ONE, unknown], width=width)
    assert max(map(len, (head, first, second))) <= width
    assert first.split()[1:] == ["1,165", "2", "79.1", "95.4", "17", "$0.1221", "8:01"]
    assert second.split()[1:] == ["0", "0", "-", "-", "0", "-", "-"]
    assert "\x1b" not in second
    assert (ONE.method in first) is (width > 100)
